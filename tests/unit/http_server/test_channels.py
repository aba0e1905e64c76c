"""Messages both ways on an open channel, and how channels end."""

from __future__ import annotations

import asyncio
import random
import socket
import zlib

import pytest
from tests.patience import PATIENCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from guesthouse.core.config import ConnectionLimits
from guesthouse.core.messages import WsMessageType
from guesthouse.link.calls import BindWsPath, UnbindWsPath

from .conftest import CHAT, OTHER, House, Start, masked, read_close, upgrade_request

TEXT, BINARY, PING, PONG, CLOSE = WsMessageType


@pytest.fixture
def limits() -> ConnectionLimits:
    return ConnectionLimits(message_bytes=4096, fragments=4, outbox_bytes=256 * 1024)


async def read_all(client: ClientConnection) -> None:
    while True:
        await client.recv()


async def closed_with(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(read_all(client), PATIENCE)
    assert closed.value.rcvd is not None, "no close frame came"
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def write_for_ever(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        writer.write(data)
        await writer.drain()


# From the client.


async def test_text_and_binary_messages_arrive_in_order_with_their_type(house: House) -> None:
    async with house.bound() as (client, event):
        sent: list[str | bytes] = ["", "grüße", b"", b"\x00\xff", "x" * 4096, b"y" * 4095]
        for message in sent:
            await client.send(message)
        for message in sent:
            kind = BINARY if isinstance(message, bytes) else TEXT
            payload = message if isinstance(message, bytes) else message.encode()[:4096]
            if len(payload) <= 4096:
                assert await house.chat.next() == ("push", event.channel_id, kind, payload)


async def test_a_message_sent_byte_by_byte_is_put_together(house: House) -> None:
    async with house.raw_channel() as (_, writer, channel):
        for byte in masked(0x81, b"slow") + masked(0x82, b"z" * 300):
            writer.write(bytes((byte,)))
            await writer.drain()
        assert await house.chat.next() == ("push", channel, TEXT, b"slow")
        assert await house.chat.next() == ("push", channel, BINARY, b"z" * 300)


async def test_fragments_are_one_message_and_may_have_pings_between_them(house: House) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(masked(0x01, "é".encode()[:1]) + masked(0x89, b"p") + masked(0x80, "é".encode()[1:]))
        assert await house.chat.next() == ("push", channel, PING, b"p")
        assert await house.chat.next() == ("push", channel, TEXT, "é".encode())
        assert await reader.readexactly(3) == b"\x8a\x01p"
        writer.write(masked(0x02, b"a") + masked(0x00, b"b") + masked(0x80, b"c") + masked(0x81, b"next"))
        assert await house.chat.next() == ("push", channel, BINARY, b"abc")
        assert await house.chat.next() == ("push", channel, TEXT, b"next")


@pytest.mark.parametrize("fragments", [3, 4, 5])
async def test_the_fragments_of_a_message_are_limited(house: House, fragments: int) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(masked(0x02, b"x") + masked(0x00, b"x") * (fragments - 2) + masked(0x80, b"x"))
        if fragments <= 4:
            assert await house.chat.next() == ("push", channel, BINARY, b"x" * fragments)
        else:
            assert await read_close(reader) == (1009, "message has too many fragments")
            assert await house.chat.next() == ("close", channel)


@pytest.mark.parametrize("size", [4095, 4096, 4097])
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_the_size_of_a_message_is_limited(house: House, size: int, compression: str | None) -> None:
    async with house.bound(compression=compression) as (client, event):
        await client.send(b"x" * size)
        if size <= 4096:
            assert await house.chat.next() == ("push", event.channel_id, BINARY, b"x" * size)
        else:
            assert await closed_with(client) == (1009, "message too big")
            assert await house.chat.next() == ("close", event.channel_id)
            assert house.server.open_channels() == []
            assert house.log.mentions("127.0.0.1: a WebSocket was closed with 1009: message too big (to ")
            setting = "connections.message_bytes is 4096)"
            if compression is None:  # else no more is decompressed than is needed to see it
                setting = f"{CHAT}; {size} bytes; {setting}"
            assert house.log.mentions(setting)


async def deflating(house: House, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Upgrade a bare connection with compression; returns the channel."""
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    writer.write(upgrade_request(f"/{CHAT}/", house.server.port, offer))
    assert b"permessage-deflate" in await reader.readuntil(b"\r\n\r\n")
    return (await house.chat.opened()).channel_id


def nine_bits_each(size: int) -> bytes:
    """A payload as the worst client compresses it: one block of fixed codes, all of the longest kind
    (RFC 1951, section 3.2.6), and the empty block that a sender ends with.
    """
    codes = "".join(f"{0b110010000 + byte - 144:09b}" for byte in incompressible(size))
    bits = "010" + codes + "0000000" + "000"
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))


def incompressible(size: int) -> bytes:
    return bytes(144 + byte % 112 for byte in random.Random(7).randbytes(size))


@pytest.mark.slow
@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("pieces", [1, 2, 4])
async def test_what_compression_makes_longer_is_judged_by_what_it_stands_for(
    house: House, over: int, pieces: int
) -> None:
    async with house.bound(), house.raw() as (reader, writer):
        channel = await deflating(house, reader, writer)
        squeezed = nine_bits_each(4096 + over)
        size = len(squeezed) // pieces + 1
        for number in range(pieces):
            first = (0x42 if number == 0 else 0x00) | (0x80 if number == pieces - 1 else 0)
            writer.write(masked(first, squeezed[number * size : (number + 1) * size]))
        if over > 0:
            assert await read_close(reader) == (1009, "message too big")
            assert await house.chat.next() == ("close", channel)
        else:
            assert await house.chat.next() == ("push", channel, BINARY, incompressible(4096 + over))


@pytest.mark.parametrize("first", [0xC2, 0x82])
async def test_a_frame_that_cannot_shrink_to_the_limit_is_refused_from_its_header(
    house: House, first: int
) -> None:
    async with house.bound(), house.raw() as (reader, writer):
        await deflating(house, reader, writer)
        longest = 4096 + 512 + 64 if first & 0x40 else 4096
        writer.write(masked(first, b"", announce=longest + 1))
        assert await read_close(reader) == (1009, "message too big")


@pytest.mark.parametrize(
    "header",
    [
        b"\x82\xfe\x00\x00",
        b"\x82\xfe\x00\x7d",
        b"\x82\xff" + (5).to_bytes(8, "big"),
        b"\x82\xff" + (65535).to_bytes(8, "big"),
        b"\x02\xfe\x00\x01",
    ],
)
async def test_a_length_in_a_longer_form_than_it_needs_is_closed_with_1002(
    house: House, header: bytes
) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(header)
        assert await read_close(reader) == (1002, "protocol error: a length is not in its shortest form")
        assert await house.chat.next() == ("close", channel)


async def test_the_size_limit_is_for_all_fragments_together_and_read_from_the_header(house: House) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(masked(0x02, b"x" * 4000) + masked(0x80, b"", announce=97))
        assert await read_close(reader) == (1009, "message too big")
        assert await house.chat.next() == ("close", channel)


async def test_a_decompression_bomb_is_stopped_at_the_limit(house: House) -> None:
    async with house.bound(), house.raw() as (reader, writer):
        channel = await deflating(house, reader, writer)
        squeeze = zlib.compressobj(wbits=-12)
        bomb = squeeze.compress(bytes(3_000_000)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
        assert len(bomb) < 4096
        writer.write(masked(0xC2, bomb[:-4]))
        assert await read_close(reader) == (1009, "message too big")
        assert await house.chat.next() == ("close", channel)


@pytest.mark.parametrize(
    "frames",
    [
        masked(0x81, b"\xff"),
        masked(0x81, "é".encode()[:1]),
        masked(0x01, b"\xff"),
        masked(0x01, "é".encode()[:1]) + masked(0x80, b"x"),
        masked(0x01, b"ok") + masked(0x80, "é".encode()[:1]),
        masked(0x81, b"\xed\xa0\x80"),
    ],
)
async def test_text_that_is_not_utf8_is_closed_with_1007_and_not_delivered(
    house: House, frames: bytes
) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(frames + masked(0x81, b"after"))
        assert await read_close(reader) == (1007, "a text message is not UTF-8")
        assert await house.chat.next() == ("close", channel)
        assert house.chat.quiet


async def test_a_close_frame_whose_reason_is_not_utf8_is_told_so(house: House) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(masked(0x88, b"\x03\xe8\xff"))
        assert await read_close(reader) == (1007, "the reason of a close frame is not UTF-8")
        assert await house.chat.next() == ("close", channel)


@pytest.mark.parametrize(
    "frames",
    [
        masked(0x83, b"x"),  # an opcode that does not exist
        masked(0xC1, b"x"),  # a reserved bit without an extension
        masked(0x80, b"x"),  # a continuation of nothing
        masked(0x09, b"x"),  # a fragmented ping
        masked(0x89, b"x" * 126),  # a long ping
        masked(0x89, b"", announce=126),  # the header of one
        masked(0x88, b"x"),  # a close code of one byte
        masked(0x88, b"\x03\xed"),  # 1005 on the wire
        masked(0x01, b"x") + masked(0x81, b"x"),  # a message inside a message
        b"\x81\x01x",  # not masked
    ],
)
async def test_a_broken_frame_is_closed_with_1002_and_nothing_after_it_is_read(
    house: House, frames: bytes
) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(frames + masked(0x81, b"after"))
        code, reason = await read_close(reader)
        assert code == 1002
        assert reason == "control frame too long" or reason.startswith("protocol error: ")
        assert await house.chat.next() == ("close", channel)
        assert house.chat.quiet


async def test_pings_are_answered_and_delivered_and_pongs_are_delivered(house: House) -> None:
    async with house.bound() as (client, event):
        await (await client.ping(b"are you there"))
        assert await house.chat.next() == ("push", event.channel_id, PING, b"are you there")
        await client.pong(b"unasked")
        assert await house.chat.next() == ("push", event.channel_id, PONG, b"unasked")


# To the client.


async def test_every_type_of_push_reaches_the_client(house: House) -> None:
    async with house.raw_channel() as (reader, _writer, channel):
        house.server.push(CHAT, channel, TEXT, "grüße".encode())
        house.server.push(CHAT, channel, BINARY, b"\x00\xff")
        house.server.push(CHAT, channel, PING, b"ping")
        house.server.push(CHAT, channel, PONG, b"pong")
        house.server.push(CHAT, channel, CLOSE, b"\x0f\xa0bye")
        assert await reader.readexactly(9) == b"\x81\x07" + "grüße".encode()
        assert await reader.readexactly(4) == b"\x82\x02\x00\xff"
        assert await reader.readexactly(6) == b"\x89\x04ping"
        assert await reader.readexactly(6) == b"\x8a\x04pong"
        assert await read_close(reader) == (4000, "bye")
        assert await house.chat.next() == ("gone", channel)


@pytest.mark.slow
@pytest.mark.parametrize("size", [125, 126, 1023, 1024, 4096])
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_pushes_of_every_size_arrive_whole(house: House, size: int, compression: str | None) -> None:
    async with house.bound(compression=compression) as (client, event):
        house.server.push(CHAT, event.channel_id, TEXT, b"a" * size)
        house.server.push(CHAT, event.channel_id, BINARY, bytes(range(256)) * (size // 256))
        assert await client.recv() == "a" * size
        assert await client.recv() == bytes(range(256)) * (size // 256)


async def test_a_push_to_many_reaches_each_of_ones_own_channels_and_no_other(house: House) -> None:
    async with house.bound() as (one, first), house.bound(compression="deflate") as (two, second):
        house.server.bind_ws_path(OTHER, BindWsPath("/", authenticated=False))
        async with connect(f"{house.ws_url}/{OTHER}/") as stranger:
            theirs = (await house.other.opened()).channel_id
            house.server.push_many(CHAT, [first.channel_id, theirs, second.channel_id], TEXT, b"all" * 1000)
            assert await one.recv() == await two.recv() == "all" * 1000
            house.server.push(OTHER, theirs, TEXT, b"mine")
            assert await stranger.recv() == "mine"
    assert house.log.mentions("WsChannelNotFound")


@pytest.mark.parametrize(
    ("message_type", "payload", "problem"),
    [
        (TEXT, b"\xff", "WsTextNotUtf8"),
        (BINARY, b"x" * 4097, "WsMessageTooBig"),
        (TEXT, b"x" * 4097, "WsMessageTooBig"),
        (PING, b"x" * 126, "WsPingPongTooLong"),
        (PONG, b"x" * 126, "WsPingPongTooLong"),
        (CLOSE, b"x" * 126, "WsPingPongTooLong"),
        (CLOSE, b"\x03\xed", "WsBadClose"),
        (CLOSE, b"\x03", "WsBadClose"),
        (CLOSE, b"\x03\xe8\xff", "WsBadClose"),
        (5, b"", "MalformedRequest"),
        (-1, b"", "MalformedRequest"),
    ],
)
async def test_a_push_that_the_worker_should_have_refused_is_dropped_and_logged(
    house: House, message_type: int, payload: bytes, problem: str
) -> None:
    async with house.bound() as (client, event):
        house.server.push(CHAT, event.channel_id, message_type, payload)
        house.server.push(CHAT, event.channel_id, TEXT, b"still here")
        assert await client.recv() == "still here"
    assert house.log.mentions(f"{CHAT}: a push was dropped: {problem}")


async def test_a_push_or_a_close_to_a_channel_of_another_process_reaches_nobody(house: House) -> None:
    async with house.bound() as (client, event):
        house.server.push(OTHER, event.channel_id, TEXT, b"evil")
        house.server.close_channel(OTHER, event.channel_id, 1000, "evil")
        house.server.push(CHAT, event.channel_id, TEXT, b"good")
        assert await client.recv() == "good"


# Closing.


async def test_a_client_that_closes_is_answered_and_its_process_told_once(house: House) -> None:
    async with house.bound() as (client, event):
        await client.close(4321, "done")
        assert client.close_code == 4321
        assert await house.chat.next() == ("close", event.channel_id)
        house.server.push(CHAT, event.channel_id, TEXT, b"too late")
        assert house.server.open_channels() == []
    assert house.chat.quiet
    assert house.log.lines == []


async def test_a_client_that_vanishes_is_told_to_its_process_once(house: House) -> None:
    async with house.bound() as (client, event):
        client.transport.abort()
        assert await house.chat.next() == ("close", event.channel_id)
    assert house.chat.quiet


async def test_a_client_that_ends_its_side_without_a_close_frame_is_gone(house: House) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(masked(0x81, b"last words"))
        writer.write_eof()
        assert await house.chat.next() == ("push", channel, TEXT, b"last words")
        assert await house.chat.next() == ("close", channel)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""


async def test_a_process_that_closes_a_channel_gets_no_close_event_for_it(house: House) -> None:
    async with house.bound() as (client, event):
        house.server.close_channel(CHAT, event.channel_id, 4444, "enough")
        assert house.server.open_channels() == []
        assert await closed_with(client) == (4444, "enough")
        assert await house.chat.next() == ("gone", event.channel_id)
    assert house.chat.quiet


async def test_a_channel_closed_with_an_empty_payload_has_no_status(house: House) -> None:
    async with house.bound() as (client, event):
        house.server.push(CHAT, event.channel_id, CLOSE, b"")
        assert (await closed_with(client))[0] == 1005


async def test_what_a_client_sends_after_the_process_closed_is_not_delivered(house: House) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        house.server.close_channel(CHAT, channel, 1000, "")
        writer.write(masked(0x81, b"late") + masked(0x89, b"late") + masked(0x88, b"\x03\xe8"))
        assert await house.chat.next() == ("gone", channel)
        assert await read_close(reader) == (1000, "")
        await asyncio.wait_for(reader.read(), PATIENCE)
    assert house.chat.quiet


async def test_both_sides_closing_at_once_ends_the_channel_once(house: House) -> None:
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(masked(0x88, b"\x03\xe8"))
        house.server.close_channel(CHAT, channel, 1001, "")
        house.server.close_channel(CHAT, channel, 1001, "")
        await asyncio.wait_for(reader.read(), PATIENCE)
        assert await house.chat.next() == ("gone", channel)
    assert house.chat.quiet


async def test_a_process_that_ends_for_good_closes_its_channels_with_1011_and_hears_nothing(
    house: House,
) -> None:
    async with house.bound() as (client, _):
        house.server.process_gone(CHAT, "trap")
        assert await closed_with(client) == (1011, "the process ended: trap")
        assert house.server.open_channels() == []
    assert house.chat.quiet


async def test_a_close_reason_is_cut_to_what_a_close_frame_carries(house: House) -> None:
    async with house.bound() as (client, _):
        house.server.process_gone(CHAT, "é" * 200)
        code, reason = await closed_with(client)
        assert code == 1011
        assert len(reason.encode()) in (122, 123)


async def test_unbinding_a_path_closes_its_channels_and_no_others_with_1001(house: House) -> None:
    async with house.bound("/a") as (one, first), house.bound("/b") as (two, second):
        house.server.unbind_ws_path(CHAT, UnbindWsPath("/a"))
        assert await closed_with(one) == (1001, "the path is no longer bound")
        assert await house.chat.next() == ("close", first.channel_id)
        house.server.push(CHAT, second.channel_id, TEXT, b"here")
        assert await two.recv() == "here"


async def test_a_process_that_runs_again_gets_its_open_channels_anew(house: House) -> None:
    async with house.bound("/room") as (client, event):
        house.server.push(CHAT, event.channel_id, BINARY, b"x" * 4096)
        await client.recv()
        house.server.reopen(CHAT)
        kind, again, credit = await house.chat.next()
        assert kind == "open"
        assert (again.channel_id, again.path, again.resumed) == (event.channel_id, "/room", True)
        assert credit == 256 * 1024
        house.server.push(CHAT, event.channel_id, TEXT, b"back")
        assert await client.recv() == "back"


@pytest.mark.slow
async def test_an_idle_client_is_pinged_and_one_that_does_not_answer_is_closed(start: Start) -> None:
    house: House = await start(ConnectionLimits(ping_seconds=0.05, pong_seconds=2, close_seconds=0.1))
    async with house.raw_channel() as (reader, writer, channel):
        ping = await asyncio.wait_for(reader.readexactly(10), PATIENCE)
        assert ping[:2] == b"\x89\x08"
        writer.write(masked(0x8A, ping[2:]))
        assert (await asyncio.wait_for(reader.readexactly(10), PATIENCE))[:2] == b"\x89\x08"
        assert await read_close(reader) == (1011, "no pong within the deadline")
        assert await house.chat.next() == ("close", channel)
    assert house.chat.quiet, "the answer to the node's own ping is not delivered"


async def test_a_client_that_does_not_answer_a_close_frame_is_cut_off(start: Start) -> None:
    house: House = await start(ConnectionLimits(close_seconds=0.05))
    async with house.raw_channel() as (reader, _writer, channel):
        house.server.close_channel(CHAT, channel, 1000, "")
        assert (await read_close(reader))[0] == 1000
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""


async def test_a_client_that_still_sends_reads_why_it_was_closed(house: House) -> None:
    async with house.bound() as (client, _):
        await client.send(b"x" * 3_000_000)
        assert await closed_with(client) == (1009, "message too big")


# Flow.


async def test_a_paused_feeder_delivers_nothing_more_until_it_is_resumed(house: House) -> None:
    house.chat.pause_at = 2
    async with house.raw_channel() as (reader, writer, channel):
        writer.write(b"".join(masked(0x82, bytes((number,))) for number in range(6)))
        assert await house.chat.next() == ("push", channel, BINARY, b"\0")
        assert await house.chat.next() == ("push", channel, BINARY, b"\1")
        assert house.chat.quiet
        house.server.push(CHAT, channel, TEXT, b"open both ways")
        assert await reader.readexactly(16) == b"\x81\x0eopen both ways"
        assert house.chat.quiet
        house.chat.pause_at = None
        house.chat.feeders[channel].resume_reading()
        for number in range(2, 6):
            assert await house.chat.next() == ("push", channel, BINARY, bytes((number,)))
        writer.write(masked(0x81, b"and on"))
        assert await house.chat.next() == ("push", channel, TEXT, b"and on")


@pytest.mark.slow
async def test_a_paused_client_is_held_back_by_tcp(house: House) -> None:
    house.chat.pause_at = 1
    async with house.raw_channel() as (_reader, writer, channel):
        message = masked(0x82, b"x" * 4096)
        writer.write(message)
        await house.chat.next()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(write_for_ever(writer, message), 0.5)
        assert house.chat.quiet
        house.chat.feeders[channel].resume_reading()
        assert (await house.chat.next())[:3] == ("push", channel, BINARY)


async def test_messages_held_back_by_a_pause_are_delivered_before_the_close_of_a_broken_socket(
    house: House,
) -> None:
    house.chat.pause_at = 1
    async with house.raw_channel() as (_reader, writer, channel):
        writer.write(masked(0x81, b"one") + masked(0x81, b"two") + masked(0x81, b"three"))
        assert (await house.chat.next())[3] == b"one"
        for connection in tuple(house.server._context.connections):
            if connection.channel_id == channel:
                connection.abort()
        for held_back in (b"two", b"three"):  # as the mailbox has room for them, and no sooner
            assert house.chat.quiet
            house.chat.feeders[channel].resume_reading()
            assert await house.chat.next() == ("push", channel, TEXT, held_back)
        house.chat.feeders[channel].resume_reading()
        assert await house.chat.next() == ("close", channel)


async def test_a_mailbox_that_takes_one_message_at_a_time_gets_them_all_in_order(house: House) -> None:
    house.chat.pause_at = 1
    async with house.raw_channel() as (_, writer, channel):
        writer.write(b"".join(masked(0x82, bytes((number,)) * 3000) for number in range(200)))
        for number in range(200):
            assert await house.chat.next() == ("push", channel, BINARY, bytes((number,)) * 3000)
            house.chat.feeders[channel].resume_reading()


@pytest.mark.slow
async def test_pongs_for_a_client_that_reads_nothing_do_not_pile_up(house: House) -> None:
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect(("127.0.0.1", house.server.port))
    reader, writer = await asyncio.open_connection(sock=lazy)
    try:
        await house.upgraded(f"/{CHAT}/", reader, writer)
        await house.chat.opened()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        pings = masked(0x89, b"x" * 125) * 1000
        for _ in range(50):
            writer.write(pings + masked(0x81, b""))
            while (await house.chat.next())[2] != TEXT:
                pass
        (info,) = house.server.open_channels()
        assert info.outbox_bytes < 256 * 1024 + 150_000
    finally:
        writer.close()


async def test_a_closed_channel_does_not_stay_paused(house: House) -> None:
    house.chat.pause_at = 1
    async with house.bound() as (client, event):
        await client.send("one")
        await house.chat.next()
        house.server.close_channel(CHAT, event.channel_id, 1000, "")
        assert (await closed_with(client))[0] == 1000
        assert await house.chat.next() == ("gone", event.channel_id)
        house.chat.feeders[event.channel_id].resume_reading()


async def test_credit_comes_back_in_batches_as_the_client_reads(house: House) -> None:
    window = 256 * 1024
    async with house.bound(max_queue=None) as (client, event):
        for _ in range(100):
            house.server.push(CHAT, event.channel_id, BINARY, b"x" * 1000)
            await client.recv()
        await house.chat.granted_in_all(window // 4)
        assert all(size >= window // 4 for _, size in house.chat.granted)
        assert len(house.chat.granted) == 1
        assert sum(size for _, size in house.chat.granted) <= 100 * 1064


@pytest.mark.slow
async def test_a_worker_that_pushes_more_than_its_credit_is_stopped_and_the_rest_is_dropped(
    house: House,
) -> None:
    window = 256 * 1024
    async with house.raw_channel() as (_reader, _writer, channel):
        before = {info.channel_id: info for info in house.server.open_channels()}[channel]
        for _ in range(100_000):
            house.server.push(CHAT, channel, BINARY, b"x" * 4000)
        after = {info.channel_id: info for info in house.server.open_channels()}[channel]
        assert after.outbox_bytes <= window
        assert after.messages_out - before.messages_out < 100_000
        assert house.log.mentions("WsChannelFull")
        assert len(house.log.lines) < 20


async def test_all_credit_comes_back_to_a_worker_that_used_all_of_it(house: House) -> None:
    window = 256 * 1024
    async with house.bound(max_queue=None) as (client, event):
        size = 4096
        pushes = window // (size + 64)
        for _ in range(pushes):
            house.server.push(CHAT, event.channel_id, BINARY, b"x" * size)
        for _ in range(pushes):
            await client.recv()
        await house.chat.granted_in_all(window // 2)
    assert house.log.lines == []


async def test_the_list_of_channels_says_what_a_person_wants_to_know(house: House) -> None:
    async with house.bound("/room") as (client, event):
        await client.send("in")
        await house.chat.next()
        house.server.push(CHAT, event.channel_id, TEXT, b"out")
        await client.recv()
        (info,) = house.server.open_channels(CHAT)
        assert (info.owner, info.path, info.messages_in, info.messages_out) == (CHAT, "/room", 1, 1)
        assert info.client == event.source_socket_addr
        assert house.server.open_channels(OTHER) == []
