"""Real nodes, real clients, a real browser. Nothing here stands in for a part of Guesthouse."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser as Chromium
from playwright.async_api import Playwright, async_playwright
from tests import forked
from tests.patience import PATIENCE

from guesthouse.package.compile.mac import MacKey
from guesthouse.testing.node_subprocess import cache_folder

from .browser import Browser, browsing, chromium_of
from .compiles import KEY_FILE, compile_python, is_in_python
from .daemon import Daemon
from .packages import package
from .waiting import Subprocess, alive, command_line, descendants


class StartNode(Protocol):
    """Starts a node with samples and test guests by name; it stops at the end of the test."""

    async def __call__(self, *packages: str | Path, **options: Any) -> Daemon: ...


@pytest.fixture(scope="session", autouse=True)
def nothing_left_over() -> Iterator[None]:
    """No subprocess outlives the tests."""
    before = descendants(os.getpid())
    yield

    def left() -> list[Subprocess]:
        found = alive(descendants(os.getpid()) - before)
        return [each for each in found if each.pid != forked.server_pid()]

    end = time.monotonic() + PATIENCE  # nobody waits for what was told to end, as parts of Chromium are
    while left() and time.monotonic() < end:
        time.sleep(0.05)
    names = [command_line(each.pid) for each in left()]
    forked.stop()
    assert not names, f"subprocesses are left over: {names}"


@pytest.fixture(scope="session")
def compiled() -> Path:
    """Compiled components of earlier runs, and their key: a Python component takes seconds to compile. It is where the
    test kit keeps them, too.
    """
    folder = cache_folder()
    (folder / "compiled").mkdir(mode=0o700, parents=True, exist_ok=True)
    MacKey(folder / KEY_FILE).mac("nothing")  # makes the key, once for all processes of this run
    return folder


@pytest.fixture(scope="session")
def development(pytestconfig: pytest.Config) -> dict[str, str]:
    """Variables with which nodes keep what runs apps from their sources between runs: it takes long to build."""
    return {"XDG_CACHE_HOME": str(pytestconfig.cache.mkdir("guesthouse-development"))}


@pytest.fixture
def new_home(tmp_path: Path, compiled: Path) -> Callable[[], Path]:
    """Makes homes of nodes, each with the components compiled that were compiled before."""
    count = 0

    def make() -> Path:
        nonlocal count
        count += 1
        return home_in(tmp_path / f"node-{count}", compiled)

    return make


def home_in(folder: Path, compiled: Path) -> Path:
    """A new home in a folder, with the components compiled that were compiled before."""
    home = folder / "home"
    home.mkdir(parents=True, mode=0o700)
    (home / "compiled").symlink_to(compiled / "compiled")
    shutil.copy(compiled / KEY_FILE, home / KEY_FILE)
    return home


@pytest.fixture
async def start(new_home: Callable[[], Path], compiled: Path) -> AsyncIterator[StartNode]:
    async with starting(new_home, compiled) as start:
        yield start


@asynccontextmanager
async def starting(new_home: Callable[[], Path], compiled: Path) -> AsyncIterator[StartNode]:
    """Starts nodes in the block; they stop at its end."""
    async with AsyncExitStack() as stack:

        async def start(*packages: str | Path, home: Path | None = None, **options: Any) -> Daemon:
            home = home or new_home()
            arguments = await _arguments(compiled, packages)
            return await stack.enter_async_context(Daemon(home, arguments, **options))

        yield start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> AsyncIterator[StartNode]:
    """One node for all tests of a module that ask for the same, and leave it as they found it: to start one takes
    longer than most tests. They need `pytest.mark.asyncio(loop_scope="module")`.
    """
    nodes: dict[str, Daemon] = {}
    async with AsyncExitStack() as stack:

        async def start(*packages: str | Path, **options: Any) -> Daemon:
            asked = repr((packages, options))
            if asked not in nodes:
                home = home_in(tmp_path_factory.mktemp("shared"), compiled)
                arguments = await _arguments(compiled, packages)
                nodes[asked] = await stack.enter_async_context(Daemon(home, arguments, **options))
            return nodes[asked]

        yield start


async def _arguments(compiled: Path, packages: Sequence[str | Path]) -> list[str | Path]:
    """What to run, with what it needs built, and what is compiled for many tests compiled."""
    arguments = [name if _is_argument(name) else package(str(name)) for name in packages]
    if any(isinstance(each, Path) and is_in_python(each) for each in arguments):
        await asyncio.to_thread(compile_python, compiled)
    return arguments


def _is_argument(name: str | Path) -> bool:
    """Whether it is what `guesthouse run` takes, and no name of a sample or test guest."""
    return isinstance(name, Path) or "=" in name


# Playwright and Chromium take longer to start than most tests with pages do, and each of the people in them has
# cookies and storage of their own: one for all tests of a process, and so one event loop. The tests need
# `pytest.mark.asyncio(loop_scope="session")`, and `start_for_browser` for their `start`.


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    async with async_playwright() as driver:
        yield driver


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(playwright: Playwright) -> AsyncIterator[Chromium]:
    async with chromium_of(playwright) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Chromium) -> AsyncIterator[Browser]:
    async with browsing(chromium) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def start_for_browser(new_home: Callable[[], Path], compiled: Path) -> AsyncIterator[StartNode]:
    async with starting(new_home, compiled) as start:
        yield start
