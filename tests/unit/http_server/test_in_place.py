"""Large frames of which the rest is received where it is assembled."""

from __future__ import annotations

import asyncio
import os
import random
import struct

import pytest
from msgspec.structs import replace as replaced
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from guesthouse.core.config import ConnectionLimits
from guesthouse.http_server.websocket.closed_transport import ClosedTransport
from guesthouse.http_server.websocket.connection import WebSocketConnection
from guesthouse.http_server.websocket.frame_reader import IN_PLACE, MessageReader, apply_mask
from guesthouse.http_server.websocket.in_place import InPlace
from guesthouse.link.calls import BindWsPath

from .conftest import CHAT, House, Start, masked, until, upgrade_request

MIB = 1024 * 1024


def sealed(first: int, payload: bytes) -> bytes:
    """A client's frame, masked with something."""
    mask, plain = os.urandom(4), masked(first, payload)
    head = plain[: len(plain) - len(payload) - 4]
    return head + mask + apply_mask(payload, mask)


def reader_of(most: int = 4 * MIB) -> tuple[MessageReader, list[tuple[int, bytes]]]:
    got: list[tuple[int, bytes]] = []
    protocol = ServerProtocol(state=OPEN)
    made = MessageReader(
        protocol, lambda kind, data: got.append((kind, bytes(data))), max_size=most, fragments=99
    )
    return made, got


def give(reader: MessageReader, stream: bytes, chance: random.Random, *, faithful: bool = True) -> int:
    """Give a reader a stream in parts, as a connection does; returns how many were received in place. An event loop may
    still have bytes of the stream at hand when the connection begins to receive in place: it is not `faithful`.
    """
    in_place, offset = 0, 0
    while offset < len(stream):
        if reader.expects_in_place() and (faithful or chance.random() < 0.5):
            room = reader.room()
            part = stream[offset : offset + min(len(room), chance.choice((1, 40_000, MIB)))]
            room[: len(part)] = part
            reader.received(len(part))  # while the view is still there, as an event loop has it
            room.release()
            in_place += 1
        else:
            part = stream[offset : offset + chance.choice((1, 14, 30_000, 256_000))]
            if not reader.receive_plain(part):
                reader.receive(part)
        offset += len(part)
    return in_place


