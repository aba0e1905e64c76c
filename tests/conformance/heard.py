"""What a server sent, held to the rules for servers (RFC 6455, sections 5 and 7; RFC 7692). Pure."""

from __future__ import annotations

from .case import Message, shown
from .deflate import Agreed, Inflater, Violation
from .frames import MAX_CONTROL, RSV1, Frame, FrameReader, Opcode, shortest_form
from .opening import Answer, check_upgrade, read_head

_END_OF_HEAD = b"\r\n\r\n"
_MAX_HEAD = 65536


class Heard:
    """Everything that one server sent on one connection, put together as messages.

    It stops at the first thing that a server must not do; `violation` says what that was.
    """

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.messages: list[Message] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.closed = False
        """A close frame came."""
        self.code: int | None = None
        self.reason = b""
        self.ended = False
        """The TCP connection is closed from the other side."""
        self.violation: str | None = None
        self._head = bytearray()
        self._reader = FrameReader()
        self._inflater: Inflater | None = None
        self._parts: list[bytes] = []
        self._opcode = 0
        self._compressed = False

    @property
    def over(self) -> bool:
        """Whether nothing more is to be hoped for."""
        return self.closed or self.ended or self.violation is not None

    def agree(self, agreed: Agreed | None) -> None:
        """Expect compressed messages from now on."""
        self._inflater = None if agreed is None else Inflater(agreed)

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        if self.violation is not None:
            return
        try:
            if self.answer is None:
                data = self._receive_head(data)
            if self.answer is not None and self.answer.status == 101:
                for frame in self._reader.feed(data):
                    self._on_frame(frame)
        except Violation as violation:
            self.violation = str(violation)

    def _receive_head(self, data: bytes) -> bytes:
        self._head += data
        end = self._head.find(_END_OF_HEAD)
        if end < 0:
            if len(self._head) > _MAX_HEAD:
                raise Violation("the server's answer has no end")
            return b""
        rest = bytes(self._head[end + len(_END_OF_HEAD) :])
        self.answer = read_head(bytes(self._head[:end]))
        if self.answer.status == 101:
            check_upgrade(self.answer)
        return rest

    def _on_frame(self, frame: Frame) -> None:
        self._check(frame)
        if frame.opcode == Opcode.PING:
            self.pings.append(frame.payload)
        elif frame.opcode == Opcode.PONG:
            self.pongs.append(frame.payload)
        elif frame.opcode == Opcode.CLOSE:
            self._on_close(frame.payload)
        else:
            self._on_data(frame)

    def _check(self, frame: Frame) -> None:
        if self.closed:
            raise Violation("the server sent a frame after its close frame")
        if frame.masked:
            raise Violation("the server masked a frame")
        if frame.form != shortest_form(len(frame.payload)):
            raise Violation("the server wrote a length in a longer form than it needs")
        if frame.opcode not in Opcode.__members__.values():
            raise Violation(f"the server sent a frame of opcode {frame.opcode}")
        if frame.opcode >= Opcode.CLOSE and (not frame.fin or len(frame.payload) > MAX_CONTROL):
            raise Violation("the server sent a control frame in fragments, or one of over 125 bytes")
        first_of_data = frame.opcode in (Opcode.TEXT, Opcode.BINARY)
        if frame.rsv not in (0, RSV1 if self._inflater is not None and first_of_data else 0):
            raise Violation(f"the server set the reserved bits to {frame.rsv:03b} in opcode {frame.opcode}")

    def _on_close(self, payload: bytes) -> None:
        self.closed = True
        if len(payload) == 1:
            raise Violation("the server sent a close frame with half a code")
        self.code = int.from_bytes(payload[:2], "big") if payload else None
        self.reason = payload[2:]
        _check_utf8(self.reason, "close reason")

    def _on_data(self, frame: Frame) -> None:
        begins = frame.opcode != Opcode.CONTINUATION
        if begins == bool(self._opcode):
            raise Violation("the server's fragments are out of order")
        if begins:
            self._opcode = frame.opcode
            self._compressed = bool(frame.rsv)
        self._parts.append(frame.payload)
        if frame.fin:
            self._on_message(b"".join(self._parts))

    def _on_message(self, payload: bytes) -> None:
        if self._compressed and self._inflater is not None:
            payload = self._inflater.decompress(payload)
        if self._opcode == Opcode.TEXT:
            _check_utf8(payload, "text message")
        self.messages.append(Message(self._opcode, payload))
        self._parts.clear()
        self._opcode = 0

    def __str__(self) -> str:
        parts = [str(message) for message in self.messages[:4]]
        parts += [f"pong {shown(payload)}" for payload in self.pongs[:4]]
        if len(self.messages) > 4 or len(self.pongs) > 4:
            parts.append(f"{len(self.messages)} messages and {len(self.pongs)} pongs in all")
        if self.answer is None:
            parts.append("no HTTP answer")
        elif self.answer.status != 101:
            parts.append(f"HTTP status {self.answer.status}")
        if self.closed:
            parts.append(
                f"close frame {self.code or 'without code'} {shown(self.reason) if self.reason else ''}"
            )
        parts.append("TCP closed" if self.ended else "TCP left open")
        if self.violation is not None:
            parts.append(self.violation)
        return ", ".join(part.strip() for part in parts)


def _check_utf8(payload: bytes, what: str) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Violation(f"the server's {what} is not UTF-8") from None
