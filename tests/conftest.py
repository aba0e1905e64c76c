"""How tests share the machine. What measures is marked `alone`, and what only the whole run needs `thorough`.

`make test` runs those that measure after all others, one at a time. With four CPUs or more it runs all
in parallel, one test marked `alone` at a time among the others (`TESTS=beside`), which stand back for it. Those whose
measurement was too bad run again alone (`TESTS=disturbed`): what is good on a busy machine needs no quiet one.
`TESTS=again` runs those that failed in the last run. Tests that share a fixture of their module stay in one process of
pytest-xdist.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections import Counter
from collections.abc import Generator
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, settings
from tests.cpu_time import CpuTimes
from tests.examples import examples
from tests.hanging import GRACE, Watch
from tests.patience import BESIDE, Disturbed
from tests.rust import use_one_target_folder

if TYPE_CHECKING:
    from tests.scheduling import Scheduling

# How fast an example is says how busy the machine is, and is nothing that a test is about.
settings.register_profile(
    "guesthouse", max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("guesthouse")

_HERE: Final = Path(__file__).parent
_ALONE: Final = f"{_HERE / 'attacks'}/"
_WITH_NODES: Final = (_ALONE, *(f"{_HERE / folder}/" for folder in ("cluster", "faults", "e2e", "samples")))
TEST_SECONDS: Final = 600
"""What a test has that starts nodes."""

_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its user's own there
_ROOM: Final = 4 << 30
"""All tests write 2 GiB, most of which the compile cache and homes of nodes take."""


def keep_in_memory() -> None:
    """Make pytest's temporary folders in memory, where there is room: waiting for a disk was a third of the time of
    tests with a node or server, which sync what they store.
    """
    try:
        there = os.statvfs(_IN_MEMORY)
    except OSError:
        return
    (memory,) = re.findall(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    if not there.f_flag & os.ST_NOEXEC and min(there.f_bavail * there.f_frsize, int(memory) << 10) > _ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_IN_MEMORY))


def search_once() -> None:
    """httpcore looks for this package at each request: in vain that took a sixth of the time of tests with requests."""
    if find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment] # there is none


def keep_bytecode() -> None:
    """Keep what is compiled and rewritten between runs, whatever the shell says: without it a node takes twice as long
    to start.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def share_tool_caches() -> None:
    """Commands of tests have homes of their own, in which Clang would compile what comes with it each time."""
    os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(Path.home() / ".cache/zig"))


keep_in_memory()
search_once()
share_tool_caches()
keep_bytecode()
use_one_target_folder()

AGAIN: Final = "again"
FAILED: Final = "guesthouse-failed"
DISTURBED: Final = "guesthouse-disturbed"
_ONLY: Final = {AGAIN: FAILED, "disturbed": DISTURBED}.get(os.environ.get("TESTS", ""))
"""The list of the only tests to run, if not all."""
_IN_TURN: Final = "measures"
"""The group of those marked `alone`: one process runs them, one after the other, and first."""
_WITH_BROWSER: Final = "browser"
"""The group of those that share Chromium: one process starts it, and Playwright."""
WHOLLY_THOROUGH: Final = re.compile(
    r"^pytestmark = (pytest\.mark\.thorough$|\[\s*pytest\.mark\.thorough,)|\bscenarios\.again\(", re.MULTILINE
)
"""What a file says all of whose tests are marked so: it need not be loaded where they are left out."""
_BUNDLE: Final = 16
"""So many tests of a file that share nothing are given to a process at once: pytest-xdist looks at all that it has
given out after each test, which for thousands took it 5 ms.
"""
_LONGEST_NAME: Final = 120
_NICE: Final = 5
"""Of processes that run no tests marked `alone` (any more): a third of the CPU time that those that do get."""


def _list(config: pytest.Config, name: str) -> Path:
    """A folder with a file for each test of a list: several processes write to it."""
    assert config.cache is not None
    return config.cache.mkdir(name)


def _note(item: pytest.Item, name: str) -> None:
    """Add a test to a list."""
    id_ = _id(item)
    (_list(item.config, name) / sha256(id_.encode()).hexdigest()).write_text(id_)


