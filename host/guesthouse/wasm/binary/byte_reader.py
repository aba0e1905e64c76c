"""Reads and writes the binary format of components and core modules: numbers, names and sections, bounds checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

MODULE: Final = b"\0asm\x01\0\0\0"
COMPONENT: Final = b"\0asm\x0d\0\x01\0"
PREAMBLE_BYTES: Final = 8

_MAX_U32: Final = 2**32 - 1
_MAX_SECTIONS: Final = 20_000
"""Per component or module. A Python guest's component has about 400."""


class UnsupportedComponent(Exception):
    """A component or module is malformed or unsupported; the message says why."""


class Reader:
    """A position in bytes, and the end of the readable range.

    Every method raises `UnsupportedComponent` for truncated or malformed input.
    """

    __slots__ = ("at", "content", "end")

    def __init__(self, content: bytes, at: int, end: int) -> None:
        self.content: Final = content
        self.at = at
        self.end: Final = end

    def more(self) -> bool:
        """Whether there is anything left."""
        return self.at < self.end

    def byte(self) -> int:
        """Read one byte."""
        if self.at >= self.end:
            raise UnsupportedComponent("it is truncated")
        value = self.content[self.at]
        self.at += 1
        return value

    def number(self) -> int:
        """Read an unsigned LEB128 number of 32 bits."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise UnsupportedComponent("a number is over five bytes long")
        if value > _MAX_U32:
            raise UnsupportedComponent("a number is over 32 bits wide")
        return value

    def signed(self) -> int:
        """Read a signed LEB128 number of up to 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value - ((byte & 0x40) << shift + 1)
        raise UnsupportedComponent("a number is over ten bytes long")

    def count(self, most: int, what: str) -> int:
        """Read the length of a vector, whose elements have at least a byte each."""
        value = self.number()
        if value > most:
            raise UnsupportedComponent(f"it has {value} {what}, over {most}")
        if value > self.end - self.at:
            raise UnsupportedComponent("it is truncated")
        return value

    def take(self, size: int) -> bytes:
        """Read bytes."""
        start = self.at
        if size > self.end - start:
            raise UnsupportedComponent("it is truncated")
        self.at = start + size
        return self.content[start : self.at]

    def skip(self, size: int) -> None:
        """Skip bytes."""
        if size > self.end - self.at:
            raise UnsupportedComponent("it is truncated")
        self.at += size

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(self.end - self.at)

    def part(self) -> Reader:
        """Read something that begins with its size: what reads it stays within."""
        size = self.number()
        start = self.at
        self.skip(size)
        return Reader(self.content, start, self.at)

    def name(self) -> str:
        """Read a name."""
        try:
            return self.take(self.number()).decode("utf-8")
        except UnicodeDecodeError:
            raise UnsupportedComponent("a name is not UTF-8") from None

    def finish(self) -> None:
        """Check that everything was read."""
        if self.at != self.end:
            raise UnsupportedComponent("a section is longer than its content")


class Section(Struct, frozen=True):
    """One section: where its header starts, and where its content starts and ends."""

    kind: int
    start: int
    body: int
    end: int


def sections(content: bytes, start: int, end: int, preamble: bytes) -> Iterator[Section]:
    """The sections of a component or module.

    Raises:
        UnsupportedComponent: it has another preamble, or its sections do not fill it.
    """
    reader = Reader(content, start, end)
    if reader.take(PREAMBLE_BYTES) != preamble:
        raise UnsupportedComponent("it is of an unknown version of the format")
    for _ in range(_MAX_SECTIONS):
        if not reader.more():
            return
        begin = reader.at
        kind, size = reader.byte(), reader.number()
        section = Section(kind, begin, reader.at, reader.at + size)
        if size > reader.end - reader.at:
            raise UnsupportedComponent("it is truncated")
        reader.at = section.end
        yield section
    raise UnsupportedComponent(f"it has over {_MAX_SECTIONS} sections")


def encoded_number(value: int) -> bytes:
    """A number as unsigned LEB128."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def encoded_section(kind: int, body: bytes) -> bytes:
    """A section with its kind and size."""
    return bytes((kind,)) + encoded_number(len(body)) + body
