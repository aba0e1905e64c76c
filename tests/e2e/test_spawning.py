"""Processes that start others: real nodes, real components."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.tiers import thorough_after

from .conftest import StartNode
from .packages import package
from .test_processes import NOBODY, A, B, C, ask, tell
from .waiting import until

CHILD, FRIEND = "child:puppet:test.os", "c:other:test.os"
PATH = "/build/puppet.wasm"
NAME_TAKEN, NO_FILE, NOT_AUTHORISED, TOO_MANY = "0", "1", "2", "3"


async def test_a_child_runs_talks_to_its_parent_and_outlives_its_parents_run(start: StartNode) -> None:
    node = await start("puppet")
    assert await ask(node, A, f"spawn child {PATH}") == "child"
    assert await ask(node, A, f"ask {CHILD} 20 say mother") == "mother"
    assert await ask(node, CHILD, f"ask {A} 20 say child") == "child"
    await node.ask("kill", process=A)
    assert await ask(node, CHILD, "say alive") == "alive"


async def test_spawning_is_refused_for_each_reason(start: StartNode) -> None:
    node = await start("puppet", settings={"package_processes": 4})
    assert await ask(node, B, f"spawn child {PATH}") == NOT_AUTHORISED
    assert await ask(node, B, "missing") == '"spawn" of kernel:distro:sys'
    await node.log_line(B, "spawning a process was refused", '"spawn" of')
    for path in ("/none.wasm", "/../chat/build/chat.wasm", "/etc/passwd", "", "/src/puppet.c"):
        assert await ask(node, A, f"spawn child {path}") == NO_FILE
    assert await ask(node, A, f"spawn b {PATH}") == NAME_TAKEN
    assert await ask(node, A, f"spawn in:side {PATH}") == NAME_TAKEN
    assert await ask(node, A, f"spawn child puppet:test.os/pkg{PATH}") == "child"
    assert await ask(node, A, f"spawn second {PATH}") == TOO_MANY
    await node.ask("stop", process=CHILD)
    assert await ask(node, A, f"spawn second {PATH}") == "second"
    assert await ask(node, A, f"ask {NOBODY} 20 say x") == "failed no-such-process say x"


@pytest.mark.parametrize("installed", thorough_after(1, [False, True]))
async def test_paths_mean_the_same_whether_a_package_has_a_drive_or_not(
    start: StartNode, tmp_path: Path, installed: bool
) -> None:
    folder = shutil.copytree(package("puppet"), tmp_path / "puppet")
    shutil.copy(folder / "build/puppet.wasm", folder / "build/worker.wasm")
    (folder / "pkg").mkdir()
    shutil.copy(folder / "build/puppet.wasm", folder / "pkg/inner.wasm")
    if installed:
        node = await start()
        await node.install(folder, yes=True)
    else:
        node = await start(folder)
    paths = ("/build/worker.wasm", "/inner.wasm", "/pkg/inner.wasm", "puppet:test.os/pkg/inner.wasm")
    for number, path in enumerate((*paths, "/puppet:test.os/pkg/build/worker.wasm")):
        assert await ask(node, A, f"spawn child{number} {path}") == f"child{number}"
    assert await ask(node, A, "spawn other /none.wasm") == NO_FILE
    await node.log_line(A, "its child was not started: there is no component at /none.wasm")


async def test_a_child_has_no_right_that_it_was_not_given(start: StartNode) -> None:
    node = await start("puppet")
    assert await ask(node, A, f"spawn child {PATH}") == "child"
    assert await ask(node, CHILD, f"spawn grandchild {PATH}") == NOT_AUTHORISED
    refused = await ask(node, CHILD, 'ask kv:distro:sys 20 {"db":"d","action":"Open"}')
    assert refused.startswith("failed not-authorised")


async def test_a_child_gets_nothing_that_others_grant_to_its_name(start: StartNode, tmp_path: Path) -> None:
    folder = shutil.copytree(package("puppet"), tmp_path / "granter")
    manifest = (folder / "package.toml").read_text().replace('name = "puppet"', 'name = "granter"', 1)
    (folder / "package.toml").write_text(manifest.replace(FRIEND, CHILD))
    granter = "b:granter:test.os"
    node = await start("puppet", folder)
    assert await ask(node, A, f"spawn child {PATH}") == "child"
    for nobody in (A, CHILD):
        assert await ask(node, nobody, f"ask {granter} 20 say x") == "failed not-authorised say x"
    assert granter not in (await node.cli("explain", CHILD)).stdout.partition("it was refused")[0]


async def test_a_child_gets_nothing_that_one_of_its_name_saved_before(start: StartNode) -> None:
    node = await start("puppet", f"{FRIEND}={package('puppet') / 'build/puppet.wasm'}")
    assert await ask(node, A, f"spawn child {PATH}") == "child"
    assert await ask(node, FRIEND, f'give {B} {FRIEND} "messaging"') == "given"
    assert await ask(node, B, "say ready") == "ready"
    assert await ask(node, B, f'give {CHILD} {FRIEND} "messaging"') == "given"
    assert await ask(node, CHILD, f"ask {FRIEND} 20 say friend") == "friend"
    await node.ask("stop", process=CHILD)
    assert await ask(node, A, f"spawn child {PATH}") == "child"
    for nobody in (A, CHILD):
        assert await ask(node, nobody, f"ask {FRIEND} 20 say x") == "failed not-authorised say x"


@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
async def test_what_was_saved_does_not_outlive_its_package(
    start: StartNode, tmp_path: Path, running: bool
) -> None:
    friend = f"{FRIEND}={package('puppet') / 'build/puppet.wasm'}"
    node = await start(friend)
    folder = shutil.copytree(package("puppet"), tmp_path / "puppet")
    await node.install(folder, yes=True)
    assert await ask(node, FRIEND, f'give {B} {FRIEND} "messaging"') == "given"
    assert await ask(node, B, f"ask {FRIEND} 20 say friend") == "friend"
    assert await ask(node, B, "set kept") == "0"
    if not running:
        await node.terminate()
    assert (await node.cli("uninstall", "puppet:test.os")).code == 0
    assert (await node.cli("install", folder, "--yes")).code == 0
    if not running:
        node = await start(friend, home=node.home)
    assert await ask(node, B, "get") == "kept"
    assert await ask(node, B, f"ask {FRIEND} 20 say x") == "failed not-authorised say x"


@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
async def test_what_was_handed_out_does_not_outlive_its_package(
    start: StartNode, tmp_path: Path, running: bool
) -> None:
    """Another package that takes the name never handed it out."""
    friend = f"{FRIEND}={package('puppet') / 'build/puppet.wasm'}"
    node = await start(friend)
    folder = shutil.copytree(package("puppet"), tmp_path / "puppet")
    await node.install(folder, yes=True)
    assert await ask(node, FRIEND, f'give {B} {FRIEND} "messaging"') == "given"
    assert await ask(node, B, f'give {FRIEND} {B} "key"') == "given"

    async def explained() -> str:
        return (await node.cli("explain", FRIEND)).stdout

    await until(explained, lambda text: '"key"' in text, "what was given is saved")
    if not running:
        await node.terminate()
    assert (await node.cli("uninstall", "puppet:test.os")).code == 0
    assert (await node.cli("install", folder, "--yes")).code == 0
    if not running:
        node = await start(friend, home=node.home)
    assert await ask(node, FRIEND, f"ask {B} 20 say granted") == "granted", "by the manifest"
    assert '"key"' not in (await node.cli("explain", FRIEND)).stdout


KV_RIGHT = 'kv:distro:sys "messaging"'


async def test_a_child_that_restarts_returns_with_the_node_and_one_that_does_not_is_gone(
    start: StartNode,
) -> None:
    node = await start("puppet")
    assert await ask(node, A, f"raise child {PATH} c:other:test.os {KV_RIGHT}") == "child"
    assert await ask(node, A, f"spawn brief {PATH}") == "brief"
    assert await ask(node, CHILD, "set kept") == "0"
    await node.kill()
    node = await start("puppet", f"{FRIEND}={package('puppet') / 'build/puppet.wasm'}", home=node.home)
    assert set(await node.ps()) == {A, B, C, CHILD, FRIEND}
    assert await ask(node, CHILD, "get") == "kept"
    assert await ask(node, CHILD, 'ask kv:distro:sys 20 {"db":"d","action":"Open"}') == '"Ok"'
    assert await ask(node, CHILD, f"spawn grandchild {PATH}") == NOT_AUTHORISED
    assert await ask(node, FRIEND, f"ask {CHILD} 20 say granted") == "granted"
    await node.ask("kill", process=CHILD)
    assert await ask(node, CHILD, "get") == "kept"
    await node.ask("stop", process=CHILD)
    assert await node.terminate() == 0
    node = await start("puppet", home=node.home)
    assert CHILD not in await node.ps(), "it was stopped, so it does not return"


async def test_a_child_goes_on_through_its_parents_end_and_an_upgrade_and_goes_with_its_package(
    start: StartNode, tmp_path: Path
) -> None:
    node = await start()
    folder = tmp_path / "puppet"
    shutil.copytree(package("puppet"), folder)
    await node.install(folder, yes=True)
    assert await ask(node, A, f"raise child {PATH} {NOBODY} {KV_RIGHT}") == "child"
    await tell(node, CHILD, "note before")
    manifest = folder / "package.toml"
    manifest.write_text(manifest.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
    await node.install(folder, yes=True)
    await node.ask("stop", process=A)
    assert (await ask(node, CHILD, "journal")).split() == ["note", "before"], "the same run goes on"
    await node.ask("uninstall", package="puppet:test.os")
    assert await node.ps() == {}
    await node.install(folder, yes=True)
    await node.kill()
    node = await start(home=node.home)
    assert set(await node.ps()) == {A, B, C}, "the children of an uninstalled package are gone with it"


@pytest.mark.thorough
async def test_a_child_that_cannot_return_is_said_and_forgotten_with_its_package(
    start: StartNode, tmp_path: Path
) -> None:
    folder = tmp_path / "puppet"
    shutil.copytree(package("puppet"), folder)
    shutil.copy(folder / "build/puppet.wasm", folder / "build/extra.wasm")
    node = await start(folder)
    assert await ask(node, A, f"raise child /build/extra.wasm {NOBODY} {KV_RIGHT}") == "child"
    await node.kill()
    (folder / "build/extra.wasm").unlink()
    node = await start(folder, home=node.home)
    await node.log_line(CHILD, "was not started again", "no longer has a component at /build/extra.wasm")
    listed = await node.ps()
    assert set(listed) == {A, B, C, CHILD}
    assert (listed[CHILD]["state"], listed[CHILD]["last_end"]["cause"]) == ("failed", "not-started")
    await node.kill()
    node = await start(home=node.home)  # without its package
    await node.kill()
    shutil.copy(folder / "build/puppet.wasm", folder / "build/extra.wasm")
    node = await start(folder, home=node.home)
    assert set(await node.ps()) == {A, B, C}
