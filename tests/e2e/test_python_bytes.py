"""A Python process that sends bytes gets their memory back: real nodes, real components, little memory."""

from __future__ import annotations

import json
from typing import Final

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.wit import Composite, Interface, Type, Use, WitPackage, read_wit

from guesthouse.package.build.sdk_files import wit_folder

from .clients import SECONDS, bound
from .conftest import StartNode
from .daemon import Daemon
from .test_processes import ask

SENDER: Final = "sender:sender:test.os"
MEMORY: Final = 32 << 20
SIZE: Final = 250_000
TIMES: Final = 2 * MEMORY // SIZE
"""So often a payload is sent: twice what there is memory for. A process that kept a copy of each would end."""

BY_REQUEST: Final = (
    "send-ws-push",
    "send-ws-push-many",
    "send-ws-push-to-path",
    "send-ws-push-waiting",
    "send-ws-extension-push",
    "bind-http-static-path",
    "send-request",
    "send-requests",
    "send-and-await-response",
    "set-state",
    "set-on-exit",
    "spawn",
)
"""The calls that the guest makes when it is asked to."""
ANSWERS: Final = ("send-response", "send-http-response")
"""Those with which it answers: `send-response` in the process that `send-and-await-response` asks."""


async def run_of(node: Daemon, call: str = "", times: int = 0) -> str:
    """Which run of the process it is, once it has made these calls."""
    answer: str = json.loads(await ask(node, SENDER, json.dumps([call, times, SIZE])))
    return answer


async def unharmed(node: Daemon) -> bool:
    """Whether no process has ended."""
    return [each["restarts"] for each in await node.ask("ps")] == [0, 0]


async def start_with_little_memory(start: StartNode) -> Daemon:
    return await start("sender", settings={"process_memory_bytes": MEMORY})


def test_every_call_that_takes_bytes_is_here() -> None:
    contract = read_wit(wit_folder())
    taking = {
        name
        for interface in contract.interfaces.values()
        for name, function in interface.functions.items()
        if any(_has_bytes(type_, interface, contract) for _, type_ in function.parameters)
    }
    assert taking == {*BY_REQUEST, *ANSWERS}


@pytest.mark.thorough
async def test_bytes_sent_by_any_call_are_freed(start: StartNode) -> None:
    node = await start_with_little_memory(start)
    run = await run_of(node)
    for call in BY_REQUEST:
        assert await run_of(node, call, TIMES) == run, call
    assert await unharmed(node)


async def test_binary_that_is_echoed_is_freed(start: StartNode) -> None:
    node = await start_with_little_memory(start)
    run = await run_of(node)
    async with bound(node, SENDER, "/") as client:
        for round_ in range(TIMES):
            message = round_.to_bytes(4, "big") * (SIZE // 4)
            assert await client.ask(message) == message
    assert await run_of(node) == run
    assert await unharmed(node)


@pytest.mark.thorough
async def test_bodies_of_http_responses_are_freed(start: StartNode) -> None:
    node = await start_with_little_memory(start)
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False, timeout=SECONDS) as client:
        for _ in range(TIMES):
            answer = await client.get(f"{node.url}/{SENDER}/page", params={"size": SIZE})
            assert (answer.headers["x-run"], len(answer.content)) == (await run_of(node), SIZE)
    assert await unharmed(node)


def _has_bytes(type_: Type | None, interface: Interface, contract: WitPackage) -> bool:
    """Whether there are bytes anywhere in a type, as it is written in an interface."""
    if type_ is None:
        return False
    if type_ == Type("list", (Type("u8"),)):
        return True
    if type_.arguments or type_.head not in interface.types:
        return any(_has_bytes(argument, interface, contract) for argument in type_.arguments)
    match interface.types[type_.head]:
        case Use(other, name):
            return _has_bytes(Type(name), contract.interfaces[other], contract)
        case Composite(_, parts):
            return any(_has_bytes(part, interface, contract) for _, part in parts)
        case alias:
            return _has_bytes(alias, interface, contract)