@pytest.mark.slow
@pytest.mark.parametrize("faithful", [True, False])
def test_messages_arrive_whole_however_they_are_received(faithful: bool) -> None:
    chance = random.Random(11)
    counted = 0
    for _ in range(15):
        sent = [
            (chance.choice((0, 1)), chance.choice((0, 5, 70_000, 200_000, MIB, 3 * MIB)))
            for _ in range(chance.randint(1, 5))
        ]
        payloads = [b"\xc3\xa9" * (size // 2) if kind == 0 else chance.randbytes(size) for kind, size in sent]
        stream = b"".join(
            sealed(0x81 + kind, payload) for (kind, _), payload in zip(sent, payloads, strict=True)
        )
        reader, got = reader_of()
        counted += give(reader, stream, chance, faithful=faithful)
        assert got == [(kind, payload) for (kind, _), payload in zip(sent, payloads, strict=True)]
        assert reader.close is None
        assert reader.unfinished == 0
    assert counted, "some were received in place"


def test_text_that_is_no_utf8_is_refused_there_too() -> None:
    reader, got = reader_of()
    assert give(reader, masked(0x81, b"x" * MIB + b"\xff"), random.Random(1))
    assert reader.close is not None
    assert reader.close.code == 1007
    assert got == []


def test_a_header_alone_takes_no_memory() -> None:
    reader, _ = reader_of()
    header = struct.pack(">BBQ4x", 0x82, 0xFF, 4 * MIB)
    reader.receive(header + bytes(4 * MIB // 8 - 100))
    assert not reader.expects_in_place()
    assert reader.unfinished < MIB
    reader.receive(bytes(100))
    assert reader.expects_in_place()
    assert reader.unfinished >= 4 * MIB, "what is taken counts"


def test_what_is_nearly_there_is_received_as_ever() -> None:
    reader, _ = reader_of()
    frame = masked(0x82, bytes(MIB))
    reader.receive(frame[: 1 - IN_PLACE])
    assert not reader.expects_in_place()


def test_a_frame_that_is_complete_during_a_pause_waits_for_its_end() -> None:
    reader, got = reader_of()
    frame = masked(0x82, bytes(MIB))
    reader.receive(frame[:300_000])
    assert reader.expects_in_place()
    reader.paused = True
    room = reader.room()
    room[:] = frame[300_000:]
    reader.received(len(room))
    room.release()
    assert got == []
    reader.receive(masked(0x81, b"behind it"))
    reader.paused = False
    reader.receive(b"")
    assert got == [(1, bytes(MIB)), (0, b"behind it")]


def test_a_pause_in_the_middle_changes_nothing() -> None:
    reader, got = reader_of()
    frame = masked(0x82, bytes(MIB))
    reader.receive(frame[:300_000])
    assert reader.expects_in_place()
    reader.paused = True
    reader.receive(b"")
    reader.paused = False
    reader.receive(b"")
    assert reader.expects_in_place()
    room = reader.room()
    room[:] = frame[300_000:]
    reader.received(len(room))
    assert got == [(1, bytes(MIB))]


@pytest.fixture
async def bound(start: Start) -> tuple[House, asyncio.StreamReader, asyncio.StreamWriter]:
    """A server, and a client with an open channel."""
    house = await start(replaced(ConnectionLimits(), message_bytes=4 * MIB))
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    reader, writer = await asyncio.open_connection("127.0.0.1", house.server.port)
    writer.write(upgrade_request(f"/{CHAT}/", house.server.port))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return house, reader, writer


async def test_the_socket_is_the_connections_again_once_the_frame_is_there(
    bound: tuple[House, asyncio.StreamReader, asyncio.StreamWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, _, writer = bound
    received: list[int] = []
    updated = InPlace.buffer_updated

    def counted(protocol: InPlace, size: int) -> None:
        received.append(size)
        updated(protocol, size)

    monkeypatch.setattr(InPlace, "buffer_updated", counted)
    payloads = [os.urandom(size) for size in (2 * MIB, 10, 3 * MIB, 100_000, 4 * MIB, 4 * MIB)]
    for payload in payloads:
        writer.write(sealed(0x82, payload))
    opened = await house.chat.opened()
    for payload in payloads:
        assert await house.chat.next() == ("push", opened.channel_id, 1, payload)
    assert received
    writer.close()


async def test_a_client_that_leaves_in_the_middle_of_a_frame_leaves_nothing_behind(
    bound: tuple[House, asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    house, _, writer = bound
    unfinished = house.server._context.unfinished
    writer.write(masked(0x82, bytes(4 * MIB))[: 2 * MIB])
    await until(lambda: unfinished.total >= 4 * MIB)
    writer.transport.abort()
    await until(lambda: unfinished.total == 0 and not house.server._context.connections)


async def test_a_client_that_leaves_while_its_messages_wait_loses_only_the_one_that_is_not_whole(
    bound: tuple[House, asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    house, _, writer = bound
    opened = await house.chat.opened()
    house.chat.pause_at = 1
    (connection,) = house.server._context.connections
    assert isinstance(connection, WebSocketConnection)
    # By one read, however the kernel cuts what a client sends.
    connection.data_received(
        sealed(0x81, b"first") + sealed(0x81, b"second") + sealed(0x82, bytes(MIB))[: MIB // 2]
    )
    assert await house.chat.next() == ("push", opened.channel_id, 0, b"first")
    connection.abort()
    await until(lambda: isinstance(connection._transport, ClosedTransport))
    house.chat.pause_at = None
    house.chat.feeders[opened.channel_id].resume_reading()
    assert await house.chat.next() == ("push", opened.channel_id, 0, b"second")
    assert await house.chat.next() == ("close", opened.channel_id)
    await until(lambda: not house.server._context.connections and house.server._context.unfinished.total == 0)
    assert house.log.errors == []
    writer.close()


async def test_a_connection_that_is_given_up_in_the_middle_of_a_frame_reads_on_until_the_client_leaves(
    bound: tuple[House, asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Closing at once would reset the connection, and the close frame would be lost."""
    house, reader, writer = bound
    frame = masked(0x82, bytes(4 * MIB))
    writer.write(frame[: 2 * MIB])
    unfinished = house.server._context.unfinished
    await until(lambda: unfinished.total >= 4 * MIB)
    (connection,) = house.server._context.connections
    assert isinstance(connection, WebSocketConnection)
    connection.make_room()
    assert unfinished.total == 0
    writer.write(frame[2 * MIB :])
    closing = await reader.readexactly(4)
    assert closing[2:] == (1013).to_bytes(2, "big")
    writer.close()
    await until(lambda: not house.server._context.connections)
