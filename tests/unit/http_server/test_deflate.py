from __future__ import annotations

import zlib

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from guesthouse.http_server.channel.deflate import MAX_FINAL_BLOCKS, Deflate, Inflater
from guesthouse.http_server.websocket.frame_reader import MessageReader

from .conftest import masked

TAIL = b"\x00\x00\xff\xff"


def final(payload: bytes) -> bytes:
    """A payload as a DEFLATE stream of its own, which ends with a final block."""
    encoder = zlib.compressobj(wbits=-12)
    return encoder.compress(payload) + encoder.flush()


def flushed(payload: bytes) -> bytes:
    """A payload as a client compresses it."""
    encoder = zlib.compressobj(wbits=-12)
    return encoder.compress(payload) + encoder.flush(zlib.Z_SYNC_FLUSH)


def test_what_follows_a_final_block_counts_in_the_same_call_and_in_later_ones() -> None:
    inflater = Inflater(12)
    assert inflater.decompress(final(b"one ") + final(b"two ") + flushed(b"three ")) == b"one two three "
    assert inflater.decompress(final(b"four ")) == b"four "
    assert inflater.decompress(b"\0" + TAIL) == b""
    assert inflater.decompress(flushed(b"five")) == b"five"
    assert inflater.unconsumed_tail == b""


def test_a_block_may_refer_to_what_was_before_a_final_one() -> None:
    encoder = zlib.compressobj(wbits=-12)
    encoder.compress(b"Hello")
    encoder.flush(zlib.Z_SYNC_FLUSH)
    reference = encoder.compress(b"Hello") + encoder.flush(zlib.Z_SYNC_FLUSH)
    inflater = Inflater(12)
    assert inflater.decompress(final(b"Hello") + reference) == b"HelloHello"


@pytest.mark.parametrize("over", [0, 1, 1000])
def test_the_limit_holds_over_final_blocks_to_the_byte(over: int) -> None:
    inflater = Inflater(12)
    data = final(bytes(600)) + final(bytes(400 + over)) + b"\0" + TAIL
    assert inflater.decompress(data, 1000) == bytes(1000)
    assert bool(inflater.unconsumed_tail) == bool(over)


@pytest.mark.slow
def test_a_bomb_behind_a_final_block_is_not_inflated() -> None:
    inflater = Inflater(12)
    assert len(inflater.decompress(final(bytes(1000)) + final(bytes(100_000_000)), 1000)) == 1000
    assert inflater.unconsumed_tail


def test_thousands_of_final_blocks_are_refused() -> None:
    empty = final(b"")
    assert Inflater(12).decompress(empty * MAX_FINAL_BLOCKS + flushed(b"good")) == b"good"
    with pytest.raises(zlib.error, match="too many final blocks"):
        Inflater(12).decompress(empty * (MAX_FINAL_BLOCKS + 1))


def test_data_that_is_corrupt_behind_a_final_block_is_an_error() -> None:
    with pytest.raises(zlib.error):
        Inflater(12).decompress(final(b"good") + b"\x07\xff\xff")


def agreed(*, client_takeover: bool = True) -> Deflate:
    return Deflate(PerMessageDeflate(not client_takeover, True, 12, 12, {}), {})


@pytest.mark.parametrize("over", [0, 1, 1000])
def test_a_message_may_be_as_long_as_the_limit_and_no_longer(over: int) -> None:
    payload = flushed(bytes(100_000 + over)).removesuffix(TAIL)
    assert agreed().decompressed(payload, 100_000) == (None if over else bytes(100_000))


def test_a_message_may_refer_to_the_one_before_only_where_that_was_agreed() -> None:
    encoder = zlib.compressobj(wbits=-12)
    first, second = (
        (encoder.compress(b"Hello") + encoder.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL) for _ in range(2)
    )
    keeps, forgets = agreed(), agreed(client_takeover=False)
    assert [keeps.decompressed(each, 5) for each in (first, second)] == [b"Hello", b"Hello"]
    assert forgets.decompressed(first, 5) == b"Hello"
    with pytest.raises(zlib.error):
        forgets.decompressed(second, 5)


def reader(protocol: ServerProtocol, *, directly: bool) -> tuple[MessageReader, list[tuple[int, bytes]]]:
    got: list[tuple[int, bytes]] = []
    made = MessageReader(protocol, lambda kind, data: got.append((kind, data)), max_size=1000, fragments=9)
    deflate = agreed()
    protocol.extensions = [deflate]
    made.decompress_by(deflate if directly else None)
    return made, got


TEXT, BINARY = 0xC1, 0xC2


@pytest.mark.parametrize(
    "frames",
    [
        [(TEXT, flushed(b"text")), (BINARY, flushed(b"\xff")), (TEXT, flushed("ä".encode()))],
        [(TEXT, flushed(b"one")), (0x81, b"two"), (0x89, b"ping"), (TEXT, flushed(b"three"))],
        [
            (0x41, flushed(b"fragment") + TAIL),
            (0x89, b"ping"),
            (0x80, flushed(b"ed")),
            (TEXT, flushed(b"whole")),
        ],
        [(BINARY, flushed(bytes(1000))), (BINARY, flushed(bytes(1001))), (TEXT, flushed(b"late"))],
        [(TEXT, flushed(b"\xff")), (TEXT, flushed(b"late"))],
        [(TEXT, b"\xff" * 40), (TEXT, flushed(b"late"))],
        [(0x41, flushed(b"begun") + TAIL), (TEXT, flushed(b"another"))],
        [(BINARY, final(b"one ") + final(b"two"))],
        [(0xC9, b"ping")],
        [(0xE1, flushed(b"reserved"))],
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_decompressed_directly_ends_as_what_the_protocol_decompresses(
    frames: list[tuple[int, bytes]], at_once: bool
) -> None:
    sent = [
        masked(first, payload.removesuffix(TAIL) if first & 0x80 else payload) for first, payload in frames
    ]
    ends = []
    for directly in (True, False):
        protocol = ServerProtocol(state=OPEN)
        inbound, got = reader(protocol, directly=directly)
        for data in [b"".join(sent)] if at_once else sent:
            if inbound.close is None and not protocol.eof_sent and not inbound.receive_plain(data):
                inbound.receive(data)
                while inbound.sliced:
                    inbound.paused = inbound.sliced = False
                    inbound.receive(b"")
        failed = protocol.close_sent
        close = inbound.close or failed
        ends.append((got, close and close.code))
    assert ends[0] == ends[1]
