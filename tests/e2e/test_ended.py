"""What died stays in sight: `guesthouse ps`, `/readyz`, exit codes."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.tiers import thorough_after

from .conftest import StartNode
from .daemon import Daemon, run_command
from .packages import package
from .test_processes import A, B, C, ask, tell
from .test_spawning import CHILD, PATH
from .waiting import until

MONITORED = {"monitoring_port": 0}


async def listener(node: Daemon) -> str:
    line = await node.log_line("monitoring", "serves")
    return str(line["text"]).removeprefix("serves ").removesuffix("/metrics")


async def state_of(node: Daemon, process: str, state: str) -> dict[str, object]:
    async def looked_up() -> dict[str, object]:
        return (await node.ps()).get(process, {})

    return await until(looked_up, lambda item: item.get("state") == state, f"{process} is not {state}")


async def test_a_process_that_trapped_stays_listed_with_its_cause_until_it_is_restarted(
    start: StartNode,
) -> None:
    node = await start(package("puppet"), settings=MONITORED)
    assert (await node.cli("ps")).code == 0
    await tell(node, C, "trap")
    item = await state_of(node, C, "failed")
    end = item["last_end"]
    assert isinstance(end, dict)
    assert (end["cause"], end["text"].startswith("trapped: ")) == ("trap", True)
    assert (item["worker"], item["channels"], item["on_exit"]) == (None, 0, "none")
    assert set(item) == set((await node.ps())[A]), "like one that runs"
    ran = await node.cli("ps")
    assert ran.code == 3
    assert f"{C} trapped: " in ran.stderr
    assert "failed" in ran.stdout
    ran = await node.cli("ps", "--json")
    assert (ran.code, {one["process"] for one in json.loads(ran.stdout)}) == (3, {A, B, C})
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, base_url=await listener(node)) as http:
        ready, strict = await http.get("/readyz"), await http.get("/readyz?processes")
        assert (ready.status_code, ready.json()["reasons"]) == (200, []), "it takes nobody's clients away"
        assert ready.json()["failed"][0].startswith(f"{C} trapped")
        assert (strict.status_code, strict.json()["reasons"]) == (503, ready.json()["failed"])
        await node.ask("restart", process=C)
        assert (await http.get("/readyz?processes")).status_code == 200
    ran = await node.cli("ps")
    assert (ran.code, ran.stderr) == (0, "")
    assert (await node.ps())[C]["state"] == "running"


async def test_one_that_returned_or_was_stopped_has_not_failed(start: StartNode) -> None:
    node = await start(package("puppet"))
    await tell(node, C, "return")
    await state_of(node, C, "ended")
    await node.ask("stop", process=A)
    await state_of(node, A, "stopped")
    assert (await node.cli("ps")).code == 0
    for process in (A, C):
        assert (await node.cli("stop", process, "--json")).json() == {"process": process, "state": "stopped"}
    assert set(await node.ps()) == {B}


async def test_a_process_that_is_run_again_tells_how_its_last_run_ended(start: StartNode) -> None:
    node = await start(package("puppet"), settings={"restart_first_delay": 600})
    assert (await node.ps())[A]["last_end"] is None
    for _ in range(2):  # after the first it is run again at once
        await tell(node, A, "trap")
    item = await state_of(node, A, "waiting")
    assert isinstance(item["last_end"], dict)
    assert item["last_end"]["cause"] == "trap"
    ran = await node.cli("ps")
    assert (ran.code, f"{A} trapped" in ran.stderr) == (0, True)


async def test_installed_packages_that_cannot_be_started_are_listed(start: StartNode) -> None:
    node = await start()
    home = node.home
    for name in ("puppet", "echo-c"):
        await node.install(package(name), yes=True)
    assert await node.terminate() == 0
    installed = json.loads(await asyncio.to_thread((home / "installed.json").read_text))["packages"]
    folders = {name: home / "packages" / item["current"]["hash"] for name, item in installed.items()}
    (echo,) = (name for name in folders if name.startswith("echo-c"))
    await asyncio.to_thread(shutil.rmtree, folders[echo])
    wasm = folders["puppet:test.os"] / "build/puppet.wasm"
    whole = await asyncio.to_thread(wasm.read_bytes)
    await asyncio.to_thread(wasm.write_bytes, b"\0asm\x0d\0\1\0nonsense")
    node = await start(home=home)
    items = await node.ps()
    assert {items[name]["state"] for name in (A, B, C, echo)} == {"failed"}
    assert "is gone: install it again" in items[echo]["last_end"]["text"]
    assert items[A]["last_end"]["cause"] == "not-started"
    assert (await node.cli("ps")).code == 3
    await node.ask("uninstall", package=echo)
    await asyncio.to_thread(wasm.write_bytes, whole)
    for process in (A, B, C):
        await node.ask("restart", process=process)
    assert {item["state"] for item in (await node.ps()).values()} == {"running"}


@pytest.mark.parametrize(
    ("suffix", "state"),
    thorough_after(
        1, [("", "running"), ("?on-exit=restart", "running"), ("?on-exit=none", "failed")], names=2
    ),
)
async def test_a_bare_component_is_run_again_unless_it_says_otherwise(
    start: StartNode, suffix: str, state: str
) -> None:
    component = package("puppet") / "build/puppet.wasm"
    process = "puppet:puppet:local.os"
    node = await start(Path(f"{component}{suffix}"), settings={"restart_first_delay": 0})
    assert await ask(node, process, "say here") == "here"
    await tell(node, process, "trap")
    if state == "running":
        assert await ask(node, process, "say again") == "again"
    item = await state_of(node, process, state)
    assert (item["restarts"], item["on_exit"]) == ((1, "restart") if state == "running" else (0, "none"))


@pytest.mark.thorough
async def test_what_follows_a_component_is_known_or_refused(tmp_path: Path) -> None:
    component = package("puppet") / "build/puppet.wasm"
    for argument, said in (
        (f"{component}?on-exit=explode", "write ?on-exit=none or ?on-exit=restart"),
        (f"{component}?x", "write ?on-exit=none or ?on-exit=restart"),
        (f"{package('puppet')}?on-exit=none", "only a bare .wasm takes ?on-exit="),
    ):
        ran = await run_command(
            tmp_path / "home", "run", "--port", "0", "--home", tmp_path / "home", argument
        )
        assert (ran.code, said in ran.stderr) == (1, True), ran.stderr


@pytest.mark.thorough
async def test_children_that_ended_are_listed_until_they_are_spawned_again_or_removed(
    start: StartNode,
) -> None:
    node = await start("puppet", settings=MONITORED)
    assert await ask(node, A, f"spawn child {PATH}") == "child"
    await tell(node, CHILD, "trap")
    item = await state_of(node, CHILD, "failed")
    assert isinstance(item["last_end"], dict)
    assert item["last_end"]["cause"] == "trap"
    assert set(item) == set((await node.ps())[A]), "like one that runs"
    ran = await node.cli("ps")
    assert (ran.code, f"{CHILD} trapped: " in ran.stderr) == (3, True)
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, base_url=await listener(node)) as http:
        assert (await http.get("/readyz")).status_code == 200
        (reason,) = (await http.get("/readyz?processes")).json()["reasons"]
        assert reason.startswith(f"{CHILD} trapped")
        text = (await http.get("/metrics")).text
        assert 'guesthouse_processes_not_running{cause="trap",state="failed"} 1.0' in text
        ran = await node.cli("restart", CHILD)
        assert (ran.code, "which alone can start it again" in ran.stderr) == (1, True)
        assert await ask(node, A, f"spawn child {PATH}") == "child"
        assert (await http.get("/readyz?processes")).status_code == 200
    await tell(node, CHILD, "return")
    await state_of(node, CHILD, "ended")
    assert (await node.cli("ps")).code == 0
    assert (await node.cli("stop", CHILD)).code == 0
    assert CHILD not in await node.ps()
    for number in range(18):
        assert await ask(node, A, f"spawn c{number} {PATH}") == f"c{number}"
        one = CHILD.replace("child", f"c{number}", 1)
        await tell(node, one, "return")
        await state_of(node, one, "ended")
    listed = set(await node.ps()) - {A, B, C}
    assert listed == {CHILD.replace("child", f"c{number}", 1) for number in range(2, 18)}
