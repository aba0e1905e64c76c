"""Processes that start others: real nodes, real components."""

from __future__ import annotations

from .conftest import StartNode
from .test_processes import NOBODY, A, B, ask

CHILD = "child:puppet:test.os"
PATH = "/build/puppet.wasm"
NAME_TAKEN, NO_FILE, NOT_AUTHORISED, TOO_MANY = "0", "1", "2", "3"


async def test_a_child_runs_talks_to_its_parent_and_outlives_its_parents_run(start: StartNode) -> None:
    node = await start("puppet")
    assert await ask(node, A, f"spawn child {PATH}") == "child"
    assert await ask(node, A, f"ask {CHILD} 20 say mother") == "mother"
    assert await ask(node, CHILD, f"ask {A} 20 say child") == "child"
    assert (await node.cli("kill", A)).code == 0
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
    assert (await node.cli("stop", CHILD)).code == 0
    assert await ask(node, A, f"spawn second {PATH}") == "second"
    assert await ask(node, A, f"ask {NOBODY} 20 say x") == "failed no-such-process say x"


async def test_a_child_has_no_right_that_it_was_not_given(start: StartNode) -> None:
    node = await start("puppet")
    assert await ask(node, A, f"spawn child {PATH}") == "child"
    assert await ask(node, CHILD, f"spawn grandchild {PATH}") == NOT_AUTHORISED
    refused = await ask(node, CHILD, 'ask kv:distro:sys 20 {"db":"d","action":"Open"}')
    assert refused.startswith("failed not-authorised")
