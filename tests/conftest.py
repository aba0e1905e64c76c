"""How tests share the machine: `make test` runs most side by side, and then those that need it for themselves.

What measures its neighbours or kills parts of nodes at random moments is marked `alone`. Of the others, tests that
share a fixture of their module stay in one process of pytest-xdist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# How fast an example is says how busy the machine is, and is nothing that a test is about.
settings.register_profile("guesthouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("guesthouse")

_HERE: Final = Path(__file__).parent
_ALONE: Final = (_HERE / "attacks", _HERE / "faults")
_WITH_NODES: Final = (*_ALONE, _HERE / "e2e")
TEST_SECONDS: Final = 300
"""What a test has that starts nodes."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(folder in item.path.parents for folder in _ALONE):
            item.add_marker(pytest.mark.alone)
        elif _shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(_HERE.parent))))
        if any(folder in item.path.parents for folder in _WITH_NODES) and not item.get_closest_marker(
            "timeout"
        ):
            # One that takes too long fails as any other does, so that what it started is stopped.
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, method="signal"))


def _shares_a_fixture(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    used = item._fixtureinfo.name2fixturedefs
    return any(fixtures[-1].scope in ("module", "class") for fixtures in used.values())
