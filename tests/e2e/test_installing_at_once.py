"""Operations on packages that meet: each is held at a point where it waits, and another comes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import of_node
from guesthouse.core.config import HttpSettings, Settings
from guesthouse.kernel.supervision.supervised import NoSuchProcess, ProcessNotStarted
from guesthouse.node import installer, offline_installer
from guesthouse.node.commands.node_commands import NodeCommands
from guesthouse.node.node import Node
from guesthouse.package.errors import PackageError
from guesthouse.package.format.pack import write_archive
from guesthouse.package.store import stage
from guesthouse.package.store.installed import read_installed

from .clients import ECHO_C
from .test_packages import PACKAGE, renamed, version_of_echo
from .waiting import until

ECHO = ProcessId.parse(ECHO_C)


class Held:
    """A call that waits at its beginning until it is let go."""

    def __init__(self, call: Callable[..., Awaitable[Any]], wanted: Callable[..., bool]) -> None:
        self._call = call
        self._wanted = wanted
        self.there = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self._wanted(*arguments):
            self.there.set()
            await self.go_on.wait()
        return await self._call(*arguments, **options)


def hold(place: object, name: str, wanted: Callable[..., bool] = lambda *_: True) -> Held:
    held = Held(getattr(place, name), wanted)
    setattr(place, name, held)
    return held


async def becomes(true: Callable[[], bool]) -> None:
    async def now() -> bool:
        return true()

    await until(now, bool, "that it is so")


def other_package(tmp_path: Path, version: str) -> Path:
    """Another package, with another host."""
    folder = renamed(version_of_echo(tmp_path, version))
    manifest = folder / "package.toml"
    manifest.write_text(manifest.read_text().replace('"c.guesthouse.os"', '"else.os"'))
    return folder


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    settings = Settings(home=str(tmp_path / "home"), workers=1, http=HttpSettings(port=0))
    async with Node(settings, None) as node:
        yield node


def installed(node: Node) -> dict[str, str]:
    return {name: item.current.version for name, item in read_installed(node.home.path).packages.items()}


async def test_a_package_that_compiles_for_long_holds_up_no_other(node: Node, tmp_path: Path) -> None:
    slow = hold(node.installer._compiler, "runnable", lambda _, package: package == PACKAGE)
    first = asyncio.create_task(node.installer.install(str(version_of_echo(tmp_path, "0.2.0"))))
    await slow.there.wait()
    await node.installer.install(str(other_package(tmp_path, "0.3.0")))
    await node.installer.uninstall("echo:else.os", drop_state=True)
    with pytest.raises(PackageError, match="would be served on the host of"):
        await node.installer.install(str(renamed(version_of_echo(tmp_path, "0.4.0"))))
    assert installed(node) == {}
    slow.go_on.set()
    await first
    assert installed(node) == {PACKAGE: "0.2.0"}
    assert len(list((node.home.path / "packages").iterdir())) == 1


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """A folder whose name has `0.2.0` is on a slow file system: told when it is read, and waited for."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly(folder: Path, *arguments: Any) -> None:
        if "0.2.0" in folder.name:
            begun.set()
            go_on.wait(PATIENCE)
        write_archive(folder, *arguments)

    monkeypatch.setattr(stage, "write_archive", slowly)
    yield begun, go_on
    go_on.set()


async def test_a_package_that_is_packed_for_long_holds_up_no_other(
    node: Node, tmp_path: Path, packing: tuple[threading.Event, threading.Event]
) -> None:
    begun, go_on = packing
    first = asyncio.create_task(node.installer.install(str(version_of_echo(tmp_path, "0.2.0"))))
    await asyncio.to_thread(begun.wait, PATIENCE)
    await node.installer.install(str(version_of_echo(tmp_path, "0.3.0")))
    assert installed(node) == {PACKAGE: "0.3.0"}
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go_on.set()
    await becomes(lambda: installed(node) == {PACKAGE: "0.2.0"})  # though nobody waits for it any more


NOTHING = "is not installed, and nothing that it stored is kept"


async def stored(node: Node) -> bytes | str | None:
    answer: asyncio.Future[bytes | str | None] = asyncio.get_running_loop().create_future()
    node.state.get(ECHO, answer.set_result)
    return await answer


@pytest.mark.thorough
async def test_what_an_uninstalled_package_stored_is_dropped_later(node: Node, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=NOTHING):
        await node.installer.uninstall(PACKAGE, drop_state=True)
    node.state.set(ECHO, b"kept", lambda _: None)
    await node.installer.install(str(version_of_echo(tmp_path, "0.2.0")))
    await node.installer.uninstall(PACKAGE, drop_state=False)
    assert await stored(node) == b"kept"
    await node.installer.uninstall(PACKAGE, drop_state=True)
    assert await stored(node) is None
    with pytest.raises(PackageError, match=NOTHING):
        await node.installer.uninstall(PACKAGE, drop_state=True)


