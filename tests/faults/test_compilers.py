"""Compilers are killed, stopped and starved while a package is installed: it is refused with the reason, what ran
before runs on for its clients, and nothing half done stays.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.e2e.clients import ECHO_C, Client, registered
from tests.e2e.daemon import Daemon
from tests.e2e.test_packages import PACKAGE, version_of_echo
from tests.e2e.test_reload import another
from tests.e2e.waiting import command_line

from guesthouse.control.control_client import CommandRefused, ask
from guesthouse.package.store.installed import read_installed

from .rounds import COMPILER_KILLS, COMPILER_STOPS, LONG_SECONDS, each, told

pytestmark = pytest.mark.timeout(LONG_SECONDS)

COMPILE_SECONDS: Final = 6.0


async def install(daemon: Daemon, folder: Path) -> Any:
    """Install by the control socket, as `guesthouse install` does."""
    (item,) = await asyncio.to_thread(
        lambda: list(ask(daemon.home, "install", package=str(folder), consent=True))
    )
    return item


def next_version(folder: Path, number: int) -> None:
    """The folder's package again, with other bytes: they have to be compiled."""
    component = folder / "build/echo-c.wasm"
    component.write_bytes(another(component.read_bytes(), b"%d" % number))


async def compiler_of(daemon: Daemon, installing: asyncio.Future[Any]) -> int | None:
    """The pid of the compiler once it runs; None when the installation ended before one was seen."""
    while not installing.done():
        await asyncio.sleep(0.002)
        found = _compilers(daemon.pid)
        if found:
            return found[0]
    return None


async def gone_from(pid: int, compiler: int | None) -> None:
    """Wait until a compiler that was killed is waited for."""
    for _ in range(5000):
        if compiler not in _compilers(pid):
            return
        await asyncio.sleep(0.002)


def _compilers(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        child for child in map(int, children) if b"guesthouse.package.compile.main" in command_line(child)
    ]


def nothing_half_done(home: Path) -> None:
    """Compiled components have a note and no less than it says, and only installed packages are unpacked."""
    names = {path.name for path in (home / "compiled").iterdir()}
    assert not [name for name in names if name.startswith(".") and not name.startswith(".engine-")]
    assert {name.partition(".")[0] for name in names if name.endswith(".json")} == {
        name.partition(".")[0] for name in names if name.endswith(".plan")
    }
    unpacked = {path.name for path in (home / "packages").iterdir()}
    assert unpacked == read_installed(home).hashes()


@asynccontextmanager
async def echoing(daemon: Daemon) -> AsyncIterator[None]:
    """A client asks what runs now, and is answered, again and again, all through the block."""

    async def talk(client: Client) -> None:
        number = 0
        while True:
            number += 1
            assert await client.ask(str(number)) == str(number)
            await asyncio.sleep(0.005)  # so as to keep no CPU busy

    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        talking = asyncio.ensure_future(talk(client))
        try:
            yield
            assert not talking.done(), talking.result()
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)


@asynccontextmanager
async def node_with_echo(tmp_path: Path, **settings: object) -> AsyncIterator[tuple[Daemon, Path]]:
    """A node with a compile cache of its own that has the package installed, and the folder it came from."""
    home = tmp_path / "node" / "home"
    home.mkdir(parents=True, mode=0o700)
    folder = version_of_echo(tmp_path, "0.2.0")
    async with Daemon(home, [], settings=settings, new=True) as daemon:
        await install_patiently(daemon, folder)
        yield daemon, folder


async def install_patiently(daemon: Daemon, folder: Path) -> None:
    """Install, where the machine may have so much else to do that a compiler does not get its seconds."""
    for _ in range(4):
        try:
            await install(daemon, folder)
        except CommandRefused as refusal:
            if "this busy machine" not in str(refusal):
                raise
        else:
            return
    await install(daemon, folder)


async def strike(daemon: Daemon, folder: Path, signal_number: int, delay: float) -> str | None:
    """Install and send the compiler a signal; one that is killed is tried once more, and so is killed again. Returns
    why it was refused; None when it was done by then.
    """
    installing = asyncio.ensure_future(install(daemon, folder))
    for _ in range(2 if signal_number == signal.SIGKILL else 1):
        compiler = await compiler_of(daemon, installing)
        if compiler is not None:
            await asyncio.sleep(delay)
            if b"guesthouse.package.compile.main" in command_line(compiler):
                os.kill(compiler, signal_number)
                await gone_from(daemon.pid, compiler if signal_number == signal.SIGKILL else None)
    try:
        await installing
    except CommandRefused as refusal:
        return str(refusal)
    return None


async def test_killed_compilers_refuse_the_package_and_leave_nothing_half_done(tmp_path: Path) -> None:
    reasons: list[str | None] = []
    async with node_with_echo(tmp_path) as (daemon, folder), echoing(daemon):
        for number, delay in each("compiler kills", COMPILER_KILLS, 0.0, 0.25, least=12):
            with told("compiler kills", number, delay):
                before = read_installed(daemon.home).get(PACKAGE).current
                next_version(folder, number)
                reasons.append(await strike(daemon, folder, signal.SIGKILL, delay))
                after = read_installed(daemon.home).get(PACKAGE).current
                assert (before == after) == (reasons[-1] is not None)
                nothing_half_done(daemon.home)
    refusals = [reason for reason in reasons if reason is not None]
    assert refusals, "no compiler was killed in time"
    assert all("compiler was killed" in reason and "\n" not in reason for reason in refusals), refusals


@pytest.mark.thorough
async def test_stopped_compilers_are_ended_in_their_time_and_the_next_one_works(tmp_path: Path) -> None:
    node = node_with_echo(tmp_path, package_compile_seconds=COMPILE_SECONDS)
    async with node as (daemon, folder), echoing(daemon):
        for number, delay in each("compiler stops", COMPILER_STOPS, 0.0, 0.05):
            with told("compiler stops", number, delay):
                next_version(folder, number)
                reason = await strike(daemon, folder, signal.SIGSTOP, delay)
                assert reason is not None
                assert f"did not compile within {COMPILE_SECONDS:g} s" in reason
                nothing_half_done(daemon.home)
        await install_patiently(daemon, folder)


@pytest.mark.thorough
async def test_a_compiler_without_memory_refuses_the_package_and_the_old_version_runs_on(
    tmp_path: Path,
) -> None:
    async with node_with_echo(tmp_path) as (daemon, folder):
        home = daemon.home
    async with Daemon(home, [], settings={"package_compile_memory_bytes": 80 * 2**20}, new=True) as daemon:
        next_version(folder, 1)
        with pytest.raises(CommandRefused, match=r"raise package\.compile_memory_bytes"):
            await install(daemon, folder)
        nothing_half_done(home)
        async with registered(daemon, ECHO_C, await daemon.token()) as client:
            assert await client.ask("hello") == "hello"
    shutil.rmtree(folder)
