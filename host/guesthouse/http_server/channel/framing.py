"""Outgoing WebSocket frames (RFC 6455, section 5.2; RFC 7692). Pure.

Server frames are not masked and these have no compression context, so one frame can be sent to every client that
negotiated the same window.
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Final, Protocol

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode

from guesthouse.core.messages import WsMessageType
from guesthouse.http_server.sessions.control_messages import ESCAPE

OPCODES: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG, Opcode.CLOSE)
"""Opcodes by `WsMessageType`."""
FIRST: Final = tuple(0x80 | int(opcode) for opcode in OPCODES)
"""First bytes of whole, uncompressed frames by `WsMessageType`."""

GATHER_FROM: Final = 16 * 1024
"""Larger payloads, in bytes, are written beside their header, as copying them costs more."""

RELAYED: Final = -1
"""Instead of a compression window: the client's socket is at another node, which makes the frames."""

COMPRESS_FROM: Final = 1024
"""Smaller payloads, in bytes, are not compressed: it costs more than it saves."""

_TEXT: Final = int(WsMessageType.TEXT)
_BINARY: Final = int(WsMessageType.BINARY)
_SYNC_TAIL: Final = b"\x00\x00\xff\xff"
_short_header: Final = Struct(">BB").pack
_header: Final = Struct(">BBH").pack
_long_header: Final = Struct(">BBQ").pack


def frame(message_type: int, payload: bytes) -> bytes:
    """Encode a message as one uncompressed frame."""
    return framed(FIRST[message_type], payload)


def long_header(message_type: int, size: int) -> bytes:
    """Encode the header of an uncompressed frame with a payload of `size` bytes, over `GATHER_FROM`."""
    first = FIRST[message_type]
    return _header(first, 126, size) if size < 65536 else _long_header(first, 127, size)


def framed(first: int, payload: bytes) -> bytes:
    """A frame with that first byte."""
    size = len(payload)
    if size < 126:
        return _short_header(first, size) + payload
    if size < 65536:
        return _header(first, 126, size) + payload
    return _long_header(first, 127, size) + payload


def deflated_frame(message_type: int, payload: bytes, window_bits: int) -> bytes:
    """Encode a data message as one compressed frame without context takeover (RFC 7692, section 7.2.1)."""
    encoder = zlib.compressobj(level=1, wbits=-window_bits, memLevel=5)
    compressed = encoder.compress(payload) + encoder.flush(zlib.Z_SYNC_FLUSH)
    return framed(0xC0 | OPCODES[message_type], compressed.removesuffix(_SYNC_TAIL))


def window_bits(extensions: list[Extension]) -> int:
    """Negotiated window for compressed messages to the client; 0 without compression."""
    for extension in extensions:
        if isinstance(extension, PerMessageDeflate):
            return extension.local_max_window_bits
    return 0


def encode(message_type: int, payload: bytes, bits: int) -> bytes:
    """Encode a message for a client with that compression window (0: none). For `RELAYED` that is its type, as one
    byte, and the payload.
    """
    if bits:
        if bits == RELAYED:
            return bytes((message_type,)) + payload
        if len(payload) >= COMPRESS_FROM and message_type <= _BINARY:
            return deflated_frame(message_type, payload, bits)
    return frame(message_type, payload)


class Framed(Protocol):
    """A client that messages are encoded for."""

    @property
    def window_bits(self) -> int:
        """Compression window; 0 for none."""

    @property
    def cipher(self) -> object:
        """The cipher of an encrypted channel, or None."""

    def framed(self, message_type: int, payload: bytes) -> bytes:
        """Encode a message for this client."""


class SharedFrames:
    """One message for many clients, encoded once for each compression window."""

    __slots__ = ("_apart", "_frames", "_payload", "_type")

    def __init__(self, message_type: int, payload: bytes) -> None:
        self._type = message_type
        self._payload = payload
        self._apart = message_type == _TEXT and payload[:1] == ESCAPE
        """Whether it is not the same for clients of resumable channels."""
        self._frames: dict[int, bytes] = {}

    def of(self, client: Framed) -> bytes:
        """The encoded message for a client."""
        if client.cipher is not None or self._apart:
            return client.framed(self._type, self._payload)
        return self.encode(client.window_bits)

    def encode(self, bits: int) -> bytes:
        """The encoded message for a compression window."""
        found = self._frames.get(bits)
        if found is None:
            found = self._frames[bits] = encode(self._type, self._payload, bits)
        return found
