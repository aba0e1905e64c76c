"""What a client sends, as if it had not compressed it (RFC 6455, RFC 7692). Pure.

A frame that the client compressed is replaced by one that is not; all else passes as it is, and what breaks the rules,
too: the node refuses it as if the client were its own. So this decides nothing about a message but its compression.
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Final

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode

from guesthouse.http_server.channel.deflate import Deflate
from guesthouse.http_server.websocket.frame_reader import apply_mask, max_compressed
from guesthouse.local_gateway.frame_filter import FrameFilter

_FIN: Final = 0x80
_COMPRESSED: Final = 0x40
_RESERVED: Final = 0x30
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)
_short: Final = Struct(">BB").pack
_medium: Final = Struct(">BBH").pack
_long: Final = Struct(">BBQ").pack
_ENDLESS: Final = 2**62
"""The length of a frame that is over any limit."""
_NO_DEFLATE: Final = b"\x07"
"""The beginning of a block of a type that there is not: whoever decompresses it fails."""
_OPCODES: Final = {int(each): each for each in Opcode}


class Inflating(FrameFilter):
    """One client.

    Args:
        deflate: what was negotiated.
        most: bytes of a message, after decompression, beyond which it is refused whatever it is.
    """

    __slots__ = ("_blind", "_compressed", "_deflate", "_most", "_open", "_over")

    def __init__(self, deflate: Deflate, most: int) -> None:
        super().__init__()
        self._deflate = deflate
        self._most = most
        self._open = self._compressed = False
        """Whether a message has begun that more frames belong to, and whether it is compressed."""
        self._blind = False
        """A rule was broken: all passes as it is."""
        self._over = False
        """The node was told to refuse what came: the rest is discarded."""

    def _frame(self, data: bytes, start: int) -> tuple[int, tuple[bytes, ...]] | int:
        """See `FrameFilter`."""
        if self._over:
            return len(data), ()
        if self._blind:
            return len(data), (data[start:],)
        available = len(data) - start
        if available < 2:
            return 2
        first, second = data[start], data[start + 1]
        length, header = second & 0x7F, 6
        if length >= 126:
            header = 8 if length == 126 else 14
            if available < header - 4:
                return header - 4
            least = 126 if length == 126 else 65536
            length = int.from_bytes(data[start + 2 : start + header - 4], "big")
            self._blind = length < least
        if self._breaks_rules(first, second):
            self._blind = True
        if self._blind:
            return start, ()
        opcode = first & 0x0F
        compressed = bool(first & _COMPRESSED) if opcode else self._compressed
        if opcode & _CONTROL or not compressed:
            self._follow(first, compressed=False)
            self._passing = header + length
            return start, ()
        if length > max_compressed(self._most):
            return self._refused(data, _long(first & ~_COMPRESSED, _MASKED | 127, _ENDLESS) + _NO_MASK)
        if available < header + length:
            return header + length
        self._follow(first, compressed=True)
        body = start + header
        payload = apply_mask(memoryview(data)[body : body + length], data[body - 4 : body])
        try:
            plain = self._decompressed(first, payload)
        except (ProtocolError, zlib.error):
            broken = _short(first | _COMPRESSED, _MASKED | len(_NO_DEFLATE)) + _NO_MASK + _NO_DEFLATE
            return self._refused(data, broken)
        first &= ~_COMPRESSED
        if plain is None:
            return self._refused(data, _long(first, _MASKED | 127, _ENDLESS) + _NO_MASK)
        return body + length, (_header(first, len(plain)), plain)

    def _decompressed(self, first: int, payload: bytes) -> bytes | None:
        """The payload of a frame, decompressed; None if it is too large.

        Raises:
            ProtocolError: it is not valid DEFLATE data.
            zlib.error: the same.
        """
        opcode = _OPCODES[first & 0x0F]
        if first & _FIN and opcode is not Opcode.CONT:
            return self._deflate.decompressed(payload, self._most)
        frame = Frame(opcode, payload, bool(first & _FIN), bool(first & _COMPRESSED))
        try:
            return bytes(self._deflate.decode(frame, max_size=self._most).data)
        except PayloadTooBig:
            return None

    def _breaks_rules(self, first: int, second: int) -> bool:
        """Whether the node refuses a frame with these first bytes."""
        opcode = first & 0x0F
        if second < _MASKED or first & _RESERVED or opcode not in _OPCODES:
            return True
        if opcode & _CONTROL:
            return bool(first & _COMPRESSED) or first < _FIN or second & 0x7F > 125
        return self._open if opcode else not self._open or bool(first & _COMPRESSED)

    def _follow(self, first: int, *, compressed: bool) -> None:
        """A frame is taken, which begins a message, or goes on with one, or is none of it."""
        if not first & _CONTROL:
            self._open = first < _FIN
            self._compressed = compressed and self._open

    def _refused(self, data: bytes, output: bytes) -> tuple[int, tuple[bytes, ...]]:
        """Have the node refuse it."""
        self._over = True
        return len(data), (output,)


def _header(first: int, size: int) -> bytes:
    """The header of a client's frame, whose mask changes nothing."""
    if size < 126:
        return _short(first, _MASKED | size) + _NO_MASK
    if size < 65536:
        return _medium(first, _MASKED | 126, size) + _NO_MASK
    return _long(first, _MASKED | 127, size) + _NO_MASK
