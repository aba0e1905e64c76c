from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire import frame

from guesthouse.link import frames
from guesthouse.link.frames import (
    LARGE,
    MAX_FRAME,
    MOST_MESSAGES,
    ROOM,
    FrameReader,
    LinkError,
    encode,
    from_worker,
)
from guesthouse.link.schema import PIECE_BYTES
from guesthouse.link.to_node import Consumed, LogLine, Pong, Push, Started, ToNode

messages: Final = (
    st.builds(
        Push, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 4), st.binary(max_size=50)
    )
    | st.builds(Started, st.integers(0, 9))
    | st.builds(LogLine, st.just(1), st.just("print"), st.just("info"), st.text(st.characters(codec="utf-8")))
    | st.just(Pong())
)
batches: Final = st.lists(st.lists(messages, min_size=1, max_size=4), max_size=5)
packed: Final = msgspec.msgpack.encode


@pytest.mark.slow
@given(batches, st.data())
def test_any_split_of_the_stream_gives_the_same_messages(
    sent: list[list[ToNode]], data: st.DataObject
) -> None:
    stream = b"".join(encode(batch) for batch in sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    reader = from_worker()
    got: list[ToNode] = []
    for start, end in pairwise([0, *cuts, len(stream)]):
        got += reader.feed(stream[start:end])
    assert got == [message for batch in sent for message in batch]
    assert reader.pending == 0


@given(batches)
def test_a_stream_that_comes_byte_by_byte_gives_the_same_messages(sent: list[list[ToNode]]) -> None:
    reader = from_worker()
    stream = b"".join(encode(batch) for batch in sent)
    got = [message for byte in stream for message in reader.feed(bytes((byte,)))]
    assert got == [message for batch in sent for message in batch]


def refusal_of(data: bytes | bytearray) -> str:
    """Why the bytes are refused; empty when they are messages."""
    try:
        list(from_worker().feed(data))
    except LinkError as error:
        return str(error)
    return ""


@given(st.binary(max_size=60))
def test_any_bytes_are_messages_or_a_link_error(data: bytes) -> None:
    assert "\n" not in refusal_of(data)


@given(st.binary(max_size=60))
def test_any_body_is_messages_or_a_link_error(body: bytes) -> None:
    assert len(refusal_of(frame(body))) < 300


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91\x95\x04\x01\x02\x00\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000 + b"\x00",
        b"\xd4\x05\x00" * 10,
        b"\x91\x95\x0c\x01\xa4host\xa4info\xa2\xff\xfe",
        packed("text"),
        packed({"a": 1}),
        packed(5),
        packed(None),
        packed([]),
        packed(["text"]),
        packed([[]]),
        packed([["0", 1]]),
        packed([[True, 1]]),
        packed([[1.0, 1]]),
        packed([[None]]),
        packed([[1, 2], "text"]),
        packed([[1, 2], {}]),
        packed([[99, 1]]),
        packed([[1, 2]]) + b"\x00",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_list_of_messages_is_a_link_error(body: bytes) -> None:
    with pytest.raises(LinkError):
        list(from_worker().feed(frame(body)))


@pytest.mark.parametrize(
    "item",
    [b"\xc7\x08\xff" + bytes(8), b"\xd6\xff" + bytes(4), b"\xd4\x01\x00", b"\xdf\0\0\0\1\1\1"],
    ids=["time", "short time", "extension", "map"],
)
@pytest.mark.parametrize("before", [b"\x91", b"\x91\x92", b"\x91\x92\x01", b"\x91\x95\x04\x01\x02\x00"])
def test_extension_types_and_maps_are_refused_wherever_they_stand(before: bytes, item: bytes) -> None:
    assert "malformed" in refusal_of(frame(before + item + b"\x01"))


def test_a_frame_holds_so_many_messages_and_no_more() -> None:
    assert len(list(from_worker().feed(encode([Started(1)] * MOST_MESSAGES)))) == MOST_MESSAGES
    assert f"length <= {MOST_MESSAGES}" in refusal_of(encode([Started(1)] * (MOST_MESSAGES + 1)))


HUGE: Final[dict[str, tuple[bytes, bytes, int]]] = {
    "empty lists": (b"\xdd\x03\x93\x87\x00", b"\x90", 60_000_000),
    "answers": (b"\xdd\x00\x3d\x09\x00", b"\x91\x0e", 4_000_000),
    "nested lists": (b"", b"\x91", 60_000_000),
    "channels": (b"\x91\x95\x05\x01\xdd\x03\x93\x87\x00", b"\x01", 60_000_000),
    "headers": (b"\x91\x97\x07\x01\x01\xcc\xc8\xdd\x03\x93\x87\x00", b"\x92\xa0\xa0", 20_000_000),
}
"""What they begin with, and what follows how often."""


@pytest.mark.slow
@pytest.mark.parametrize(("head", "item", "count"), HUGE.values(), ids=HUGE)
def test_what_is_too_many_is_refused_before_it_is_made(head: bytes, item: bytes, count: int) -> None:
    """One object for each would be gigabytes; no more is taken than the stream itself, held twice."""
    stream = frame(head + item * count)
    tracemalloc.start()
    try:
        assert "malformed" in refusal_of(stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * len(stream)


def test_a_frame_of_the_largest_size_goes_through_and_a_larger_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "MAX_FRAME", 1000)
    fits = [Push(1, 2, 1, b"x" * (1000 - 9))]
    assert len(encode(fits)) == 1004
    assert list(from_worker().feed(encode(fits))) == fits
    with pytest.raises(LinkError, match="over the limit of 1000"):
        encode([Push(1, 2, 1, b"x" * (1000 - 8))])
    with pytest.raises(LinkError, match="over the limit of 1000"):
        encode([Push(1, 2, 1, b"x" * (1000 - 8))], LARGE + 1)


@pytest.mark.parametrize("size", [0, LARGE - 16, LARGE, LARGE + 1, 2 * PIECE_BYTES])
def test_a_frame_of_large_payloads_is_the_same_copied_once_less(size: int) -> None:
    messages = [Consumed(1, 2), Push(1, 2, 1, bytes(range(256)) * (size // 256) + bytes(size % 256))]
    made = encode(messages, LARGE + 1)
    assert made == encode(messages)
    assert type(made) is bytearray
    assert list(from_worker().feed(made)) == messages


def received(reader: FrameReader[ToNode], data: bytes | bytearray) -> Iterable[ToNode]:
    """Receive into the reader's own buffer."""
    room = reader.room()
    assert len(room) >= len(data)
    room[: len(data)] = data
    return reader.received(len(data))


def test_a_payload_that_was_read_is_not_changed_by_what_is_received_after_it() -> None:
    reader = from_worker()
    [push] = received(reader, encode([Push(1, 2, 1, b"x" * (LARGE + 1))]))
    [other] = received(reader, encode([Push(1, 2, 1, b"y" * (LARGE + 1))]))
    assert isinstance(push, Push)
    assert isinstance(other, Push)
    assert type(push.payload) is bytes
    assert push.payload == b"x" * (LARGE + 1)
    assert other.payload == b"y" * (LARGE + 1)


@given(
    sizes=st.lists(st.integers(0, 200_000), min_size=1, max_size=8), reads=st.lists(st.integers(1, 150_000))
)
def test_any_reads_of_any_frames_give_the_same_messages(sizes: list[int], reads: list[int]) -> None:
    messages = [Push(1, at, 1, bytes((at,)) * size) for at, size in enumerate(sizes)]
    stream, reader, got = b"".join(encode([message]) for message in messages), from_worker(), list[ToNode]()
    for most in [*reads, *[65_536] * (len(stream) // 65_536 + 1)]:
        room = reader.room()
        part, stream = stream[: min(most, len(room))], stream[min(most, len(room)) :]
        room[: len(part)] = part
        got += reader.received(len(part))
    assert got == messages
    assert reader.pending == 0


def test_what_is_held_is_given_with_the_frames_that_follow() -> None:
    reader = from_worker()
    first, second = (encode([Consumed(1, count)]) for count in (1, 2))
    frames_of = iter(received(reader, first + second))
    assert next(frames_of) == Consumed(1, 1)
    room = reader.room()
    room[: len(first)] = first
    reader.hold(len(first))
    assert list(frames_of) == [Consumed(1, 2), Consumed(1, 1)]


def test_a_large_buffer_is_given_up_once_it_is_empty() -> None:
    reader = from_worker()
    large = encode([Push(1, 2, 1, bytes(5_000_000))])
    for _ in range(2):
        assert len(list(reader.feed(large))) == 1
        assert not len(reader._buffer)
        reader.room(len(large))[: len(large)] = large
        assert len(list(reader.received(len(large)))) == 1
        assert not len(reader._buffer)
    assert list(reader.feed(large + large + encode([Pong()])))[2] == Pong()
    small = encode([Pong()])
    assert len(list(reader.feed(large + small[:1]))) == 1
    assert len(reader._buffer) > ROOM
    reader.room()[: len(small) - 1] = small[1:]
    assert list(reader.received(len(small) - 1)) == [Pong()]
    assert not len(reader._buffer)
    assert len(reader.room()) == ROOM


@pytest.mark.parametrize("announced", [MAX_FRAME + 1, 2**31, 2**32 - 1])
def test_a_frame_that_announces_too_much_is_refused_before_its_body(announced: int) -> None:
    with pytest.raises(LinkError, match="announces over"):
        list(from_worker().feed(frame(b"", announced)))


def test_a_frame_that_announces_the_largest_size_is_waited_for() -> None:
    reader = from_worker()
    assert list(reader.feed(frame(b"part", MAX_FRAME))) == []
    assert reader.pending == 8


def test_what_stands_before_a_bad_frame_is_delivered() -> None:
    feed = from_worker().feed(encode([Consumed(1, 1)]) + frame(b"\xff"))
    assert next(feed) == Consumed(1, 1)
    with pytest.raises(LinkError):
        next(feed)


def test_a_whole_frame_is_not_held_after_it_was_read() -> None:
    reader = from_worker()
    for _ in range(100):
        list(reader.feed(encode([Push(1, 2, 1, bytes(10_000))])))
        assert reader.pending == 0
