"""What the node sends a client, compressed as was negotiated (RFC 7692). Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from guesthouse.core.messages import WsMessageType
from guesthouse.http_server.channel.framing import COMPRESS_FROM, deflated_frame
from guesthouse.local_gateway.frame_filter import FrameFilter

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


class Deflating(FrameFilter):
    """One client.

    Binary messages that do not get smaller, as those of an encrypted channel and pictures, are tried more and more
    seldom.

    Args:
        shared: compresses.
        bits: the negotiated window.
    """

    __slots__ = ("_bits", "_pause", "_shared", "_skip")

    def __init__(self, shared: SharedDeflate, bits: int) -> None:
        super().__init__()
        self._shared = shared
        self._bits = bits
        self._skip = self._pause = 0

    def _frame(self, data: bytes, start: int) -> tuple[int, tuple[bytes, ...]] | int:
        """See `FrameFilter`."""
        available = len(data) - start
        if available < 2:
            return 2
        length, header = data[start + 1], 2
        if length >= 126:
            header = 4 if length == 126 else 10
            if available < header:
                return header
            length = int.from_bytes(data[start + 2 : start + header], "big")
        size = header + length
        if data[start] not in _TYPES or length < COMPRESS_FROM:
            self._passing = size
            return start, ()
        if available < size:
            return size
        return start + size, (self._compressed(data[start : start + size]),)

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
