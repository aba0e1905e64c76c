"""The fake host's channels: who owns them, what may be pushed, what the client got."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from guesthouse_sdk._native import types
from guesthouse_sdk._native.http_server import ChannelPolicy, CloseError, PushError
from guesthouse_sdk._native.types import Err, WsMessageType

MAX_CONTROL_BYTES: Final = 125
MAX_REASON_BYTES: Final = 123
PUSH_OVERHEAD: Final = 64
"""Bytes that a message takes in an outbox besides its payload."""
_CONTROL: Final = {WsMessageType.PING, WsMessageType.PONG, WsMessageType.CLOSE}


@dataclass(eq=False)
class FakeChannel:
    """A client's end of a channel.

    Attributes:
        id: the channel id, as the process knows it.
        received: what the client got: str for text, bytes for binary.
        controls: the pings and pongs it got, as `("Ping", payload)`.
        closed: code and reason, once the process or the node has closed it.
    """

    id: int
    opened: types.WebSocketOpen
    bound_path: str | None
    post: Callable[[types.HttpServerRequest, bytes | None], None]
    message_bytes: int
    outbox_bytes: int
    received: list[str | bytes] = field(default_factory=list)
    controls: list[tuple[str, bytes]] = field(default_factory=list)
    closed: tuple[int, str] | None = None
    left: bool = False
    known: bool = False
    """Whether the process was told of it and not yet of its end: only then is it its own."""
    extension: Callable[[bytes], bytes | None] | None = None
    """Set it to play an extension: it is given what the process pushes in their framing, and answers."""
    policy: ChannelPolicy = ChannelPolicy.REFUSE
    """What the process chose for a full outbox."""
    claims: str | None = None
    """What its client's token says of it, as JSON."""
    away: bool = False
    """Whether its client has lost its connection, and may come back."""
    tell_presence: Callable[[int, bool], None] = lambda _, __: None
    _reading: bool = True
    _outbox: list[tuple[WsMessageType, bytes]] = field(default_factory=list)

    def send_text(self, text: str) -> None:
        """The client sends a text message."""
        self.send(WsMessageType.TEXT, text.encode())

    def send_bytes(self, payload: bytes) -> None:
        """The client sends a binary message."""
        self.send(WsMessageType.BINARY, payload)

    def send(self, message_type: WsMessageType, payload: bytes) -> None:
        """The client sends a message of any type.

        Raises:
            RuntimeError: the channel is closed, or the node would refuse the message.
        """
        if not self.open:
            raise RuntimeError(f"channel {self.id} is closed: {self.closed or 'the client left'}")
        if len(payload) > self.message_bytes:
            raise RuntimeError(f"the node would close channel {self.id} with 1009: the message is too big")
        push = types.WebSocketPush(self.id, message_type)
        self.post(types.HttpServerRequest_WebSocketPush(push), payload)

    def close(self) -> None:
        """The client leaves; may be called twice."""
        if self.open:
            self.left = True
            self.post(types.HttpServerRequest_WebSocketClose(self.id), None)

    def go_away(self) -> None:
        """The client of a resumable channel loses its connection: what is pushed waits in its outbox."""
        if self.open and not self.away:
            self.away = True
            self.stop_reading()
            self.tell_presence(self.id, True)

    def come_back(self) -> None:
        """The client is there again, and reads what waits."""
        if self.open and self.away:
            self.away = False
            self.resume_reading()
            self.tell_presence(self.id, False)

    @property
    def open(self) -> bool:
        """Whether both ends are there."""
        return self.closed is None and not self.left

    def stop_reading(self) -> None:
        """The client reads no more: what is pushed waits in its outbox, until that is full."""
        self._reading = False

    def resume_reading(self) -> None:
        """The client reads what waits, and all that follows."""
        self._reading = True
        self.read()

    def read(self) -> None:
        """The client reads what waits."""
        outbox, self._outbox = self._outbox, []
        for message_type, payload in outbox:
            self._take(message_type, payload)

    def push(self, message_type: WsMessageType, payload: bytes) -> PushError | None:
        """The process pushes a message; returns why it was refused."""
        while self._waiting + len(payload) + PUSH_OVERHEAD > self.outbox_bytes:
            if self.policy is ChannelPolicy.CLOSE:
                self._end_for_slowness()
                return None
            if self.policy is not ChannelPolicy.DROP_OLDEST or not self._outbox:
                return PushError.CHANNEL_FULL
            del self._outbox[0]
        if message_type is WsMessageType.CLOSE:
            self._close_by(payload)
        elif self.open and self._reading:
            self._take(message_type, payload)
        elif self.open:
            self._outbox.append((message_type, payload))
        return None

    def end(self, code: int, reason: str) -> None:
        """The process or the node closes the channel."""
        self.known = False
        if self.open:
            self.closed = (code, reason)

    @property
    def _waiting(self) -> int:
        return sum(len(each) + PUSH_OVERHEAD for _, each in self._outbox)

    def _end_for_slowness(self) -> None:
        self.closed = (1013, "the client reads too slowly")
        self.post(types.HttpServerRequest_WebSocketClose(self.id), None)

    def _close_by(self, payload: bytes) -> None:
        """Obey a close message."""
        code = int.from_bytes(payload[:2], "big") if payload else 1000
        self.end(code, payload[2:].decode())

    def _take(self, message_type: WsMessageType, payload: bytes) -> None:
        if message_type is WsMessageType.TEXT:
            self.received.append(payload.decode())
        elif message_type is WsMessageType.BINARY:
            self.received.append(payload)
        else:
            self.controls.append((message_type.name.capitalize(), payload))
            if message_type is WsMessageType.PING:  # as every client does (RFC 6455, section 5.5.2)
                self.send(WsMessageType.PONG, payload)


