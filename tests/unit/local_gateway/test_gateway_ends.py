"""A gateway whose clients or node take nothing, leave, or send more than their share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket

import pytest
from msgspec.structs import replace
from tests.patience import PATIENCE
from tests.unit.http_server.conftest import FakeLog, masked, until, upgrade_request

from guesthouse.local_gateway.client_relay import COMPRESSES, PASSES
from guesthouse.local_gateway.gateway_link import (
    ConfigureGateway,
    GatewayFault,
    PingGateway,
    TakeClient,
    encode,
    receive,
)
from guesthouse.local_gateway.local_gateways import LocalGateway

from .test_gateway_loop import ANSWER, OFFER, running, settings

GET = b"GET / HTTP/1.1\r\n\r\n"
MESSAGE = b"\x82\x7e\xea\x60" + random.Random(1).randbytes(60_000)
"""A frame of the node that compression does not make smaller."""


async def _fill(sock: socket.socket) -> None:
    """Send until the other end takes no more."""
    with contextlib.suppress(TimeoutError):
        while True:
            await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(sock, MESSAGE), 0.3)


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_client_that_reads_nothing_is_let_go_once_the_node_has(*, compressed: bool) -> None:
    async with running(replace(settings(), ping_seconds=0.2)) as node:
        client, ours = await (node.open() if compressed else node.give())
        with client:
            if not compressed:
                await node.send(client, GET)
                await node.read(ours, len(GET) + 1)
            await _fill(ours)
            assert node.gateway._relays
            ours.close()
            await until(lambda: not node.gateway._relays)


async def test_a_client_that_reads_slowly_gets_what_the_node_left_for_it() -> None:
    async with running(replace(settings(), ping_seconds=0.5)) as node:
        client, ours = await node.give()
        with client:
            await node.send(client, GET)
            await node.read(ours, len(GET) + 1)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += ours.send(bytes(65536))
                    await asyncio.sleep(0.001)
            ours.close()
            assert len(await node.end_of(client)) == sent


async def test_a_client_for_whom_there_are_no_descriptors_is_dropped_alone() -> None:
    async with running() as node:
        client, ours = await node.open(1)
        with client, ours:
            one, other = socket.socketpair()
            with one, other:
                socket.send_fds(node.link, [encode(TakeClient(2, secure=False))], [one.fileno()])
            node.link.send(encode(TakeClient(3, secure=False)))
            for _ in range(2):
                said = await node.said()
                assert isinstance(said, GatewayFault)
                assert "LimitNOFILE=" in said.text
            await node.send(client, masked(0x82, b"still there"))
            assert (await node.read(ours, 17)).startswith(b"\x82")
            next_client, its = await node.give(4)
            with next_client, its:
                await node.send(next_client, GET)
                assert await node.read(its, len(GET) + 1) == PASSES + GET


async def test_a_read_of_many_small_frames_lets_others_have_their_turn() -> None:
    async with running() as node:
        client, ours = await node.open()
        with client, ours:
            (relay,) = node.gateway._relays.values()
            frames = masked(0x82, b"") * 20_000
            relay.from_client(frames)
            assert relay._pending is not None
            assert await node.read(ours, len(frames)) == frames


async def test_what_came_before_the_answer_reaches_the_node_though_the_client_has_ended() -> None:
    async with running() as node:
        client, ours = await node.give()
        with client, ours:
            head, early = upgrade_request("/", 80, OFFER), masked(0x82, b"early")
            await node.send(client, head + early)
            assert await node.read(ours, len(head) + 1) == COMPRESSES + head
            (relay,) = node.gateway._relays.values()
            relay.client_ended(gone=False)
            await node.send(ours, ANSWER)
            assert await node.end_of(ours) == early


async def test_a_gateway_that_is_busy_gets_settings_later() -> None:
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        theirs.setblocking(False)
        gateway = LocalGateway("gateway-0", ours, os.getpid(), FakeLog())
        while gateway.send(PingGateway()):
            pass
        wanted = settings()
        gateway.configure(replace(wanted, close_seconds=7.0))
        gateway.configure(wanted)
        assert not gateway.lost.done()
        found: list[ConfigureGateway] = []
        async with asyncio.timeout(PATIENCE):
            while not found:
                with contextlib.suppress(BlockingIOError):
                    received = receive(theirs)
                    assert received is not None
                    if isinstance(received[0], ConfigureGateway):
                        found.append(received[0])
                await asyncio.sleep(0)
        assert found == [wanted]
        gateway.close()
