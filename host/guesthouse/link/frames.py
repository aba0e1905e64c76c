"""The framing of the link: length-prefixed CBOR, many operations a frame.

A frame is a little-endian `u32` length and that many bytes of CBOR: a list of operations, each a
list `[op, ...]` as `link/ops.py` defines them. Both ends read with `FrameReader`, which takes any
split of the stream and never holds more than one frame and a read's worth of bytes.

The peer of a worker is a process that runs untrusted code, so the node treats every frame as an
attack until checked: a frame over the limit, bytes that are not CBOR and an operation of the wrong
shape are a `LinkError`, which costs the worker its life and nobody else anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import cbor2

from guesthouse.errors import GuesthouseError

MAX_FRAME: Final = 64 * 1024 * 1024
"""Bytes of CBOR in one frame. A payload may be 16 MiB; a batch is cut well below this."""

_HEADER: Final = 4


class LinkError(GuesthouseError):
    """The other end of a link sent something that no correct end sends, or went away."""


def encode(operations: list[Any]) -> bytes:
    """Return one frame that holds `operations`, in order.

    Raises:
        LinkError: the frame would be over `MAX_FRAME`.
    """
    body: bytes = cbor2.dumps(operations)
    if len(body) > MAX_FRAME:
        raise LinkError(f"a link frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return len(body).to_bytes(_HEADER, "little") + body


class FrameReader:
    """Turns a byte stream back into operations."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes received that do not make a whole frame yet."""
        return len(self._buffer)

    def one_frame(self, data: bytes) -> list[list[Any]] | None:
        """The operations of `data` when it is exactly one frame and nothing was left from before: one read of a
        busy link. None, and nothing is done, when it is not.

        Raises:
            LinkError: as `feed`.
        """
        size = len(data) - _HEADER
        if self._buffer or size < 0 or size > MAX_FRAME or int.from_bytes(data[:_HEADER], "little") != size:
            return None
        return _operations(data[_HEADER:])

    def feed(self, data: bytes) -> Iterator[list[Any]]:
        """Take bytes and yield the operations of every frame that is now whole.

        Raises:
            LinkError: a frame is over the limit, is not CBOR or is not a list of lists.
        """
        buffer = self._buffer
        buffer += data
        offset, available = 0, len(buffer)
        try:
            while available - offset >= _HEADER:
                end = offset + _HEADER + int.from_bytes(buffer[offset : offset + _HEADER], "little")
                if end - offset - _HEADER > MAX_FRAME:
                    raise LinkError(f"a link frame announces over {MAX_FRAME} bytes")
                if end > available:
                    break
                body = bytes(memoryview(buffer)[offset + _HEADER : end])
                offset = end
                yield from _operations(body)
        finally:
            del buffer[:offset]


def _operations(body: bytes) -> list[list[Any]]:
    try:
        operations = cbor2.loads(body)
    except (cbor2.CBORDecodeError, ValueError, RecursionError) as error:
        raise LinkError(f"a link frame is not CBOR: {error}") from None
    if type(operations) is not list:
        raise LinkError("a link frame is not a list of operations")
    for operation in operations:
        if type(operation) is not list or not operation or type(operation[0]) is not int:
            raise LinkError("a link frame holds something that is not an operation")
    return operations