def ids_in(folder: Path) -> set[str]:
    """The ids of the tests of a list; none where there is no list."""
    return {file.read_text() for file in folder.glob("*")}


def _id(item: pytest.Item) -> str:
    """Without the group that pytest-xdist appends."""
    group = item.get_closest_marker("xdist_group")
    return item.nodeid.removesuffix(f"@{group.args[0]}") if group else item.nodeid


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu", action="store_true", help="show what CPU time the tests of each file took")
    parser.addini(GRACE, "seconds for a test that timed out to end before its process is ended", default="60")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("cpu"):
        config.pluginmanager.register(CpuTimes())
    config.pluginmanager.register(Watch(float(config.getini(GRACE))))
    if BESIDE and not hasattr(config, "workerinput"):  # not in a process of pytest-xdist
        for file in _list(config, DISTURBED).iterdir():
            file.unlink()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling | None:
    if config.getoption("dist") != "loadgroup":
        return None
    from tests.scheduling import Scheduling  # pytest-xdist's processes need none

    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was disturbed beside others is no failure yet: it is run again alone. Failures are listed."""
    report = yield
    if BESIDE and call.excinfo is not None and call.excinfo.errisinstance(Disturbed):
        _note(item, DISTURBED)
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, "disturbed: it runs again alone")
    if report.failed and _ONLY != FAILED:
        _note(item, FAILED)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if BESIDE and hasattr(item.config, "workerinput") and not item.get_closest_marker("alone"):
        _stand_back()


@cache
def _stand_back() -> None:
    """For good, as only root could take it back."""
    os.nice(_NICE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files without any test of those that `-m` asks for are not loaded: to load all takes 20 s of a CPU."""
    if _ONLY:
        files = {str(config.rootpath / each.partition("::")[0]) for each in ids_in(_list(config, _ONLY))}
        return None if collection_path.suffix != ".py" or str(collection_path) in files else True
    wanted = config.getoption("markexpr").split(" and ")
    in_python = collection_path.suffix == ".py"
    if "not alone" in wanted and f"{collection_path}/".startswith(_ALONE):
        return True
    if "alone" in wanted and in_python and not str(collection_path).startswith(_ALONE):
        return None if "mark.alone" in collection_path.read_text() else True
    if "not thorough" in wanted and in_python and WHOLLY_THOROUGH.search(collection_path.read_text()):
        return True
    return None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """What is long is no name: processes send their ids to the first, and each test has its own in its environment."""
    if isinstance(val, str | bytes) and len(val) > _LONGEST_NAME:
        content = val.encode(errors="surrogatepass") if isinstance(val, str) else val
        return f"{argname} of {len(val)}, {sha256(content).hexdigest()[:8]}"
    return None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _ONLY:
        ids = ids_in(_list(config, _ONLY))
        items[:] = [item for item in items if _id(item) in ids]
    quick: Counter[str] = Counter()
    for item in items:
        file = str(item.path.relative_to(_HERE.parent))
        with_nodes = str(item.path).startswith(_WITH_NODES)
        if str(item.path).startswith(_ALONE):
            item.add_marker(pytest.mark.alone)
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.xdist_group(_IN_TURN))
        elif "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(_WITH_BROWSER))
        elif _shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(file))
        elif not with_nodes and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.xdist_group(f"{file} {quick[file] // _BUNDLE}"))
            quick[file] += 1
        if with_nodes and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded stays, so that nothing looks for garbage in it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Passes over the millions of objects of what was loaded would be a good part of the time of many tests."""
    if session.config.getoption("loadgroup", False):
        for item in session.items:
            # A pytest that pytest-xdist does not know runs tests of one group side by side, and says nothing.
            assert ("@" in item.nodeid) >= bool(item.get_closest_marker("xdist_group")), item.nodeid
    gc.collect()
    gc.freeze()


def _shares_a_fixture(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    used = item._fixtureinfo.name2fixturedefs
    return any(fixtures[-1].scope in ("module", "class") for fixtures in used.values())