class ChannelTable:
    """All channels of the fake host. Those that are not `known` are as good as not there."""

    def __init__(self, message_bytes: int) -> None:
        self.all: dict[int, FakeChannel] = {}
        self._message_bytes = message_bytes

    def push(self, channel_id: int, message_type: WsMessageType, payload: bytes) -> PushError | None:
        """Push to one channel; returns why it was refused."""
        if message_type in _CONTROL:
            if len(payload) > MAX_CONTROL_BYTES:
                return PushError.PING_PONG_TOO_LONG
            if message_type is WsMessageType.CLOSE and not is_close(payload):
                return PushError.BAD_CLOSE
        elif len(payload) > self._message_bytes:
            return PushError.TOO_BIG
        if message_type is WsMessageType.TEXT and not _is_utf8(payload):
            return PushError.NOT_UTF8
        channel = self.find(channel_id)
        return PushError.CHANNEL_NOT_FOUND if channel is None else channel.push(message_type, payload)

    def close(self, channel_id: int, code: int | None, reason: str) -> None:
        """Close one channel for its process.

        Raises:
            Err: with the `close-error`.
        """
        channel = self.find(channel_id)
        if channel is None:
            raise Err(CloseError.CHANNEL_NOT_FOUND)
        if code is not None and not may_send(code):
            raise Err(CloseError.BAD_CODE)
        if len(reason.encode()) > MAX_REASON_BYTES:
            raise Err(CloseError.REASON_TOO_LONG)
        channel.end(1000 if code is None else code, reason)

    def on(self, path: str) -> list[int]:
        """The channels of a path, as it was bound or as it was asked for."""
        return [
            channel.id
            for channel in self.all.values()
            if channel.known and path in (channel.opened.path, channel.bound_path)
        ]

    def find(self, channel_id: int) -> FakeChannel | None:
        """The channel, if the process may know of it."""
        channel = self.all.get(channel_id)
        return channel if channel is not None and channel.known else None


def is_close(payload: bytes) -> bool:
    """Whether a close may carry it: nothing, or a code that may be sent and a reason in UTF-8."""
    code = int.from_bytes(payload[:2], "big")
    return not payload or (len(payload) >= 2 and may_send(code) and _is_utf8(payload[2:]))


def may_send(code: int) -> bool:
    """Whether an endpoint may send this close code (RFC 6455, section 7.4)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
