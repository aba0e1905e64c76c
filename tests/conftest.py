"""How tests share the machine: `make test` runs most side by side, and then those that need it for themselves.

What measures its neighbours is marked `alone`. Of the others, tests that share a fixture of their module stay in one
process of pytest-xdist.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# How fast an example is says how busy the machine is, and is nothing that a test is about.
settings.register_profile("guesthouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("guesthouse")

_HERE: Final = Path(__file__).parent
_ALONE: Final = f"{_HERE / 'attacks'}/"
_WITH_NODES: Final = (_ALONE, f"{_HERE / 'faults'}/", f"{_HERE / 'e2e'}/")
TEST_SECONDS: Final = 300
"""What a test has that starts nodes."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m alone` or `-m "not alone"` files without such tests are not loaded: to load all takes 20 s of a CPU."""
    wanted = config.getoption("markexpr")
    if wanted == "not alone":
        return True if f"{collection_path}/".startswith(_ALONE) else None
    if wanted == "alone" and collection_path.suffix == ".py" and not str(collection_path).startswith(_ALONE):
        return None if "mark.alone" in collection_path.read_text() else True
    return None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if str(item.path).startswith(_ALONE):
            item.add_marker(pytest.mark.alone)
        elif _shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(_HERE.parent))))
        if str(item.path).startswith(_WITH_NODES) and not item.get_closest_marker("timeout"):
            # One that takes too long fails as any other does, so that what it started is stopped.
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, method="signal"))


def pytest_collection_finish() -> None:
    """What was loaded stays: passes over its millions of objects would be a good part of the time of many tests."""
    gc.collect()
    gc.freeze()


def _shares_a_fixture(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    used = item._fixtureinfo.name2fixturedefs
    return any(fixtures[-1].scope in ("module", "class") for fixtures in used.values())
