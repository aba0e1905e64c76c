from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.link import frames
from guesthouse.link.frames import MAX_FRAME, FrameReader, LinkError, encode

values: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=50)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
operations: Final = st.builds(lambda op, rest: [op, *rest], st.integers(0, 99), st.lists(values, max_size=5))
batches: Final = st.lists(st.lists(operations, max_size=4), max_size=5)


def frame(body: bytes, announced: int | None = None) -> bytes:
    return (len(body) if announced is None else announced).to_bytes(4, "little") + body


@given(batches, st.data())
def test_any_split_of_the_stream_gives_the_same_operations(sent: list[Any], data: st.DataObject) -> None:
    stream = b"".join(encode(batch) for batch in sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    reader = FrameReader()
    got: list[Any] = []
    for start, end in pairwise([0, *cuts, len(stream)]):
        got += reader.feed(stream[start:end])
    assert got == [operation for batch in sent for operation in batch]
    assert reader.pending == 0


@given(batches)
def test_a_stream_that_comes_byte_by_byte_gives_the_same_operations(sent: list[Any]) -> None:
    reader = FrameReader()
    got = [
        operation
        for byte in b"".join(encode(batch) for batch in sent)
        for operation in reader.feed(bytes((byte,)))
    ]
    assert got == [operation for batch in sent for operation in batch]


def refusal_of(data: bytes) -> str:
    """Why the bytes are refused; empty when they are operations."""
    try:
        got = list(FrameReader().feed(data))
    except LinkError as error:
        return str(error)
    assert all(type(operation) is list and type(operation[0]) is int for operation in got)
    return ""


@given(st.binary(max_size=60))
def test_any_bytes_are_operations_or_a_link_error(data: bytes) -> None:
    assert "\n" not in refusal_of(data)


@given(st.binary(max_size=60))
def test_any_body_is_operations_or_a_link_error(body: bytes) -> None:
    assert len(refusal_of(frame(body))) < 300


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"\x9f",
        b"\x81",
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x81\x81\x61\xff",
        b"\x81" * 100_000 + b"\x00",
        b"\x9f" * 100_000,
        b"\xc1" * 100_000 + b"\x00",
        cbor2.dumps("text"),
        cbor2.dumps({"a": 1}),
        cbor2.dumps(5),
        cbor2.dumps(None),
        cbor2.dumps(["text"]),
        cbor2.dumps([[]]),
        cbor2.dumps([["0", 1]]),
        cbor2.dumps([[True, 1]]),
        cbor2.dumps([[1.0]]),
        cbor2.dumps([[None]]),
        cbor2.dumps([[1, 2], "text"]),
        cbor2.dumps([[1, 2], {}]),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_list_of_operations_is_a_link_error(body: bytes) -> None:
    with pytest.raises(LinkError):
        list(FrameReader().feed(frame(body)))


@pytest.mark.parametrize(
    "item",
    [
        cbor2.CBORTag(0, "not a date"),
        cbor2.CBORTag(1, "not a number"),
        cbor2.CBORTag(2, 5),
        cbor2.CBORTag(4, [1]),
        cbor2.CBORTag(5, "x"),
        cbor2.CBORTag(28, 1),
        cbor2.CBORTag(29, 99),
        cbor2.CBORTag(30, [1, 0]),
        cbor2.CBORTag(35, "("),
        cbor2.CBORTag(36, "x"),
        cbor2.CBORTag(37, b"short"),
        cbor2.CBORTag(256, 1),
        cbor2.CBORTag(25, 7),
        cbor2.CBORTag(258, [[1]]),
        cbor2.CBORTag(260, b"xyz"),
        cbor2.CBORTag(261, 1),
        cbor2.CBORTag(43000, 1),
    ],
    ids=lambda item: str(item.tag),
)
def test_a_tag_with_the_wrong_content_is_a_link_error_or_a_value(item: cbor2.CBORTag) -> None:
    """CBOR's tags make other Python values; none may raise anything but a `LinkError`."""
    body = b"\x81\x82\x01" + cbor2.dumps(item)
    assert "\n" not in refusal_of(frame(body))


def test_a_frame_of_the_largest_size_goes_through_and_a_larger_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "MAX_FRAME", 1000)
    fits = [[1, b"x" * (1000 - 6)]]
    assert len(encode(fits)) == 1004
    assert list(FrameReader().feed(encode(fits))) == fits
    with pytest.raises(LinkError, match="over the limit of 1000"):
        encode([[1, b"x" * (1000 - 5)]])


@pytest.mark.parametrize("announced", [MAX_FRAME + 1, 2**31, 2**32 - 1])
def test_a_frame_that_announces_too_much_is_refused_before_its_body(announced: int) -> None:
    with pytest.raises(LinkError, match="announces over"):
        list(FrameReader().feed(frame(b"", announced)))


def test_a_frame_that_announces_the_largest_size_is_waited_for() -> None:
    reader = FrameReader()
    assert list(reader.feed(frame(b"part", MAX_FRAME))) == []
    assert reader.pending == 8


def test_what_stands_before_a_bad_frame_is_delivered() -> None:
    reader = FrameReader()
    feed = reader.feed(encode([[1, "good"]]) + frame(b"\xff"))
    assert next(feed) == [1, "good"]
    with pytest.raises(LinkError):
        next(feed)


def test_a_whole_frame_is_not_held_after_it_was_read() -> None:
    reader = FrameReader()
    for _ in range(100):
        list(reader.feed(encode([[1, bytes(10_000)]])))
        assert reader.pending == 0


def test_an_empty_frame_holds_no_operation() -> None:
    assert list(FrameReader().feed(encode([]) * 3)) == []