@pytest.mark.thorough
async def test_what_an_uninstalled_package_stored_is_dropped_at_the_next_start(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"), workers=1, http=HttpSettings(port=0))
    async with Node(settings, None) as node:
        node.state.set(ECHO, b"kept", lambda _: None)
    with pytest.raises(PackageError, match=NOTHING):
        offline_installer.uninstall_without_node(node.home, "other:test.os", drop_state=True)
    offline_installer.uninstall_without_node(node.home, PACKAGE, drop_state=True)
    async with Node(settings, None) as node:
        assert await stored(node) is None


@pytest.mark.thorough
@pytest.mark.parametrize("kept", [True, False])
async def test_an_install_that_fails_over_what_was_stored_before_says_how_to_drop_it(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    if kept:
        node.state.set(ECHO, b"no number", lambda _: None)

    async def change(*_: Any) -> Any:
        raise ProcessNotStarted("it cannot be started")

    monkeypatch.setattr(node.installer, "_change", change)
    with pytest.raises(ProcessNotStarted) as failed:
        await node.installer.install(str(version_of_echo(tmp_path, "0.2.0")))
    assert (f"'guesthouse uninstall {PACKAGE} --purge' deletes" in str(failed.value)) is kept


class Fails:
    """A swap that does not come to pass."""

    def __init__(self, node: Node, written: list[str]) -> None:
        self._node = node
        self._written = written

    async def carry_out(self) -> None:
        for line in self._written:
            self._node.log.write(ECHO_C, "error", f"before\n{line}", stream="print")
        self._node.log.write(ECHO_C, "warning", "note: run with `RUST_BACKTRACE=1`", stream="stderr")
        raise ProcessNotStarted("it cannot be started: it trapped")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            ["Traceback", "  in start", "ValueError: no number"],
            "it wrote:   in start / ValueError: no number (see",
        ),
        ([], "it trapped; see `guesthouse logs`"),
    ],
)
async def test_an_install_that_fails_shows_what_the_process_wrote_last(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[str], told: str
) -> None:
    node.log.write(ECHO_C, "warning", "long ago", stream="stderr")
    monkeypatch.setattr(node, "upgrade_to", lambda _: Fails(node, written))
    with pytest.raises(ProcessNotStarted) as failed:
        await node.installer.install(str(version_of_echo(tmp_path, "0.2.0")))
    assert told in str(failed.value)


async def test_operations_on_one_package_follow_one_another(node: Node, tmp_path: Path) -> None:
    one, two = version_of_echo(tmp_path, "0.2.0"), version_of_echo(tmp_path, "0.3.0")
    slow = hold(node.installer._compiler, "runnable", lambda *_: not slow.there.is_set())
    tasks = [asyncio.create_task(node.installer.install(str(one)))]
    await slow.there.wait()
    gone = asyncio.create_task(node.installer.uninstall(PACKAGE, drop_state=False))
    tasks.append(asyncio.create_task(node.installer.install(str(two))))
    await becomes(lambda: node.installer._staged_now.total() == 2)  # it waits for its turn, before the next
    tasks.append(asyncio.create_task(node.installer.install(str(one))))
    ended = hold(node.installer, "_end_all_of")
    slow.go_on.set()
    await ended.there.wait()  # it was not refused: what was being installed is
    assert [process.id for process in node.router.processes()] == [ECHO]
    ended.go_on.set()
    await gone
    done = await asyncio.gather(*tasks)
    assert [item["version"] for item in done] == ["0.2.0", "0.3.0", "0.2.0"]
    assert installed(node) == {PACKAGE: "0.2.0"}
    assert len(list((node.home.path / "packages").iterdir())) == 2, "this one and the one before"
    await node.installer.uninstall(PACKAGE, drop_state=False)
    assert node.packages == []
    assert list(node.router.processes()) == []
    assert not any((node.home.path / "packages").iterdir())
    assert installed(node) == {}


@pytest.mark.thorough
async def test_a_package_is_installed_while_it_is_uninstalled(node: Node, tmp_path: Path) -> None:
    folder = str(version_of_echo(tmp_path, "0.2.0"))
    await node.installer.install(folder)
    stopping = hold(node.supervisor, "stop")
    gone = asyncio.create_task(node.installer.uninstall(PACKAGE, drop_state=True))
    await stopping.there.wait()
    again = asyncio.create_task(node.installer.install(folder))
    commands = NodeCommands(node).all()
    with pytest.raises(PackageError, match="is not installed"):
        read_installed(node.home.path).get(PACKAGE)
    stopping.go_on.set()
    await gone
    assert (await again)["version"] == "0.2.0"
    assert [process.id for process in node.router.processes()] == [ECHO]
    assert [state["state"] async for state in commands["restart"]({"process": ECHO_C})] == ["running"]
    assert installed(node) == {PACKAGE: "0.2.0"}


