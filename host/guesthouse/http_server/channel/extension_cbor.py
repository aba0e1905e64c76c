"""Decoder for the subset of CBOR (RFC 8949) that extensions send. Pure.

A map of text keys to unsigned integers, text, bytes, or one nested map. No tags, floats, or lists other than of
bytes; at most `_MOST_FIELDS` fields in a map. So the cost of decoding is linear in the input.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import cbor2

_UNSIGNED, _BYTES, _TEXT, _ARRAY, _MAP = 0, 2, 3, 4, 5
_MOST_FIELDS: Final = 8
_LONGEST_NAME: Final = 64
_MOST_CHUNKS: Final = 1024
"""Chunks of one indefinite-length string."""
_DIRECT: Final = 24
_SIZES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
_NUMBERS: Final = re.compile(rb"(?:[\x00-\x17]++|(?:\x18.)++)*+", re.DOTALL)
"""A sequence of integers up to 255, each in its shortest form."""
_LIST: Final = b"\x9f", b"\xff"
"""Start and end of an indefinite-length array."""

Value: TypeAlias = "int | bytes | str | Fields"
Fields: TypeAlias = dict[str, Value]


def loads(data: bytes) -> Fields:
    """Decode one map.

    Raises:
        ValueError: the data is not one map of the supported subset.
    """
    reader = _Reader(data)
    value = reader.value(2)
    if not isinstance(value, dict) or reader.at != len(data):
        raise ValueError("not a single map")
    return value


class _Reader:
    """Cursor over the data."""

    __slots__ = ("_data", "at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self, maps: int) -> Value:
        """Read a value with at most `maps` levels of maps."""
        kind, length = self._head()
        if kind == _UNSIGNED and length is not None:
            return length
        if kind == _BYTES:
            return self._joined(kind, length)
        if kind == _TEXT:
            return self._joined(kind, length).decode()
        if kind == _ARRAY:
            return self._numbers(length)
        if kind == _MAP and maps:
            return self._map(length, maps - 1)
        raise ValueError("unsupported type or nesting")

    def _head(self) -> tuple[int, int | None]:
        """Read an item's major type and its length or value; None for an indefinite length."""
        first = self._take(1)[0]
        kind, info = first >> 5, first & 0x1F
        if info < _DIRECT:
            return kind, info
        if info in _SIZES:
            return kind, int.from_bytes(self._take(_SIZES[info]), "big")
        if info == _INDEFINITE:
            return kind, None
        raise ValueError("reserved additional information")

    def _take(self, size: int) -> bytes:
        taken = self._data[self.at : self.at + size]
        if len(taken) != size:
            raise ValueError("unexpected end of data")
        self.at += size
        return taken

    def _take_break(self) -> bool:
        """Consume a break code, if there is one."""
        found = self._data[self.at : self.at + 1] == bytes((_BREAK,))
        self.at += found
        return found

    def _joined(self, kind: int, length: int | None) -> bytes:
        if length is not None:
            return self._take(length)
        chunks: list[bytes] = []
        while not self._take_break():
            chunk_kind, size = self._head()
            if chunk_kind != kind or size is None or len(chunks) == _MOST_CHUNKS:
                raise ValueError("chunks of another type, or too many")
            chunks.append(self._take(size))
        return b"".join(chunks)

    def _numbers(self, count: int | None) -> bytes:
        """Read bytes that were encoded as a list of numbers."""
        found = _NUMBERS.match(self._data, self.at)
        assert found is not None  # noqa: S101 - the pattern matches the empty string
        self.at = found.end()
        numbers = bytes(cbor2.loads(found.group().join(_LIST)))
        if len(numbers) != count if count is not None else not self._take_break():
            raise ValueError("list items that are not bytes")
        return numbers

    def _map(self, count: int | None, maps: int) -> Fields:
        fields: Fields = {}
        while not self._take_break() if count is None else len(fields) < count:
            kind, length = self._head()
            if kind != _TEXT or length is None or length > _LONGEST_NAME or len(fields) == _MOST_FIELDS:
                raise ValueError("a key that is not a short text, or too many fields")
            name = self._take(length).decode()
            if name in fields:
                raise ValueError("duplicate key")
            fields[name] = self.value(maps)
        return fields
