"""Requests to other nodes: how one ends whose node is lost."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from guesthouse.cluster.administration.administration_messages import List, Rows
from guesthouse.cluster.administration.node_calls import Calls, NodeUnreachable
from guesthouse.kernel.cluster.services import PeersPort

from .administered import Lines

NODE = "b.os"


class Queues:
    """Takes all, as peers that are still to be connected."""

    def register(self, *_: object) -> None:
        pass

    def send(self, *_: object, **__: object) -> None:
        pass


def ignore(_: str) -> None:
    pass


@pytest.mark.parametrize(
    ("was_up", "said"),
    [(False, "b.os cannot be reached"), (True, "the connection to b.os was lost before it answered")],
)
async def test_a_node_that_was_not_there_and_one_that_went_are_told_apart(was_up: bool, said: str) -> None:
    async with Calls(cast(PeersPort, Queues()), {}, Lines(), ignore, ignore) as calls:
        for _ in range(2):
            if was_up:
                calls.up(NODE)
            request: Any = List(what="ps")
            asked = asyncio.ensure_future(calls.ask(NODE, request, Rows, 60.0))
            await asyncio.sleep(0)
            calls.lost(NODE)
            with pytest.raises(NodeUnreachable, match=said):
                await asked
