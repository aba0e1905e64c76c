"""Capabilities and children as the Python SDK has them: real nodes, real components."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from guesthouse.package.build.build_package import build_package

from .conftest import StartNode
from .daemon import NODE, Daemon
from .packages import package
from .test_processes import ask

RIGHTS, BARE, CHILD = (f"{name}:rights:test.os" for name in ("rights", "bare", "child"))
KV, HTTP, SPAWN = f"{NODE}@kv:distro:sys", f"{NODE}@http-server:distro:sys", f"{NODE}@kernel:distro:sys"


async def told(node: Daemon, process: str, what: str, argument: Any = None) -> Any:
    """What a process answers to `[what, argument]`."""
    return json.loads(await ask(node, process, json.dumps([what, argument])))


async def test_a_python_process_is_handed_keeps_hands_on_and_drops_capabilities(start: StartNode) -> None:
    node = await start("rights")
    assert f'"messaging" of {KV}' in await told(node, RIGHTS, "ours")
    assert f'"messaging" of {KV}' not in await told(node, BARE, "ours")
    # of the two that it attaches, it holds one; the other it leaves to nobody
    attached = [[KV, "messaging"], [f"{NODE}@vfs:distro:sys", "messaging"]]
    argument = [f"{NODE}@{BARE}", ["keep", None], attached]
    assert await told(node, RIGHTS, "ask", argument) == [[f'"messaging" of {KV}'], []]
    assert f'"messaging" of {KV}' in await told(node, BARE, "ours")
    issued = f'{{"shelf":7}} of {NODE}@{RIGHTS}'
    assert await told(node, BARE, "ask", [f"{NODE}@{RIGHTS}", ["issue", {"shelf": 7}], []]) == [
        "issued",
        [issued],
    ]
    await node.kill()
    node = await start("rights", home=node.home)
    assert {f'"messaging" of {KV}', issued} <= set(await told(node, BARE, "ours"))
    await told(node, BARE, "drop", [[f"{NODE}@{RIGHTS}", {"shelf": 7}]])
    assert issued not in await told(node, BARE, "ours")


async def test_a_version_that_asks_for_less_has_less_whatever_the_one_before_saved_and_handed_on(
    start: StartNode, tmp_path: Path
) -> None:
    first = build_package(package("rights"))
    second = tmp_path / "second"
    shutil.copytree(first, second)
    manifest = (second / "package.toml").read_text()
    asks = next(line for line in manifest.splitlines() if line.startswith("request-capabilities"))
    (second / "package.toml").write_text(manifest.replace(asks, "").replace("0.1.0", "0.2.0"))
    kv = f'"messaging" of {KV}'
    everyone = [RIGHTS, BARE, CHILD]
    node = await start()
    assert (await node.cli("install", first, "--yes")).code == 0
    arguments = {
        "path": "/build/rights.wasm",
        "name": "child",
        "gets": [[KV, "messaging"], [f"{NODE}@{RIGHTS}", {"shelf": 1}]],
    }
    assert await told(node, RIGHTS, "child", arguments) == CHILD
    await told(node, RIGHTS, "ask", [f"{NODE}@{BARE}", ["keep", None], [[KV, "messaging"]]])
    await told(node, BARE, "ask", [f"{NODE}@{RIGHTS}", ["keep", None], [[KV, "messaging"]]])
    assert [kv in await told(node, process, "ours") for process in everyone] == [True] * 3
    assert (await node.cli("install", second)).code == 0
    assert [kv in await told(node, process, "ours") for process in everyone] == [False] * 3
    assert KV not in (await node.cli("explain", BARE)).stdout
    assert f'{{"shelf":1}} of {NODE}@{RIGHTS}' in await told(node, CHILD, "ours"), "its parent issued that"
    await node.kill()
    node = await start(home=node.home)
    assert [kv in await told(node, process, "ours") for process in (RIGHTS, BARE)] == [False] * 2
    assert (await node.cli("rollback", "rights:test.os")).code == 0
    assert [kv in await told(node, process, "ours") for process in (RIGHTS, BARE)] == [True] * 2


async def test_a_python_process_is_told_what_it_lacks(start: StartNode) -> None:
    node = await start("rights")
    for what, argument, refused, missing in (
        ("child", {"path": "/build/rights.wasm"}, "SpawnNotAuthorised", f'"spawn" of {SPAWN}'),
        ("ask", [KV, {"db": "d", "action": "Open"}, []], "NotAuthorised", f'"messaging" of {KV}'),
    ):
        assert await told(node, BARE, what, argument) == {"refused": refused, "missing": missing}
    await told(node, BARE, "drop", [[HTTP, "messaging"]])
    lacked = {"refused": "BindNotAuthorised", "missing": f'"messaging" of {HTTP}'}
    assert await told(node, BARE, "bind", "/") == lacked
    await told(node, BARE, "drop", [[f"{NODE}@state:distro:sys", {"bytes": 16 << 20}]])
    state = {"refused": "StateTooBig", "missing": f'{{"bytes":5}} of {NODE}@state:distro:sys'}
    assert await told(node, BARE, "store", 5) == state


async def test_a_python_process_starts_a_child_with_some_of_its_own_capabilities(start: StartNode) -> None:
    node = await start("rights")
    arguments = {"path": "/build/rights.wasm", "name": "child", "gets": [[KV, "messaging"]]}
    assert await told(node, RIGHTS, "child", arguments) == CHILD
    held = await told(node, CHILD, "ours")
    assert f'"messaging" of {KV}' in held
    assert f'"spawn" of {SPAWN}' not in held
