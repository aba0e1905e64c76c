"""Backups of homes of running nodes, restored and started: real nodes, real components, real databases."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guesthouse.node.backup.restore import checked

from .conftest import StartNode
from .daemon import Daemon, run_command
from .packages import package
from .test_processes import A, ask
from .waiting import until

pytestmark = pytest.mark.xdist_group("backup")
PUPPETS = "puppet:test.os"


class Writer:
    """Stores one number after another, in the state and then in `kv`, and knows which it was told are stored."""

    def __init__(self, node: Daemon) -> None:
        self._node = node
        self.stored = 0
        self.grew = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled, or the node is gone."""
        with contextlib.suppress(Exception):
            while True:
                number = self.stored + 1
                assert await ask(self._node, A, f"set {number}") == "0"
                assert (
                    await ask(self._node, A, f"carry kv:distro:sys 20 {number} {_request('Set', number)}")
                    == '"Ok"'
                )
                self.stored = number
                self.grew.set()

    async def reaches(self, number: int) -> None:
        while self.stored < number:
            self.grew.clear()
            await self.grew.wait()


def _request(action: str, number: int) -> str:
    return json.dumps({"db": "d", "action": {action: {"key": str(number)}}}, separators=(",", ":"))


async def highest(node: Daemon, most: int) -> int:
    """The last number of those without a gap in `kv`."""
    for number in range(1, most + 2):
        if "KeyNotFound" in await ask(node, A, f"ask kv:distro:sys 20 {_request('Get', number)}"):
            return number - 1
    raise AssertionError("there are more than were stored")


@pytest.fixture
def restored_home(new_home: Callable[[], Path]) -> Path:
    """An empty home."""
    home = new_home()
    shutil.rmtree(home)
    home.mkdir(mode=0o700)
    return home


@pytest.mark.thorough
async def test_backups_of_a_node_under_load_are_each_of_one_moment(
    start: StartNode, tmp_path: Path, restored_home: Path
) -> None:
    node = await start()
    await node.install(package("puppet"), yes=True)
    await asyncio.to_thread((node.home / "guesthouse.toml").write_text, f'node = "{node.node}"\n')
    writer = Writer(node)
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(writer.run())
        least = []
        for number in range(3):
            await writer.reaches(10 * (number + 1))
            least.append(writer.stored)
            made = await node.cli("backup", tmp_path / f"{number}.tar.gz", "--json")
            assert made.json()["secrets"] is True
            least.append(writer.stored)
        writing.cancel()
    public = (await node.get("/encryptor:distro:sys")).json()
    token = await node.token()
    assert await node.terminate() == 0

    archive = tmp_path / "2.tar.gz"
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    ran = await run_command(restored_home, "restore", "--home", restored_home, archive)
    assert (ran.code, ran.stdout) == (0, ""), ran.stderr
    again = await start(home=restored_home, node=None)
    assert again.node == node.node
    state, entries = int(await ask(again, A, "get")), await highest(again, writer.stored)
    assert least[-2] <= entries <= state <= entries + 1 <= writer.stored + 1
    assert (await again.get("/encryptor:distro:sys")).json() == public
    assert (await again.get("/", token)).status_code != 401
    (item,) = (await again.cli("packages", "--json")).json()
    assert (item["package"], item["running_version"]) == (PUPPETS, "0.1.0")


async def test_a_node_that_was_killed_is_backed_up_with_all_that_it_said_is_stored(
    start: StartNode, tmp_path: Path, restored_home: Path
) -> None:
    node = await start(package("puppet"))
    writer = Writer(node)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        await writer.reaches(20)
        await node.kill()
    archive = tmp_path / "backup.tar.gz"
    assert (await run_command(node.home, "backup", "--home", node.home, archive)).code == 0
    assert (await run_command(restored_home, "restore", "--home", restored_home, archive)).code == 0
    again = await start(package("puppet"), home=restored_home)
    state, entries = int(await ask(again, A, "get")), await highest(again, writer.stored + 1)
    assert writer.stored <= entries <= state <= entries + 1


def scratch(folder: Path) -> list[Path]:
    """Where copies of databases lie until they are packed."""
    return list(folder.glob(".guesthouse-backup-*"))


async def test_a_backup_that_is_killed_harms_neither_the_node_nor_the_next(
    start: StartNode, tmp_path: Path
) -> None:
    node = await start(package("puppet"))
    assert await ask(node, A, "set 1") == "0"
    archive = tmp_path / "backup.tar.gz"
    for _ in range(3):
        command = (sys.executable, "-m", "guesthouse", "backup", "--home", node.home, "--force", archive)
        killed = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)

        async def busy(killed: asyncio.subprocess.Process = killed) -> bool:
            return killed.returncode is not None or bool(scratch(tmp_path))

        await until(busy, bool, "the command begins")
        with contextlib.suppress(ProcessLookupError):
            killed.kill()
        await killed.wait()
        assert not archive.exists() or checked(archive)
        assert await ask(node, A, "set 2") == "0"
    ran = await node.cli("backup", "--force", archive)
    assert ran.code == 0, ran.stderr
    assert scratch(tmp_path) == []
    assert "state.sqlite" in {file.name for file in checked(archive).files}


async def test_a_home_in_use_is_not_restored(start: StartNode, tmp_path: Path) -> None:
    node = await start(package("puppet"))
    assert (await node.cli("backup", tmp_path / "backup.tar.gz")).code == 0
    ran = await node.cli("restore", "--force", tmp_path / "backup.tar.gz")
    assert ran.code == 1
    assert "another node" in ran.stderr
    assert await ask(node, A, "set 1") == "0"
