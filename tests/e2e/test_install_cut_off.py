"""Whoever installs is killed at random moments: the old version is there or the new one, whole."""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import forked
from tests.examples import examples
from tests.patience import PATIENCE

from guesthouse.core.config import PackageLimits
from guesthouse.package.store.installed import read_installed
from guesthouse.package.store.stage import staged

from .clients import ECHO_C, registered
from .conftest import StartNode
from .daemon import Daemon, environment, run_command
from .test_packages import PACKAGE, version_of_echo

ROUNDS_WITHOUT_NODE = max(16, examples(36))
ROUNDS_WITH_NODE = max(3, examples(8))


async def killed_after(home: Path, seconds: float, *arguments: str | Path) -> bool:
    """Run a command and kill it; whether it had done its work by then."""
    with tempfile.TemporaryFile() as errors:
        command = [*map(str, arguments), "--home", str(home)]
        process = await forked.fork(command, environment(home), home.parent, stderr=errors)
        try:
            return await asyncio.wait_for(process.wait(), seconds) == 0
        except TimeoutError:
            process.kill()
            return await process.wait() == 0


def whole(home: Path, components: dict[str, str]) -> str:
    """The version that is installed; its files are those of that version."""
    item = read_installed(home).packages[PACKAGE]
    for version in (item.current, item.previous):
        if version is not None:
            package = staged(version.hash, PackageLimits(), home / "packages")
            content = package.processes[0].component.read_bytes()
            assert (package.version, hashlib.sha256(content).hexdigest()) == (
                version.version,
                components[version.version],
            )
    return item.current.version


def two_versions(tmp_path: Path) -> tuple[dict[str, Path], dict[str, str]]:
    folders = {version: version_of_echo(tmp_path, version) for version in ("0.2.0", "0.3.0")}
    files = {version: folder / "build/echo-c.wasm" for version, folder in folders.items()}
    return folders, {
        version: hashlib.sha256(file.read_bytes()).hexdigest() for version, file in files.items()
    }


async def test_an_install_that_is_killed_leaves_the_old_version_or_the_new_one(
    start: StartNode, new_home: Callable[[], Path], tmp_path: Path
) -> None:
    home = new_home()
    folders, components = two_versions(tmp_path)
    chance = random.Random(11)
    loop = asyncio.get_running_loop()
    for folder in 2 * tuple(folders.values()):  # the second time nothing is compiled, as in what follows
        began = loop.time()
        assert await killed_after(home, PATIENCE, "install", folder)
        takes = loop.time() - began
    outcomes = set()
    for _ in range(ROUNDS_WITHOUT_NODE):
        before = whole(home, components)
        (wanted,) = folders.keys() - {before}
        done = await killed_after(home, takes * chance.uniform(0.4, 1.1), "install", folders[wanted])
        after = whole(home, components)
        takes *= (
            0.9 if after == wanted else 1.1
        )  # so that it strikes about when it is done, however busy the machine
        assert after in ({wanted} if done else {before, wanted})
        outcomes.add(after == wanted)
    assert outcomes == {False, True}
    daemon = await start(home=home)
    assert (await daemon.ps())[ECHO_C]["version"] == whole(home, components)


@pytest.mark.thorough
async def test_a_node_killed_while_it_upgrades_starts_with_one_version_or_the_other(
    new_home: Callable[[], Path], tmp_path: Path
) -> None:
    home = new_home()
    folders, components = two_versions(tmp_path)
    chance = random.Random(12)
    for folder in folders.values():
        assert (await run_command(home, "install", "--home", home, folder)).code == 0
    for _ in range(ROUNDS_WITH_NODE):
        before = whole(home, components)
        (wanted,) = folders.keys() - {before}
        async with Daemon(home, []) as daemon:
            shown = (await daemon.ps())[ECHO_C]
            assert shown["version"] == before
            async with registered(daemon, ECHO_C, await daemon.token()) as client:
                assert await client.ask(before) == before
                command = asyncio.ensure_future(daemon.cli("install", folders[wanted]))
                await asyncio.sleep(chance.uniform(0.2, 0.7))
                await daemon.kill()
                ran = await command
        after = whole(home, components)
        assert after in ({wanted} if ran.code == 0 else {before, wanted})
