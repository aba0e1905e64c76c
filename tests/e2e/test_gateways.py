"""Clients at one node, real processes at another: what they see is what clients of that node see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from guesthouse.core.address import ProcessId
from guesthouse.core.config import HttpSettings, Settings
from guesthouse.core.settings.cluster_settings import ClusterSettings
from guesthouse.node.node import Node

from .clients import ECHO, register_message
from .packages import package
from .test_two_nodes import Net, Wire
from .waiting import until

GATEWAY, HOME = "gateway.os", "home.os"
ID = ProcessId.parse(ECHO)
SERVES_ALL = ClusterSettings(serve=("*",))


@dataclass
class Two:
    """A node without packages, and one that has them."""

    gateway: Node
    home: Node
    stop_home: AsyncExitStack

    def url(self, node: Node, path: str = "/") -> str:
        """Of a WebSocket at that node."""
        return node.http.url.replace("http", "ws", 1) + path

    async def registered(self, node: Node, target: str) -> ClientConnection:
        """A channel by that node."""
        client = await connect(self.url(node), proxy=None)
        await client.send(register_message(node.http.issue_token(60), target))
        assert "channel_id" in str(await asyncio.wait_for(client.recv(), PATIENCE))
        return client


@pytest.fixture
async def two(new_home: Callable[[], Path]) -> AsyncIterator[Two]:
    net = Net()
    async with AsyncExitStack() as stack, AsyncExitStack() as home_stack:
        nodes = []
        for name, where in ((GATEWAY, stack), (HOME, home_stack)):
            settings = Settings(
                home=str(new_home()), node=name, workers=1, http=HttpSettings(port=0), cluster=SERVES_ALL
            )
            node = await where.enter_async_context(Node(settings, None))
            net.keys[name] = node.public_key()
            peers = node.join(Wire(net, name), net.keys.get)
            net.incoming[name] = peers.incoming
            net.reachable.add(name)
            nodes.append((node, peers))
        (gateway, peers), (home, _) = nodes
        await home.add([await home.load(str(package("echo")))])
        peers.connect(HOME)

        async def found() -> bool:
            context = gateway.http._context
            process = context.router.find(ID)
            return process is not None and context.bindings.find_ws(process.id, ("public",)) is not None

        await until(found, bool, "the gateway is not told of the process")
        yield Two(gateway, home, home_stack)


async def script(client: ClientConnection) -> list[object]:
    """What a client sees that says all sorts of things."""
    seen: list[object] = []
    for message in (
        "text",
        b"binary",
        "",
        b"",
        "\u00e9" * 3000,
        bytes(range(256)) * 700,
        "x" * (1024 * 1024),
    ):
        await client.send(message)
        seen.append(await asyncio.wait_for(client.recv(), PATIENCE))
    await client.send(["in ", "three ", "fragments"])
    seen.append(await asyncio.wait_for(client.recv(), PATIENCE))
    for number in range(200):
        await client.send(str(number))
    seen += [await asyncio.wait_for(client.recv(), PATIENCE) for _ in range(200)]
    await client.send("y" * (1024 * 1024 + 1))
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(client.recv(), PATIENCE)
    return [*seen, closed.value.rcvd]


async def test_a_client_sees_by_a_gateway_what_it_sees_at_the_home(two: Two) -> None:
    path = f"/{ECHO}/public"
    seen = []
    for node, target in ((two.home, ECHO), (two.gateway, ECHO), (two.gateway, f"{HOME}@{ECHO}")):
        seen.append(await script(await two.registered(node, target)))
        seen.append(await script(await connect(two.url(node, path), proxy=None)))
    assert all(each == seen[0] for each in seen)
    assert not two.gateway.http.open_channels()


async def test_a_channel_stays_open_while_its_process_is_restarted_and_ends_with_it(two: Two) -> None:
    client = await two.registered(two.gateway, ECHO)
    await two.home.restart(ID)
    await client.send("still there")
    assert await asyncio.wait_for(client.recv(), PATIENCE) == "still there"
    await two.home.stop(ID)
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(client.recv(), PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011


async def test_a_home_that_stops_closes_its_channels_at_the_gateway(two: Two) -> None:
    client = await two.registered(two.gateway, ECHO)
    await two.stop_home.aclose()
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(client.recv(), PATIENCE)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the node is shutting down")
