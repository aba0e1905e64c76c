"""Splits a client's bytes into frames and assembles messages (RFC 6455, RFC 7692). Pure.

This is a fast path around `websockets`: whole, unfragmented data frames, nearly all traffic, are unmasked, decompressed
and delivered here. All other frames, including those with invalid headers, go to the `websockets` protocol.

The rest of a large frame may be received in place (`expects_in_place`), so that it is not copied before it is unmasked.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable
from struct import Struct
from typing import Final, Protocol

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from guesthouse.core.messages import WsMessageType
from guesthouse.http_server.close_codes import (
    CONTROL_TOO_LONG,
    MAX_CONTROL,
    NOT_UTF8,
    PROTOCOL_ERROR,
    TOO_BIG,
    TOO_LONG_A_LENGTH,
    TOO_MANY_FRAGMENTS,
    CloseReason,
)
from guesthouse.http_server.sessions.control_messages import ESCAPE, MAX_CONTROL_MESSAGE

try:
    from websockets.speedups import apply_mask as apply_mask
except ImportError:  # no compiled extension for this platform
    from websockets.utils import apply_mask as apply_mask

_TEXT: Final = int(WsMessageType.TEXT)
_BINARY: Final = int(WsMessageType.BINARY)
_PING: Final = int(WsMessageType.PING)
_PONG: Final = int(WsMessageType.PONG)
_WHOLE: Final = {0x81: _TEXT, 0x82: _BINARY}
_WHOLE_COMPRESSED: Final = {0xC1: _TEXT, 0xC2: _BINARY}
_WHOLE_PONG: Final = 0x8A
_KNOWN: Final = frozenset(int(opcode) for opcode in Opcode)
_LONGEST_HEADER: Final = 14
_first_bytes: Final = Struct(">BBH").unpack_from
_COMPRESSED: Final = 0x40
SLICE: Final = 256
"""Work done on one read before yielding to other connections, in plain frames."""
_SLOW_FRAME_COST: Final = 16
"""Cost of a frame that is not plain, in plain frames, plus one for each `_STEP` bytes of payload."""
_STEP: Final = 4096
_LARGE: Final = 4096
"""Bytes of a payload from which a copy costs more than what avoids it."""
IN_PLACE: Final = 128 * 1024
"""Missing bytes of a frame from which they are received in place."""
_LEAST_SHARE: Final = 8
"""A frame has memory of its own once an eighth of it has arrived: clients cannot have much more than they send."""


def max_compressed(size: int) -> int:
    """Largest DEFLATE output for `size` bytes: 9 bits for each, and block headers."""
    return size + (size >> 3) + 64


class Decompressor(Protocol):
    """The compression that a client negotiated."""

    def decompressed(self, payload: bytes, most: int) -> bytes | None:
        """Decompress a whole message; None if it is over `most` bytes.

        Raises:
            zlib.error: it is not valid.
        """


class MessageReader:
    """Turns the bytes of one client into messages.

    Nothing is delivered once `close` is set; the caller then fails the connection with it. The protocol may fail
    the connection, too: its `eof_sent` is then true.

    Args:
        protocol: processes frames that are not plain; its output stays in it.
        deliver: called with type and payload of each complete message, ping and pong. May set `paused`.
        max_size: maximum bytes of a message, after decompression.
        fragments: maximum frames of a message.
    """

    __slots__ = (
        "_beyond", "_decompressor", "_deliver", "_fragments", "_header", "_held", "_left", "_max_fragments",
        "_max_size", "_missing", "_protocol", "_size", "_start", "_text", "_type", "_wanted", "close", "paused",
        "sliced",
    )  # fmt: skip

    def __init__(
        self,
        protocol: ServerProtocol,
        deliver: Callable[[int, bytes], None],
        *,
        max_size: int,
        fragments: int,
    ) -> None:
        self._protocol = protocol
        self._deliver = deliver
        self._max_fragments = fragments
        self._held = bytearray()
        self._wanted = 0
        self._missing = 0
        """Bytes at the end of `_held` that are still to be received in place."""
        self._header = 0
        self._fragments: list[bytes] = []
        self._size = 0
        self._type = 0
        self._start = b""
        """The first two bytes of a fragmented message."""
        self._text: codecs.IncrementalDecoder | None = None
        self._left = SLICE
        self._decompressor: Decompressor | None = None
        self.paused = False
        self.sliced = False
        """Paused because `SLICE` is used up; the rest of the read is still to be delivered."""
        self.close: CloseReason | None = None
        self.limit(max_size)

    def deliver_to(self, deliver: Callable[[int, bytes], None]) -> None:
        """Replace the `deliver` callback."""
        self._deliver = deliver

    def decompress_by(self, decompressor: Decompressor | None) -> None:
        """Set what decompresses whole messages; by default that is the protocol's."""
        self._decompressor = decompressor

    def charge(self, frames: int) -> None:
        """What was delivered took as long as so many plain frames: others have their turn sooner."""
        self._left -= frames

    @property
    def unfinished(self) -> int:
        """Bytes of memory held for an incomplete message, without those held because of a pause."""
        return self._size + (0 if self.paused else max(0, len(self._held) - _LONGEST_HEADER))

    def drop(self) -> None:
        """Free buffered input. Nothing may be received afterwards."""
        self._held, self._missing = bytearray(), 0
        self._fragments, self._size = [], 0

    def limit(self, max_size: int, *, escapes: bool = False) -> None:
        """Set the maximum message size in bytes, from the next frame on.

        Args:
            max_size: of a payload.
            escapes: text that begins with the escape may be longer: a payload by the one that was added, a control
                message up to a limit of its own.
        """
        self._max_size = max_size
        self._beyond = max(1, MAX_CONTROL_MESSAGE - max_size) if escapes else 0
        """Bytes of such text over `max_size`, at most."""
        self._protocol.max_message_size = max_compressed(max_size + self._beyond)

    def receive(self, data: bytes | bytearray) -> None:
        """Receive bytes and deliver complete messages until `paused` or `close` is set. Sets `paused` and `sliced`
        when a slice is used up. `b""` continues after a pause.
        """
        held = self._held
        if held:
            if self._missing:
                data = self._fill(data)
            if data:  # what is received in place may still be in use by the event loop, and cannot grow
                held += data
            if self.paused or self._missing or len(held) < self._wanted:
                return
            data, self._held = held, bytearray()
            held = self._held
        offset, self._left = 0, SLICE
        while not self.paused and self.close is None and not self._protocol.eof_sent:
            end = self._frame_end(data, offset)
            if end == 0:
                break
            self._take(data, offset, end)
            offset = end
            self._left -= 1
            if self._left <= 0 and not self.paused and offset < len(data):
                self.paused = self.sliced = True
        if self.close is None and not self._protocol.eof_sent and offset < len(data):
            held += memoryview(data)[offset:]
            self._wanted = 0 if self.paused else self._wanted - offset

    def expects_in_place(self) -> bool:
        """Whether to receive into `room` from now on, and to report that by `received`, until this is False again."""
        if self._missing:
            return True
        held, wanted = self._held, self._wanted
        start = len(held)
        if (
            wanted - start < IN_PLACE
            or start * _LEAST_SHARE < wanted
            or self.paused
            or self.close is not None
        ):
            return False
        self._held = bytearray(wanted)
        self._held[:start] = held
        self._missing = wanted - start
        return True

    def room(self) -> memoryview:
        """Where to receive the rest of a frame that `expects_in_place`."""
        return memoryview(self._held)[-self._missing :]

    def received(self, size: int) -> None:
        """So many bytes were received into `room`. Delivers as `receive` does."""
        self._missing -= size
        if not self._missing:
            self.receive(b"")

    def _fill(self, data: bytes | bytearray) -> bytes | bytearray:
        """Receive bytes into `room`; returns those beyond it."""
        end = len(self._held) - self._missing
        part = data[: self._missing]
        self._held[end : end + len(part)] = part
        self._missing -= len(part)
        return data[len(part) :]

    def receive_plain(self, data: bytes) -> bool:
        """Deliver `data` if it is exactly one unfragmented data frame and nothing is buffered. Otherwise returns False
        and does nothing.
        """
        if len(data) < 6:
            return False
        first, second, length = _first_bytes(data)
        message_type = _WHOLE.get(first)
        if message_type is None and self._decompressor is not None:
            message_type = _WHOLE_COMPRESSED.get(first)
        if second < 0xFE:
            size, body = second - 0x80, 6
        elif second == 0xFE and length >= 126:
            size, body = length, 8
        elif second == 0xFF and len(data) >= _LONGEST_HEADER + 65536:
            size, body = int.from_bytes(data[2:10], "big"), _LONGEST_HEADER
        else:
            return False
        protocol = self._protocol
        if (
            len(data) != body + size
            or message_type is None
            or self._held
            or self.paused
            or size > self._max_size
            or protocol.current_size is not None
            or protocol.state is not OPEN
            or self.close is not None
        ):
            return False
        if size <= _LARGE:
            payload = apply_mask(data[body:], data[body - 4 : body])
        else:
            payload = apply_mask(memoryview(data)[body:], data[body - 4 : body])  # not copied twice
        if first & _COMPRESSED:
            self._decompress(message_type, payload)
        elif message_type or payload.isascii():  # binary, or text as it mostly is
            self._deliver(message_type, payload)
        else:
            self._whole(message_type, payload)
        return True

    def is_pong(self, data: bytes, payload: bytes) -> bool:
        """Whether `data` is exactly one pong with this payload and nothing is buffered. It may come between the
        fragments of a message. Such a pong needs no further processing.
        """
        return (
            len(data) == 6 + len(payload)
            and data[0] == _WHOLE_PONG
            and data[1] == 0x80 + len(payload)
            and not self._held
            and not self.paused
            and self.close is None
            and self._protocol.state is OPEN
            and apply_mask(data[6:], data[2:6]) == payload
        )

    def _frame_end(self, data: bytes | bytearray, start: int) -> int:
        """End offset of the frame at `start`; 0 when it is incomplete, with `_wanted` set to the size of `data` to
        wait for. `_header` is set to the size of its header. For a header that the protocol must refuse,
        `_header` is 0 and the result is the end of `data`; it is 0, too, for a frame that only its content lets pass.
        """
        available = len(data)
        self._wanted = start + 2
        if available < self._wanted:
            return 0
        first, second = data[start], data[start + 1]
        length = second & 0x7F
        if second < 0x80 or first & 0x0F not in _KNOWN:
            self._header = 0
            return available
        if first & 0x08 and length > MAX_CONTROL:
            self.close = CONTROL_TOO_LONG
            return 0
        header = 6
        if length >= 126:
            header = 8 if length == 126 else _LONGEST_HEADER
            self._wanted = start + header - 4
            if available < self._wanted:
                return 0
            least = 126 if length == 126 else 65536
            length = int.from_bytes(data[start + 2 : start + header - 4], "big")
            if length < least:
                self.close = TOO_LONG_A_LENGTH
                return 0
        self._header = header
        if length > self._max_size - self._size and not self._may_fit(first, length):
            self.close = TOO_BIG if first & _COMPRESSED else self._too_big(length)
            return 0
        self._wanted = start + header + length
        return self._wanted if self._wanted <= available else 0

    def _too_big(self, length: int) -> CloseReason:
        """A frame with so much brings the message over the limit."""
        return TOO_BIG.noting(f"{self._size + length} bytes")

    def _may_fit(self, first: int, length: int) -> bool:
        """Whether a frame over the limit could be within it once decompressed (incompressible data grows), or be text
        that may be longer. The frame then goes to the protocol, and `_on_frame` looks at it.
        """
        most = self._max_size - self._size + self._beyond
        if first & 0x0F:
            compressed = first & _COMPRESSED
        else:
            compressed = any(getattr(each, "decode_cont_data", False) for each in self._protocol.extensions)
        self._header = 0
        return length <= (max_compressed(most) if compressed else most)

    def _fits(self, opcode: Opcode, payload: bytes) -> bool:
        """Whether a frame by which its message is over the limit is text that may be longer."""
        text = opcode is Opcode.TEXT or (opcode is Opcode.CONT and self._type == _TEXT)
        start = payload[:2] if opcode is Opcode.TEXT else (self._start + payload[:2])[:2]
        beyond = 1 if start == ESCAPE * 2 else self._beyond
        return text and start[:1] == ESCAPE and len(payload) <= self._max_size - self._size + beyond

    def _take(self, data: bytes | bytearray, start: int, end: int) -> None:
        message_type = _WHOLE.get(data[start])
        protocol = self._protocol
        plain = self._header and protocol.current_size is None and protocol.state is OPEN
        deliver = self._whole
        if message_type is None and self._decompressor is not None:
            message_type, deliver = _WHOLE_COMPRESSED.get(data[start]), self._decompress
        if message_type is None or not plain:
            self._ask_protocol(data[start:end])
            return
        body = start + self._header
        mask = bytes(data[body - 4 : body])
        if end - body <= _LARGE:
            deliver(message_type, apply_mask(data[body:end], mask))
        else:
            with memoryview(data) as whole, whole[body:end] as masked:  # not copied twice
                deliver(message_type, apply_mask(masked, mask))

    def _whole(self, message_type: int, payload: bytes) -> None:
        if message_type == _TEXT and not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                self.close = NOT_UTF8
                return
        self._deliver(message_type, payload)

    def _decompress(self, message_type: int, payload: bytes) -> None:
        """Deliver a whole compressed message, or refuse it as the protocol does."""
        assert self._decompressor is not None  # noqa: S101 - for the type checker: callers have looked
        self._left -= _SLOW_FRAME_COST
        try:
            message = self._decompressor.decompressed(payload, self._max_size + self._beyond)
        except zlib.error:
            self.close = PROTOCOL_ERROR.because("decompression failed")
            return
        opcode = Opcode.TEXT if message_type == _TEXT else Opcode.BINARY
        if message is None:
            self.close = TOO_BIG
            return
        if len(message) > self._max_size and not self._fits(opcode, message):
            self.close = self._too_big(len(message))
            return
        self._left -= len(message) // _STEP
        self._whole(message_type, message)

    def _ask_protocol(self, frames: bytes | bytearray) -> None:
        was_open = self._protocol.state is OPEN
        self._left -= _SLOW_FRAME_COST
        self._protocol.receive_data(frames)
        for event in self._protocol.events_received():
            if was_open and isinstance(event, Frame):
                self._on_frame(event)

    def _on_frame(self, frame: Frame) -> None:
        opcode, payload = frame.opcode, bytes(frame.data)
        self._left -= len(payload) // _STEP
        if len(payload) > self._max_size - self._size and not self._fits(opcode, payload):
            self.close = self._too_big(len(payload))
        elif opcode is Opcode.PING:
            self._deliver(_PING, payload)
        elif opcode is Opcode.PONG:
            self._deliver(_PONG, payload)
        elif opcode is Opcode.CLOSE:
            pass  # the protocol has answered it
        elif opcode is not Opcode.CONT and frame.fin:
            self._whole(_TEXT if opcode is Opcode.TEXT else _BINARY, payload)
        else:
            self._fragment(opcode, payload, frame.fin)

    def _fragment(self, opcode: Opcode, payload: bytes, fin: bool) -> None:
        if opcode is not Opcode.CONT:
            self._type, self._start = _TEXT if opcode is Opcode.TEXT else _BINARY, b""
            self._text = codecs.getincrementaldecoder("utf-8")() if self._type == _TEXT else None
        if len(self._start) < 2:
            self._start += payload[: 2 - len(self._start)]
        self._fragments.append(payload)
        self._size += len(payload)
        if len(self._fragments) > self._max_fragments:
            self.close = TOO_MANY_FRAGMENTS
        elif self._text is not None and not _is_utf8(self._text, payload, fin):
            self.close = NOT_UTF8
        elif fin:
            message, self._fragments, self._size = b"".join(self._fragments), [], 0
            self._deliver(self._type, message)


def _is_utf8(decoder: codecs.IncrementalDecoder, payload: bytes, final: bool) -> bool:
    try:
        decoder.decode(payload, final)
    except UnicodeDecodeError:
        return False
    return True