@pytest.mark.thorough
@pytest.mark.parametrize("stopped", [False, True])
async def test_a_process_that_is_restarted_while_its_package_is_uninstalled_is_gone(
    node: Node, tmp_path: Path, stopped: bool
) -> None:
    await node.installer.install(str(version_of_echo(tmp_path, "0.2.0")))
    commands = NodeCommands(node).all()

    async def restart() -> None:
        async for _ in commands["restart"]({"process": ECHO_C}):
            pass

    if stopped:  # what is started again is being compiled
        await node.supervisor.stop(ECHO, "the test wants it")
        held = hold(node.supervisor, "_compiled")
        restarting = asyncio.create_task(restart())
        await held.there.wait()
        await node.installer.uninstall(PACKAGE, drop_state=False)
    else:  # its run is being ended, for another to begin
        held = hold(node.supervisor._runs, "stop", lambda care, purpose, reason: reason == "it is restarted")
        restarting = asyncio.create_task(restart())
        await held.there.wait()
        await node.installer.uninstall(PACKAGE, drop_state=False)
    held.go_on.set()
    (outcome,) = await asyncio.gather(restarting, return_exceptions=True)
    assert isinstance(outcome, Exception)
    assert list(node.router.processes()) == []
    with pytest.raises(NoSuchProcess):
        await restart()


@pytest.mark.thorough
async def test_a_restart_that_comes_while_its_package_is_uninstalled_starts_nothing(
    node: Node, tmp_path: Path
) -> None:
    await node.installer.install(str(version_of_echo(tmp_path, "0.2.0")))
    held = hold(node.supervisor, "stop")
    gone = asyncio.create_task(node.installer.uninstall(PACKAGE, drop_state=False))
    await held.there.wait()
    restarting = asyncio.create_task(node.supervisor.restart(ECHO))
    await asyncio.sleep(0)
    held.go_on.set()
    await gone
    (outcome,) = await asyncio.gather(restarting, return_exceptions=True)
    assert outcome is None or isinstance(outcome, Exception)
    assert list(node.router.processes()) == []


@pytest.mark.thorough
async def test_what_is_uninstalled_while_the_node_starts_it_does_not_run(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"), workers=1, http=HttpSettings(port=0))
    async with Node(settings, None) as node:
        await node.installer.install(str(version_of_echo(tmp_path, "0.2.0")))
        await node.installer.install(str(other_package(tmp_path, "0.3.0")))
    async with Node(settings, None) as node:
        held = hold(node.installer, "_staged")
        starting = asyncio.create_task(node.installer.start())
        await held.there.wait()
        await node.installer.uninstall(PACKAGE, drop_state=False)
        held.go_on.set()
        await starting
        assert [process.id.package_id for process in node.router.processes()] == ["echo:else.os"]
        assert [package.id for package in node.packages] == ["echo:else.os"]
    async with Node(settings, None) as node:
        compiling = hold(node.supervisor, "_compiled")
        starting = asyncio.create_task(node.installer.start())
        await compiling.there.wait()
        await node.installer.uninstall("echo:else.os", drop_state=False)
        compiling.go_on.set()
        await starting
        assert list(node.router.processes()) == []


@pytest.mark.thorough
async def test_what_could_not_be_dropped_is_dropped_before_the_package_comes_again(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be dropped with what that stored."""

    async def fails(*_: object) -> bool:
        return False

    folder = str(version_of_echo(tmp_path, "0.2.0"))
    await node.installer.install(folder)
    with monkeypatch.context() as broken:
        broken.setattr(installer, "purge", fails)
        await node.installer.uninstall(PACKAGE, drop_state=True)
        with pytest.raises(PackageError, match="cannot be deleted: see the log"):
            await node.installer.install(folder)
        assert installed(node) == {}
    await node.installer.install(folder)
    assert installed(node) == {PACKAGE: "0.2.0"}
    assert read_installed(node.home.path).to_drop == frozenset()


@pytest.mark.thorough
@pytest.mark.parametrize("running", [True, False])
async def test_what_a_package_gave_to_other_nodes_is_void_from_its_end_on_also_after_a_restart(
    tmp_path: Path, running: bool
) -> None:
    settings = Settings(home=str(tmp_path / "home"), workers=1, http=HttpSettings(port=0))
    folder = str(version_of_echo(tmp_path, "0.2.0"))
    right = of_node("guesthouse.os", ECHO)
    async with Node(settings, None) as node:
        await node.installer.install(folder)
        given = time.time()
        assert not node.router.rights.is_void(right, given)
        if running:
            await node.installer.uninstall(PACKAGE, drop_state=False)
            assert node.router.rights.is_void(right, given)
    if not running:
        offline_installer.uninstall_without_node(node.home, PACKAGE, drop_state=False)
    async with Node(settings, None) as node:
        await node.installer.install(folder)
        assert node.router.rights.is_void(right, given)
        assert not node.router.rights.is_void(right, time.time() + 1)
