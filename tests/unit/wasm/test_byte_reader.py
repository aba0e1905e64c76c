"""Numbers, names and sections of the binary format, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.wasm.binary.byte_reader import (
    COMPONENT,
    MODULE,
    Reader,
    Section,
    UnsupportedComponent,
    encoded_number,
    encoded_section,
    sections,
)


def reader(content: bytes) -> Reader:
    """Of some bytes with others before and behind, which are none of its business."""
    return Reader(b"\x01" + content + b"\x01" * 10, 1, 1 + len(content))


@given(st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_a_number_is_read_as_it_was_written(value: int, padding: int) -> None:
    encoded = encoded_number(value)
    longer = encoded[:-1] + bytes((encoded[-1] | 0x80,)) + b"\x80" * (padding - 1) + b"\0"
    for content in (encoded, longer if padding and len(longer) <= 5 else encoded):
        read = reader(content)
        assert read.number() == value
        read.finish()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "truncated"),
        (b"\x80\x80", "truncated"),
        (b"\x80\x80\x80\x80\x80\x00", "over five bytes"),
        (b"\xff\xff\xff\xff\x1f", "over 32 bits"),
    ],
)
def test_what_is_no_number_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(UnsupportedComponent, match=says):
        reader(content).number()


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_signed_number_is_read_as_it_was_written(value: int) -> None:
    encoded, rest = bytearray(), value
    while not -64 <= rest < 64:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest & 0x7F)
    assert Reader(bytes(encoded), 0, len(encoded)).signed() == value


def test_a_signed_number_has_ten_bytes_at_most() -> None:
    with pytest.raises(UnsupportedComponent, match="over ten bytes"):
        Reader(b"\x80" * 11, 0, 11).signed()


def test_a_name_may_not_end_behind_its_place() -> None:
    assert reader(b"\x03abc").name() == "abc"
    with pytest.raises(UnsupportedComponent, match="truncated"):
        reader(b"\x04abc").name()


@pytest.mark.parametrize("name", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80"])
def test_a_name_is_utf_8(name: bytes) -> None:
    with pytest.raises(UnsupportedComponent, match="UTF-8"):
        reader(encoded_number(len(name)) + name).name()


def test_a_vector_has_no_more_elements_than_there_are_bytes() -> None:
    assert reader(b"\x02ab").count(2, "things") == 2
    with pytest.raises(UnsupportedComponent, match="has 2 things, over 1"):
        reader(b"\x02ab").count(1, "things")
    with pytest.raises(UnsupportedComponent, match="truncated"):
        reader(b"\x03ab").count(3, "things")


def test_what_is_left_over_is_noticed() -> None:
    with pytest.raises(UnsupportedComponent, match="longer than its content"):
        reader(b"x").finish()


def test_sections_fill_what_they_are_of() -> None:
    content = COMPONENT + encoded_section(7, b"ab") + encoded_section(0, b"")
    assert list(sections(content, 0, len(content), COMPONENT)) == [
        Section(7, 8, 10, 12),
        Section(0, 12, 14, 14),
    ]
    for end in (9, 10, 11, 13):
        with pytest.raises(UnsupportedComponent, match="truncated"):
            list(sections(content, 0, end, COMPONENT))


def test_a_module_is_no_component() -> None:
    with pytest.raises(UnsupportedComponent, match="unknown version"):
        list(sections(MODULE, 0, 8, COMPONENT))


def test_sections_are_counted() -> None:
    content = COMPONENT + b"\0\0" * 20_001
    with pytest.raises(UnsupportedComponent, match="over 20000 sections"):
        list(sections(content, 0, len(content), COMPONENT))
