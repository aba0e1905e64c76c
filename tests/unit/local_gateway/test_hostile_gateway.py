"""A gateway that was taken over by a client: what it can do is what clients can."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.patience import PATIENCE
from tests.unit.http_server.conftest import (
    CHAT,
    NODE,
    FakeLog,
    FakeProcess,
    FakeRouter,
    House,
    until,
    upgrade_request,
)

from guesthouse.core.config import HttpSettings, Settings
from guesthouse.http_server.server import HttpServer
from guesthouse.link.calls import BindWsPath
from guesthouse.local_gateway.client_relay import COMPRESSES, PASSES
from guesthouse.local_gateway.gateway_link import (
    ClientCrowded,
    ClientHeard,
    ConfigureGateway,
    GatewayReady,
    TakeClient,
    encode,
    receive,
)
from guesthouse.local_gateway.local_gateways import LocalGateway, LocalGateways


class Hostile(LocalGateways):
    """One gateway, which is the test."""

    def __init__(self, settings: Settings, log: FakeLog) -> None:
        super().__init__(settings, log)
        self.links: list[socket.socket] = []

    async def _one_life(self, name: str, begun: asyncio.Future[None]) -> str:
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self.links.append(theirs)
        theirs.setblocking(False)
        with theirs:
            theirs.send(encode(GatewayReady()))
            gateway = LocalGateway(name, ours, os.getpid(), self._log)
            return await self._serve(gateway, begun) or "was closed"


@dataclass
class Scene:
    """A node with such a gateway."""

    house: House
    gateways: Hostile
    log: FakeLog

    def say(self, packet: bytes) -> None:
        self.gateways.links[-1].send(packet)

    async def client(self) -> tuple[TakeClient, socket.socket]:
        """A client that the node gave the gateway: its number and the way to the node."""
        link = self.gateways.links[-1]
        _, writer = await asyncio.open_connection("127.0.0.1", self.house.server.port)
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(link, readable.set)
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    readable.clear()
                    await readable.wait()
                    received = receive(link)
                    assert received is not None
                    message, passed = received
                    if isinstance(message, TakeClient):
                        break
                    assert isinstance(message, ConfigureGateway)
        finally:
            loop.remove_reader(link)
            writer.close()
        accepted, node = (socket.socket(fileno=each) for each in passed)
        accepted.close()
        node.setblocking(False)
        return message, node


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    settings = Settings(node=NODE, gateways=1, http=replace(HttpSettings(), port=0))
    router, log, its_log = FakeRouter(), FakeLog(), FakeLog()
    router.known[CHAT] = FakeProcess(CHAT)
    server = HttpServer(router, log, settings, tmp_path)
    async with Hostile(settings, its_log) as gateways:
        server.front = gateways
        await gateways.begun()
        async with server:
            server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
            server.bind_ws_path(CHAT, BindWsPath("/inside", authenticated=True))
            yield Scene(House(server, router, log, tmp_path), gateways, its_log)
    assert log.errors == []


async def answer_to(node: socket.socket, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        await loop.sock_sendall(node, data)
        return await loop.sock_recv(node, 65536)


async def test_it_opens_no_channel_that_a_client_may_not(scene: Scene) -> None:
    _, node = await scene.client()
    with node:
        head = upgrade_request(f"/{CHAT}/inside", scene.house.server.port)
        assert (await answer_to(node, COMPRESSES + head)).startswith(b"HTTP/1.1 401 ")
    assert scene.house.chat.quiet


@pytest.mark.parametrize("compresses", [COMPRESSES, PASSES])
async def test_what_it_sends_of_a_client_is_checked_as_a_clients(scene: Scene, compresses: bytes) -> None:
    _, node = await scene.client()
    with node:
        head = upgrade_request(f"/{CHAT}/", scene.house.server.port)
        assert (await answer_to(node, compresses + head)).startswith(b"HTTP/1.1 101 ")
        await scene.house.chat.opened()
        answer = await answer_to(node, b"\x81\x01x")
        assert (answer[0], int.from_bytes(answer[2:4], "big")) == (0x88, 1002)
        kind, _ = await scene.house.chat.next()
        assert kind == "close"


async def test_a_first_byte_that_says_nothing_ends_the_connection(scene: Scene) -> None:
    _, node = await scene.client()
    with node:
        assert await answer_to(node, b"GET / HTTP/1.1\r\n\r\n") == b""


async def test_what_it_says_of_clients_that_it_has_not_is_ignored(scene: Scene) -> None:
    take, node = await scene.client()
    with node:
        for packet in (
            ClientHeard(take.number),
            ClientCrowded(take.number),
            ClientHeard(2**50),
            ClientCrowded(0),
            GatewayReady(),
        ):
            scene.say(encode(packet))
        head = upgrade_request(f"/{CHAT}/", scene.house.server.port)
        assert (await answer_to(node, PASSES + head)).startswith(b"HTTP/1.1 101 ")
    assert len(scene.gateways.links) == 1


async def test_a_client_that_it_calls_crowded_is_closed(scene: Scene) -> None:
    take, node = await scene.client()
    with node:
        head = upgrade_request(f"/{CHAT}/", scene.house.server.port)
        assert (await answer_to(node, PASSES + head)).startswith(b"HTTP/1.1 101 ")
        scene.say(encode(ClientCrowded(take.number)))
        loop = asyncio.get_running_loop()
        closed = await asyncio.wait_for(loop.sock_recv(node, 100), PATIENCE)
        assert (closed[0], int.from_bytes(closed[2:4], "big")) == (0x88, 1013)


@pytest.mark.parametrize("packet", [b"nothing", b"\x92\x01\xa1x", b"\x80"])
async def test_one_that_sends_no_packet_is_replaced(scene: Scene, packet: bytes) -> None:
    scene.say(packet)
    await until(lambda: len(scene.gateways.links) == 2)
    assert scene.log.mentions("sent what is no message")


async def test_its_clients_are_counted_until_the_node_has_closed_them(scene: Scene) -> None:
    _, node = await scene.client()
    (gateway,) = scene.gateways.alive()
    assert gateway.connections == scene.house.server.connections == 1
    node.close()
    await until(lambda: gateway.connections == 0)
    assert scene.house.server.connections == 0
