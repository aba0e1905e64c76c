from __future__ import annotations

import zlib

import pytest

from guesthouse.http_server.websocket.deflate import MAX_FINAL_BLOCKS, Inflater

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
