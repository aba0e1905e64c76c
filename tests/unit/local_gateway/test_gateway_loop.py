"""The gateway itself, at the sockets that the node gives it."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.patience import PATIENCE
from tests.unit.http_server.conftest import masked, upgrade_request

from guesthouse.http_server.channel.deflate import DEFLATE, Deflate
from guesthouse.local_gateway.client_relay import COMPRESSES, PASSES
from guesthouse.local_gateway.deflating import Deflating, SharedDeflate
from guesthouse.local_gateway.gateway_link import (
    BadGatewayPacket,
    ClientCrowded,
    ClientHeard,
    ConfigureGateway,
    FromLocalGateway,
    GatewayPong,
    GatewayReady,
    PingGateway,
    TakeClient,
    encode,
    read_packet,
)
from guesthouse.local_gateway.gateway_loop import GatewayLoop
from guesthouse.local_gateway.inflating import Inflating
from guesthouse.local_gateway.upgrades import agreed, may_begin_upgrade, offers_compression

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate; "
    b"server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12\r\n\r\n"
)
MOST = 100_000


def settings(*, unfinished_bytes: int = 2**20) -> ConfigureGateway:
    return ConfigureGateway(
        tls=False,
        handshake_seconds=30.0,
        close_seconds=0.05,
        ping_seconds=30.0,
        pong_seconds=0.1,
        message_bytes=MOST,
        unfinished_bytes=unfinished_bytes,
    )


def deflated(payload: bytes, bits: int = 12) -> bytes:
    encoder = zlib.compressobj(wbits=-bits)
    return (encoder.compress(payload) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


def new_deflate() -> Deflate:
    found = agreed(ANSWER)
    assert found is not None
    return found[0]


class NodeEnd:
    """The node, as a gateway sees it."""

    def __init__(self, link: socket.socket, gateway: GatewayLoop) -> None:
        link.setblocking(False)
        self.link = link
        self.gateway = gateway
        self._loop = asyncio.get_running_loop()

    async def said(self) -> FromLocalGateway:
        async with asyncio.timeout(PATIENCE):
            return read_packet(await self._loop.sock_recv(self.link, 65536))

    async def give(self, number: int = 1) -> tuple[socket.socket, socket.socket]:
        """Give it a client. Returns the client's socket and the node's way to it."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname()[:2])
            accepted, _ = server.accept()
        ours, theirs = socket.socketpair()
        with accepted, theirs:
            socket.send_fds(
                self.link, [encode(TakeClient(number, secure=False))], [accepted.fileno(), theirs.fileno()]
            )
        client.setblocking(False)
        ours.setblocking(False)
        return client, ours

    async def read(self, sock: socket.socket, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            found = b""
            while len(found) < size:
                more = await self._loop.sock_recv(sock, size - len(found))
                assert more, f"the end comes after {found!r}"
                found += more
            return found

    async def end_of(self, sock: socket.socket) -> bytes:
        async with asyncio.timeout(PATIENCE):
            found = b""
            while more := await self._loop.sock_recv(sock, 65536):
                found += more
            return found

    async def send(self, sock: socket.socket, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._loop.sock_sendall(sock, data)

    async def open(self, number: int = 1) -> tuple[socket.socket, socket.socket]:
        """A client whose WebSocket is compressed."""
        client, ours = await self.give(number)
        head = upgrade_request("/", 80, OFFER)
        await self.send(client, head)
        assert await self.read(ours, len(head) + 1) == COMPRESSES + head
        await self.send(ours, ANSWER)
        assert await self.read(client, len(ANSWER)) == ANSWER
        return client, ours


@asynccontextmanager
async def running(configured: ConfigureGateway | None = None) -> AsyncIterator[NodeEnd]:
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with ours, theirs:
        gateway = GatewayLoop(theirs)
        task = asyncio.ensure_future(gateway.run())
        node = NodeEnd(ours, gateway)
        ours.send(encode(configured or settings()))
        assert isinstance(await node.said(), GatewayReady)
        try:
            yield node
        finally:
            ours.close()
            await asyncio.wait_for(task, PATIENCE)


async def test_what_is_no_upgrade_passes_as_it_is_both_ways() -> None:
    async with running() as node:
        client, ours = await node.give()
        with client, ours:
            request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
            await node.send(client, request)
            assert await node.read(ours, len(request) + 1) == PASSES + request
            response = b"HTTP/1.1 101 is no answer to that\r\n\r\n" + bytes(range(256)) * 1000
            await node.send(ours, response)
            assert await node.read(client, len(response)) == response


async def test_a_head_that_does_not_come_whole_is_passed_on_as_far_as_it_has_come() -> None:
    async with running() as node:
        client, ours = await node.give()
        with client, ours:
            await node.send(client, b"GET / HTTP/1.1\r\nHost: a\r\n")
            assert await node.read(ours, 26) == PASSES + b"GET / HTTP/1.1\r\nHost: a\r\n"


async def test_compressed_messages_reach_the_node_plain_and_plain_ones_the_client_compressed() -> None:
    async with running() as node:
        client, ours = await node.open()
        with client, ours:
            text = b"all the same " * 1000
            await node.send(client, masked(0xC1, deflated(text)) + masked(0x89, b"ping"))
            assert await node.read(ours, 8 + len(text) + 10) == masked(0x81, text) + masked(0x89, b"ping")
            await node.send(ours, b"\x81\x7e" + len(text).to_bytes(2, "big") + text + b"\x8a\x04ping")
            header = await node.read(client, 2)
            assert header[0] == 0xC1
            payload = await node.read(client, header[1])
            assert zlib.decompressobj(-15).decompress(payload) == text
            assert await node.read(client, 6) == b"\x8a\x04ping"


async def test_nagle_is_off() -> None:
    async with running() as node:
        client, ours = await node.open()
        with client, ours:
            (relay,) = node.gateway._relays.values()
            assert relay.client._transport is not None
            held = relay.client._transport.get_extra_info("socket")
            assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_the_end_of_either_is_the_end_of_the_other_after_all_was_passed() -> None:
    async with running() as node:
        client, ours = await node.open(1)
        with client, ours:
            await node.send(client, masked(0x82, b"x" * 50_000))
            client.close()
            assert len(await node.end_of(ours)) == 50_008
        client, ours = await node.open(2)
        with client, ours:
            await node.send(ours, b"\x88\x02\x03\xe9")
            ours.close()
            assert await node.end_of(client) == b"\x88\x02\x03\xe9"


async def test_a_client_that_sends_a_compressed_message_slowly_is_heard() -> None:
    async with running() as node:
        client, ours = await node.open(7)
        with client, ours:
            frame = masked(0xC2, deflated(random.Random(1).randbytes(50_000)))
            await node.send(client, frame[:1000])
            assert await node.said() == ClientHeard(7)
            await node.send(client, frame[1000:])
            assert len(await node.read(ours, 50_008)) == 50_008


async def test_too_much_that_is_not_whole_is_given_up_with_the_oldest() -> None:
    async with running(settings(unfinished_bytes=100_000)) as node:
        frame = masked(0xC2, deflated(random.Random(1).randbytes(90_000)))[:80_000]
        first, one = await node.open(1)
        second, other = await node.open(2)
        with first, one, second, other:
            await node.send(first, frame)
            assert await node.said() == ClientHeard(1)
            await node.send(second, frame)
            heard = [await node.said() for _ in range(2)]
            assert ClientCrowded(1) in heard


async def test_a_node_that_is_gone_ends_it_with_its_clients() -> None:
    async with running() as node:
        client, ours = await node.open()
        node.link.close()
        with client, ours:
            assert await node.end_of(client) == b""


async def test_it_answers_a_ping() -> None:
    async with running() as node:
        node.link.send(encode(PingGateway()))
        assert isinstance(await node.said(), GatewayPong)


@pytest.mark.parametrize("packet", [b"", b"\x00", b"\x91\x05", b"\x92\x01\xff", b"\xc1", b"\x92\x03\x01"])
def test_what_is_no_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(BadGatewayPacket):
        read_packet(packet)


# The pure parts.


def fed(parts: Iterator[bytes], inflating: Inflating) -> bytes:
    return b"".join(each for part in parts for each in inflating.receive(part))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100_000])
