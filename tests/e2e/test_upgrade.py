"""Another version is installed while a thousand channels talk: none closes, no message is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from websockets.asyncio.client import ClientConnection, connect

from guesthouse.package.build.build_package import build_package

from .clients import register_message, registered
from .conftest import StartNode
from .daemon import Daemon
from .packages import package
from .waiting import until

VERSIONS = "versions:versions:test.os"
CHANNELS = 1000
AT_ONCE = 4
"""Messages that a client has under way."""
FAILS = 666
IDLES = 777


def version(tmp_path: Path, number: int) -> Path:
    """The package `versions` whose process says that it is this version."""
    folder = tmp_path / f"versions-{number}"
    if not folder.exists():
        shutil.copytree(package("versions"), folder)
        for file, old, new in (
            ("src/versions.c", "#define VERSION 1", f"#define VERSION {number}"),
            ("package.toml", 'version = "0.1.0"', f'version = "0.{number}.0"'),
        ):
            text = (folder / file).read_text()
            assert old in text
            (folder / file).write_text(text.replace(old, new))
    return build_package(folder)


@dataclass(slots=True)
class Talker:
    """A client that always has a few messages under way, and checks each answer."""

    socket: ClientConnection
    sent: int = 0
    heard: int = 0
    versions: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    async def talk(self, enough: asyncio.Event) -> None:
        """Talk until it is enough and everything was answered."""
        while not enough.is_set() or self.heard < self.sent:
            while self.sent - self.heard < AT_ONCE and not enough.is_set():
                await self.socket.send(str(self.sent))
                self.sent += 1
            async with asyncio.timeout(PATIENCE):
                number, count, text = str(await self.socket.recv()).split(" ")
            assert int(text) == self.heard
            self.heard += 1
            self.counts.append(int(count))
            if self.versions[-1:] != [int(number)]:
                self.versions.append(int(number))


@asynccontextmanager
async def talkers(daemon: Daemon) -> AsyncIterator[list[Talker]]:
    token = await daemon.token()
    async with AsyncExitStack() as stack:
        opening = asyncio.Semaphore(50)

        async def one() -> Talker:
            async with opening:
                socket = await stack.enter_async_context(
                    connect(daemon.ws_url, proxy=None, ping_interval=None, compression=None, open_timeout=30)
                )
                await socket.send(register_message(token, VERSIONS))
                assert set(json.loads(await socket.recv())) == {"channel_id"}
                return Talker(socket)

        yield list(await asyncio.gather(*(one() for _ in range(CHANNELS))))


async def all_hear(clients: list[Talker], version: int) -> None:
    """Each client has its turn while this version runs."""

    async def waiting() -> int:
        return sum(client.versions[-1:] != [version] for client in clients)

    await until(waiting, lambda left: not left, f"clients hear version {version}", seconds=60.0)


@pytest.mark.thorough
async def test_a_thousand_channels_talk_through_an_upgrade_one_that_fails_and_a_rollback(
    start: StartNode, tmp_path: Path
) -> None:
    first, second, fails = (version(tmp_path, number) for number in (1, 2, FAILS))
    daemon = await start()
    await daemon.install(first)
    async with talkers(daemon) as clients:
        ids = {channel["channel_id"] for channel in await daemon.channels(VERSIONS)}
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(client.talk(enough))
            await all_hear(clients, 1)
            upgraded = await daemon.cli("install", second)
            await all_hear(clients, 2)
            failed = await daemon.cli("install", fails)
            returned = await daemon.cli("rollback", "versions:test.os")
            await all_hear(clients, 1)
            enough.set()
        assert (upgraded.code, returned.code) == (0, 0), upgraded.stderr + returned.stderr
        assert failed.code == 1
        assert f"{VERSIONS} cannot be started" in failed.stderr
        assert {channel["channel_id"] for channel in await daemon.channels(VERSIONS)} == ids
        assert len(ids) == CHANNELS
        assert all(client.versions == [1, 2, 1] for client in clients)
        assert min(client.sent for client in clients) > AT_ONCE
        counts = sorted(count for client in clients for count in client.counts)
        assert counts == list(range(1, sum(client.sent for client in clients) + 1))
    (listed,) = await daemon.ask("packages")
    assert (listed["version"], listed["previous_version"]) == ("0.1.0", "0.2.0")


@pytest.mark.thorough
async def test_a_version_that_never_finishes_is_stopped_in_its_time(start: StartNode, tmp_path: Path) -> None:
    daemon = await start(settings={"process_handover_seconds": 0.5})
    await daemon.install(version(tmp_path, 1))
    async with registered(daemon, VERSIONS, await daemon.token()) as client:
        assert await client.ask("before") == "1 1 before"
        await client.send("hold")
        await client.send("waits")
        await daemon.install(version(tmp_path, 2))
        assert await client.receive() == "2 1 waits"
        await daemon.log_line(VERSIONS, "did not finish within 0.5 s")


async def test_a_version_that_never_asks_for_a_message_is_rolled_back(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await start(settings={"process_first_message_seconds": 0.5})
    await daemon.install(version(tmp_path, 1))
    async with registered(daemon, VERSIONS, await daemon.token()) as client:
        assert await client.ask("before") == "1 1 before"
        refused = await daemon.cli("install", version(tmp_path, IDLES))
        assert refused.code == 1
        assert f"{VERSIONS} cannot be started: it has not asked for a message in 0.5 s" in refused.stderr
        assert await client.ask("after") == "1 2 after"
    (listed,) = await daemon.ask("packages")
    assert (listed["version"], listed["previous_version"]) == ("0.1.0", None)


@pytest.mark.thorough
async def test_a_package_that_never_asks_for_a_message_is_not_installed(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await start(settings={"process_first_message_seconds": 0.5})
    refused = await daemon.cli("install", version(tmp_path, IDLES))
    assert refused.code == 1
    assert "has not asked for a message in 0.5 s" in refused.stderr
    assert await daemon.ps() == {}
    assert await daemon.ask("packages") == []


@pytest.mark.thorough
@pytest.mark.parametrize("content", [b"\0asm\x0d\0\x01\0 cut off"])
async def test_a_version_that_cannot_be_compiled_leaves_the_old_one_alone(
    start: StartNode, tmp_path: Path, content: bytes
) -> None:
    daemon = await start()
    await daemon.install(version(tmp_path, 1))
    (version(tmp_path, 2) / "build/versions.wasm").write_bytes(content)
    async with registered(daemon, VERSIONS, await daemon.token()) as client:
        assert await client.ask("before") == "1 1 before"
        assert (await daemon.cli("install", tmp_path / "versions-2")).code == 1
        assert await client.ask("after") == "1 2 after"
        assert (await daemon.ps())[VERSIONS]["restarts"] == 0


async def test_all_processes_of_a_package_are_swapped_or_none(start: StartNode, tmp_path: Path) -> None:
    old, new, fails = (version(tmp_path, number) for number in (1, 2, FAILS))
    shutil.copy(fails / "build/versions.wasm", new / "build/fails.wasm")
    add_process(old, "goes", "versions")
    add_process(new, "comes", "versions")
    add_process(new, "fails", "fails")
    daemon = await start()
    first = (await daemon.cli("install", old, "--json")).json()
    async with registered(daemon, VERSIONS, await daemon.token()) as client:
        assert await client.ask("before") == "1 1 before"
        refused = await daemon.cli("install", new)
        assert refused.code == 1
        assert "fails:versions:test.os cannot be started" in refused.stderr
        assert await client.ask("after") == "1 2 after"
        assert set(await daemon.ps()) == {VERSIONS, "goes:versions:test.os"}
        assert await daemon.ask("packages") == [first]
        shutil.copy(new / "build/versions.wasm", new / "build/fails.wasm")
        await daemon.install(new)
        assert await client.ask("then") == "2 3 then"
        assert set(await daemon.ps()) == {
            f"{name}:versions:test.os" for name in ("versions", "comes", "fails")
        }


def add_process(folder: Path, name: str, wasm: str) -> None:
    """One more process in a package, whose component is in `build` already."""
    table = f'\n[[process]]\nname = "{name}"\nwasm = "build/{wasm}.wasm"\non-exit = "restart"\n'
    (folder / "package.toml").write_text((folder / "package.toml").read_text() + table)
