"""What a process may do, and what it is told when it may not: real nodes, real components."""

from __future__ import annotations

from .conftest import StartNode
from .daemon import NODE, Daemon
from .packages import package
from .test_processes import A, B, C, ask

STRANGER, FRIEND = "d:other:test.os", "c:other:test.os"


def puppet_as(process: str) -> str:
    """An argument of `run`: the puppet's component as a package of its own that requests nothing."""
    return f"{process}={package('puppet') / 'build/puppet.wasm'}"


async def explained(node: Daemon, process: str) -> list[dict[str, str]]:
    """What a process holds, as `guesthouse explain` has it."""
    (item,) = await node.ask("explain", process=process)
    held: list[dict[str, str]] = item["capabilities"]
    return held


def held_from(held: list[dict[str, str]], issuer: str) -> str | None:
    """Where a process has the messaging capability of another from; None when it has it not."""
    return next((item["from"] for item in held if item["issuer"] == f"{NODE}@{issuer}"), None)


async def test_a_process_of_another_package_is_not_messaged_without_its_capability(start: StartNode) -> None:
    node = await start("puppet", puppet_as(STRANGER))
    assert await ask(node, STRANGER, f"ask {A} 20 say x") == "failed not-authorised say x"
    assert await ask(node, STRANGER, "missing") == f'"messaging" of {A}'
    line = await node.log_line(STRANGER, "lacks the capability")
    assert f'"messaging" of {NODE}@{A}' in line["text"]
    explained = (await node.cli("explain", STRANGER, "--json")).json()
    assert explained["refused"] == [{"issuer": f"{NODE}@{A}", "params": '"messaging"', "times": 1}]
    shown = await node.cli("explain", STRANGER)
    assert f'"messaging" of {NODE}@{A} (once)' in shown.stdout


async def test_a_manifest_grants_its_process_to_others(start: StartNode) -> None:
    node = await start(puppet_as(FRIEND), "puppet")
    assert await ask(node, FRIEND, f"ask {B} 20 say welcome") == "welcome"
    assert await ask(node, FRIEND, f"ask {A} 20 say x") == "failed not-authorised say x"
    held = await explained(node, FRIEND)
    assert {
        "issuer": f"{NODE}@{B}",
        "params": '"messaging"',
        "from": f"{NODE}@{B} grants it",
    } in held


async def test_runtime_modules_are_used_by_those_whose_manifest_requests_them(start: StartNode) -> None:
    node = await start("puppet")
    request = '{"db":"d","action":"Open"}'
    assert await ask(node, A, f"ask kv:distro:sys 20 {request}") == '"Ok"'
    assert await ask(node, C, f"ask kv:distro:sys 20 {request}") == f"failed not-authorised {request}"
    assert await ask(node, C, "missing") == '"messaging" of kv:distro:sys'
    held = await explained(node, A)
    origins = {item["issuer"].partition("@")[2]: item["from"] for item in held}
    assert origins["kv:distro:sys"] == (
        "its manifest requests it, and the operator granted it by running or installing the package"
    )
    assert origins["http-server:distro:sys"] == "every process has it"


async def test_nobody_hands_on_what_he_does_not_hold(start: StartNode) -> None:
    node = await start("puppet")
    assert await ask(node, B, f'give {C} {A} "messaging"') == "given"
    assert await ask(node, C, "say ready") == "ready"
    await node.log_line(B, "capabilities that it does not hold were removed")
    assert held_from(await explained(node, C), A) is None


async def test_what_was_saved_outlives_the_node_and_what_was_dropped_is_gone(start: StartNode) -> None:
    public = package("puppet")
    node = await start(public, puppet_as(FRIEND))
    given = f'{A} "messaging"'
    assert await ask(node, A, f"give {B} {given}") == "given"
    assert await ask(node, B, "say ready") == "ready"
    assert held_from(await explained(node, B), A) == f"{NODE}@{A} handed it to it"
    await node.kill()
    node = await start(public, puppet_as(FRIEND), home=node.home)
    assert held_from(await explained(node, B), A) == f"{NODE}@{A} handed it to it"
    assert await ask(node, B, f"drop {given}") == "dropped"
    assert held_from(await explained(node, B), A) is None
    assert await ask(node, FRIEND, f'drop {B} "messaging"') == "dropped"
    assert await ask(node, FRIEND, f"ask {B} 20 say x") == "failed not-authorised say x"


async def test_what_every_process_has_can_be_given_up_and_is_missed_then(start: StartNode) -> None:
    node = await start("puppet")
    bound, not_authorised, too_big = "0", "6", "1"
    assert await ask(node, C, "bind /one") == bound
    assert await ask(node, C, 'drop http-server:distro:sys "messaging"') == "dropped"
    assert await ask(node, C, "bind /two") == not_authorised
    assert await ask(node, C, "missing") == '"messaging" of http-server:distro:sys'
    await node.log_line(C, "its call of bind-ws-path was refused", "http-server:distro:sys")
    request = '{"WebSocketUnbind":{"path":"/one"}}'
    assert (
        await ask(node, C, f"ask http-server:distro:sys 20 {request}") == f"failed not-authorised {request}"
    )
    assert await ask(node, C, "set kept") == "0"
    state = next(item for item in await explained(node, C) if "state:distro:sys" in item["issuer"])
    assert await ask(node, C, f"drop state:distro:sys {state['params']}") == "dropped"
    assert await ask(node, C, "set more") == too_big
    assert await ask(node, C, "missing") == '{"bytes":4} of state:distro:sys'
    await node.log_line(C, "keeping 4 bytes was refused")
    assert await ask(node, C, "get") == "kept"


async def test_a_receiver_sees_the_capabilities_that_came_with_a_request_and_a_response(
    start: StartNode,
) -> None:
    node = await start("puppet")
    shown = f'"messaging" of {A}'
    assert await ask(node, A, f'hand {B} {A} "messaging" show') == shown
    assert await ask(node, B, f'ask {A} 20 lend {A} {{"shelf":1}}') == "lent"
    assert await ask(node, B, "show") == f'{{"shelf":1}} of {A}'
    assert await ask(node, A, f'hand {B} {C} "messaging" show') == f'{{"shelf":1}} of {A}', "none came"