def test_frames_are_found_however_the_bytes_are_cut(step: int) -> None:
    text = b"again and again " * 300
    sent = [
        (masked(0x81, b"plain"), masked(0x81, b"plain")),
        (masked(0xC1, deflated(text)), masked(0x81, text)),
        (masked(0x41, deflated(text) + b"\0\0\xff\xff"), masked(0x01, text)),
        (masked(0x8A, b""), masked(0x8A, b"")),
        (masked(0x80, b"\x00"), masked(0x80, b"")),
        (masked(0x02, b"x" * 70_000), masked(0x02, b"x" * 70_000)),
        (masked(0x80, b"end"), masked(0x80, b"end")),
        (masked(0xC2, deflated(b"")), masked(0x82, b"")),
    ]
    stream = b"".join(each for each, _ in sent)
    cut = (stream[start : start + step] for start in range(0, len(stream), step))
    assert fed(cut, Inflating(new_deflate(), MOST)) == b"".join(each for _, each in sent)


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x81\x01x",  # not masked
        masked(0xA1, b"x"),  # a reserved bit
        masked(0x83, b"x"),  # no opcode
        masked(0xC9, b"x"),  # a compressed ping
        masked(0x80, b"x"),  # nothing to go on with
        masked(0xC0, b"x"),
        masked(0x01, b"x") + masked(0x81, b"x"),  # another message within one
        b"\xc1\xfe\x00\x05" + bytes(9),  # a length that is longer than it need be
    ],
)
def test_what_breaks_the_rules_is_left_to_the_node(wrong: bytes) -> None:
    then = masked(0xC1, deflated(b"not looked at"))
    assert fed(iter([wrong + then]), Inflating(new_deflate(), MOST)) == wrong + then


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (masked(0xC1, b"\xff\xff\xff"), masked(0xC1, b"\x07")),
        (masked(0xC1, deflated(b"x" * (MOST + 1))), b"\x81\xff\x40" + bytes(7) + bytes(4)),
        (b"\xc2\xff" + (2**40).to_bytes(8, "big") + bytes(4), b"\x82\xff\x40" + bytes(7) + bytes(4)),
    ],
    ids=["no deflate", "too large", "too large by its header"],
)
def test_the_node_is_made_to_refuse_what_cannot_be_decompressed(frame: bytes, said: bytes) -> None:
    inflating = Inflating(new_deflate(), MOST)
    assert fed(iter([frame, b"more"]), inflating) == said
    assert inflating.held == 0


