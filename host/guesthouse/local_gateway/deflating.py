"""What the node sends a client, compressed as was negotiated (RFC 7692). Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from guesthouse.core.messages import WsMessageType
from guesthouse.http_server.websocket.framing import COMPRESS_FROM, deflated_frame

_TYPES: Final = {0x81: int(WsMessageType.TEXT), 0x82: int(WsMessageType.BINARY)}
"""First bytes of whole messages."""
_MOST_SHARED: Final = 4 * 1024 * 1024
"""Bytes of messages that are remembered because other clients may be sent the same."""
_LARGEST_SHARED: Final = 1024 * 1024
_MOST_SKIPPED: Final = 256


class SharedDeflate:
    """Compresses for all clients of a gateway: what several are sent at about the same time, once."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[int, int, bytes], bytes] = OrderedDict()
        self._size = 0

    def frame(self, message_type: int, payload: bytes, bits: int) -> bytes:
        """A message as one compressed frame.

        Args:
            message_type: text or binary.
            payload: the message.
            bits: the window.
        """
        key = (message_type, bits, payload)
        found = self._made.get(key)
        if found is not None:
            return found
        made = deflated_frame(message_type, payload, bits)
        if len(payload) <= _LARGEST_SHARED:
            self._made[key] = made
            self._size += len(payload) + len(made)
            while self._size > _MOST_SHARED:
                (_, _, oldest), its = self._made.popitem(last=False)
                self._size -= len(oldest) + len(its)
        return made


class Deflating:
    """One client.

    Binary messages that do not get smaller, as those of an encrypted channel and pictures, are tried more and more
    seldom.

    Args:
        shared: compresses.
        bits: the negotiated window.
    """

    __slots__ = ("_bits", "_input", "_passing", "_pause", "_shared", "_skip", "_wanted")

    def __init__(self, shared: SharedDeflate, bits: int) -> None:
        self._shared = shared
        self._bits = bits
        self._input = bytearray()
        self._wanted = 0
        self._passing = 0
        self._skip = self._pause = 0

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Receive bytes of the node; yields what goes to the client."""
        held = self._input
        if held:
            held += data
            if len(held) < self._wanted:
                return
            data, self._input = bytes(held), bytearray()
        start, end = 0, len(data)
        while start < end:
            if self._passing:
                passed = min(self._passing, end - start)
                self._passing -= passed
                yield data[start : start + passed] if passed < end else data
                start += passed
                continue
            wanted = self._header(data, start)
            if end - start < wanted:
                self._input += memoryview(data)[start:]
                self._wanted = wanted
                return
            if not self._passing:
                yield self._compressed(data[start : start + wanted])
                start += wanted

    def _header(self, data: bytes, start: int) -> int:
        """Look at the frame at `start`. Returns how many bytes of it are needed; sets `_passing` if it passes."""
        available = len(data) - start
        if available < 2:
            return 2
        length, header = data[start + 1], 2
        if length >= 126:
            header = 4 if length == 126 else 10
            if available < header:
                return header
            length = int.from_bytes(data[start + 2 : start + header], "big")
        if data[start] in _TYPES and length >= COMPRESS_FROM:
            return header + length
        self._passing = header + length
        return header

    def _compressed(self, frame: bytes) -> bytes:
        message_type = _TYPES[frame[0]]
        binary = message_type == WsMessageType.BINARY
        if binary and self._skip:
            self._skip -= 1
            return frame
        made = self._shared.frame(message_type, frame[4 if frame[1] == 126 else 10 :], self._bits)
        if len(made) < len(frame):
            self._pause = 0
            return made
        if binary:
            self._pause = self._skip = min(2 * self._pause + 1, _MOST_SKIPPED)
        return frame
