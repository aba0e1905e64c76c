"""What the Python SDK keeps of channels, and how long lists may be: real nodes, real components."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any

import pytest

from .clients import bound
from .conftest import StartNode
from .daemon import Daemon
from .test_processes import ask
from .test_python_bytes import SENDER

CLOSES = {
    "close_channel": "/",
    "push": "/",
    "push-many": "/",
    "push-waiting": "/",
    "push-to-path": "/fixed",
    "push-to-bound-path": "/rooms/seven",
}
"""Ways of closing a channel without its object, and the path of one that is closed so."""


async def told(node: Daemon, question: str) -> Any:
    return json.loads(await ask(node, SENDER, json.dumps([question, 0, 0])))


async def test_channels_that_a_process_closes_by_number_or_path_leave_its_set(start: StartNode) -> None:
    node = await start("sender")
    async with AsyncExitStack() as stack:
        kept = await stack.enter_async_context(bound(node, SENDER, "/"))
        assert await kept.ask(b"there") == b"there"
        for way, path in CLOSES.items():
            closed = await stack.enter_async_context(bound(node, SENDER, path))
            await closed.send(way)
            assert (await closed.closed())[0] == 4000, way
            assert await told(node, "channels") == [["/"], 0], way
        assert await kept.ask(b"still there") == b"still there"


@pytest.mark.thorough
async def test_lists_may_have_65536_elements_and_pushes_go_to_any_number_of_channels(
    start: StartNode,
) -> None:
    node = await start("sender")
    assert await told(node, "push-to-65536") == 65_536
    assert await told(node, "push-to-70000") == 70_000
    assert await told(node, "too-many") == [
        f"{what} may be at most {most}, not {most + 1}: pass fewer"
        for what, most in (
            ("headers", 1024),
            ("capabilities", 256),
            ("requests", 64),
            ("processes", 256),
            ("subprotocols", 256),
        )
    ]
    assert await told(node, "as-many-as-may-be") == "taken"
    assert (await node.ask("ps"))[0]["restarts"] == 0