def test_a_message_for_many_is_compressed_once() -> None:
    shared, payload = SharedDeflate(), b"news " * 1000
    frame = b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload
    made = [next(Deflating(shared, 12).receive(frame)) for _ in range(3)]
    assert made[0][0] == 0xC1
    assert made[0] is made[1] is made[2]


def test_what_is_remembered_of_messages_is_bounded() -> None:
    shared = SharedDeflate()
    for number in range(100):
        shared.frame(1, bytes([number]) * 200_000, 12)
    assert shared._size <= 4 * 1024 * 1024


@pytest.mark.parametrize("step", [1, 3, 100_000])
def test_what_does_not_get_smaller_is_sent_as_it_is(step: int) -> None:
    deflating, payload = Deflating(SharedDeflate(), 12), os.urandom(5000)
    frame = b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload
    stream = frame * 10 + b"\x88\x00"
    cut = (stream[start : start + step] for start in range(0, len(stream), step))
    assert b"".join(each for part in cut for each in deflating.receive(part)) == stream


@pytest.mark.parametrize(
    ("head", "offers"),
    [
        (upgrade_request("/", 80, OFFER), True),
        (upgrade_request("/", 80, OFFER) + b"\xc1", True),
        (upgrade_request("/", 80), False),
        (upgrade_request("/", 80, OFFER).replace(b"GET", b"PUT"), False),
        (upgrade_request("/", 80, OFFER)[:-1], False),
        (b"GET / HTTP/1.1\r\n\r\n" + upgrade_request("/", 80, OFFER), False),
    ],
)
def test_an_upgrade_is_recognised_by_its_head(head: bytes, offers: bool) -> None:
    assert offers_compression(head) is offers


def test_a_head_may_become_one_while_it_is_not_whole() -> None:
    head = upgrade_request("/", 80, OFFER)
    assert all(may_begin_upgrade(head[:size]) for size in range(len(head)))
    assert not may_begin_upgrade(head)
    assert not any(may_begin_upgrade(each) for each in (b"POST", b"\x16\x03\x01", b"GET " + b"x" * 70_000))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        b"HTTP/1.1 101 x\r\nSec-WebSocket-Extensions: other\r\n\r\n",
    ],
)
def test_nothing_is_compressed_that_was_not_agreed(answer: bytes) -> None:
    assert agreed(answer) is None


def test_what_the_server_negotiates_is_understood() -> None:
    _, extension = DEFLATE.process_request_params([("client_max_window_bits", None)], [])
    deflate, bits = agreed(ANSWER) or (None, 0)
    assert isinstance(deflate, Deflate)
    assert bits == extension.local_max_window_bits
    assert deflate.remote_max_window_bits == extension.remote_max_window_bits
