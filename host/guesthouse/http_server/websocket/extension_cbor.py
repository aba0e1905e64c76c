"""The CBOR (RFC 8949) that extensions write: a map of named integers, texts and bytes, or one such map in one. Pure.

Of all that CBOR can be, this reads no more: no tags, no floats, no lists but of bytes, no map with more than
`_MOST_FIELDS` fields. So what is read costs what its bytes are worth, whatever it is.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import cbor2

_UNSIGNED, _BYTES, _TEXT, _ARRAY, _MAP = 0, 2, 3, 4, 5
_MOST_FIELDS: Final = 8
_LONGEST_NAME: Final = 64
_MOST_CHUNKS: Final = 1024
"""Pieces of one text or bytes of a length that is not said."""
_DIRECT: Final = 24
_SIZES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
_NUMBERS: Final = re.compile(rb"(?:[\x00-\x17]++|(?:\x18.)++)*+", re.DOTALL)
"""Integers of up to 255 in their shortest form, one behind the other."""
_LIST: Final = b"\x9f", b"\xff"
"""What stands around a list whose length is not said."""

Value: TypeAlias = "int | bytes | str | Fields"
Fields: TypeAlias = dict[str, Value]


def loads(data: bytes) -> Fields:
    """The one map that the bytes are.

    Raises:
        ValueError: they are something else.
    """
    reader = _Reader(data)
    value = reader.value(2)
    if not isinstance(value, dict) or reader.at != len(data):
        raise ValueError("it is not one map")
    return value


class _Reader:
    """Goes through the bytes once."""

    __slots__ = ("_data", "at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self, maps: int) -> Value:
        """The next value, in which maps nest no deeper than that."""
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
        raise ValueError("extensions write no such value")

    def _head(self) -> tuple[int, int | None]:
        """The kind of what comes, and its length or value; None when it ends with a break."""
        first = self._take(1)[0]
        kind, said = first >> 5, first & 0x1F
        if said < _DIRECT:
            return kind, said
        if said in _SIZES:
            return kind, int.from_bytes(self._take(_SIZES[said]), "big")
        if said == _INDEFINITE:
            return kind, None
        raise ValueError("a length of no known form")

    def _take(self, size: int) -> bytes:
        taken = self._data[self.at : self.at + size]
        if len(taken) != size:
            raise ValueError("it ends early")
        self.at += size
        return taken

    def _ends(self) -> bool:
        """Whether a break comes, which is then taken."""
        found = self._data[self.at : self.at + 1] == bytes((_BREAK,))
        self.at += found
        return found

    def _joined(self, kind: int, length: int | None) -> bytes:
        if length is not None:
            return self._take(length)
        chunks: list[bytes] = []
        while not self._ends():
            of_kind, size = self._head()
            if of_kind != kind or size is None or len(chunks) == _MOST_CHUNKS:
                raise ValueError("pieces of another kind, or too many")
            chunks.append(self._take(size))
        return b"".join(chunks)

    def _numbers(self, count: int | None) -> bytes:
        """Bytes as the list of numbers that some encoders make of them."""
        found = _NUMBERS.match(self._data, self.at)
        assert found is not None  # noqa: S101 - it matches nothing at the least
        self.at = found.end()
        numbers = bytes(cbor2.loads(found.group().join(_LIST)))
        if len(numbers) != count if count is not None else not self._ends():
            raise ValueError("a list of something else than bytes")
        return numbers

    def _map(self, count: int | None, maps: int) -> Fields:
        fields: Fields = {}
        while not self._ends() if count is None else len(fields) < count:
            kind, length = self._head()
            if kind != _TEXT or length is None or length > _LONGEST_NAME or len(fields) == _MOST_FIELDS:
                raise ValueError("a field without a name, or too many")
            name = self._take(length).decode()
            if name in fields:
                raise ValueError("a field twice")
            fields[name] = self.value(maps)
        return fields
