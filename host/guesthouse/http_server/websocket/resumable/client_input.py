"""What a resumable channel takes from its client: messages, which are counted, and what is said of them."""

from __future__ import annotations

from typing import Any, Final

from guesthouse.core.messages import WsMessageType
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.channel.carrying_socket import CarryingSocket
from guesthouse.http_server.channel.framing import frame
from guesthouse.http_server.channel.session_channel import SessionChannel
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.context import Context
from guesthouse.http_server.routing.origin import counted_as
from guesthouse.http_server.sessions.control_messages import (
    ESCAPE,
    MAX_COUNT,
    BadControl,
    is_control,
    read_control,
)
from guesthouse.http_server.sessions.retained import BadCount
from guesthouse.http_server.sessions.session import Session
from guesthouse.http_server.websocket.resumable.resumable_controls import take_control
from guesthouse.http_server.websocket.resumable.retaining_outbox import RetainingOutbox

_TEXT: Final = int(WsMessageType.TEXT)
_BINARY: Final = int(WsMessageType.BINARY)
_PONG: Final = int(WsMessageType.PONG)


class ClientInput(SessionChannel):
    """Base of a `ResumableChannel`: what comes from its client, and when it is read.

    Args:
        context: the server's state.
        session: of the channel.
        socket: the first one; None if its client is away.
    """

    __slots__ = ("_paused", "_peer", "_socket", "realm")

    context: Context
    outgoing: RetainingOutbox

    def __init__(self, context: Context, session: Session, socket: CarryingSocket[Any] | None) -> None:
        super().__init__(context)
        self.session = session
        self.user = ""
        self.realm: str | None = None
        """The sub-domain that its tokens are for."""
        self._socket = socket
        self._peer = Peer("", 0, "") if socket is None else socket.peer
        self._paused = False

    def deliver(self, message_type: int, payload: bytes) -> None:
        """Hand a message of the client to the process."""
        process = self._process
        if process is None:
            return
        if message_type > _BINARY or payload[:1] == ESCAPE:
            self._deliver_odd(process, message_type, payload)
            return
        session = self.session
        session.received += 1
        process.post_push(self.channel_id, message_type, payload, self)
        if session.received == session.acknowledge_at:
            self.acknowledge()

    def _deliver_odd(self, process: ProcessPort, message_type: int, payload: bytes) -> None:
        """What is no ordinary message, or only looks as if it were none."""
        if message_type > _BINARY:
            if message_type == _PONG and self._socket is not None and self._socket.was_pinged(payload):
                return
            self.messages_in += 1
            process.post_push(self.channel_id, message_type, payload, self)
        elif message_type == _TEXT and is_control(payload):
            self._take_control(payload)
        else:
            payload = payload[1:] if message_type == _TEXT else payload
            self._count(process, message_type, payload)

    def _count(self, process: ProcessPort, message_type: int, payload: bytes) -> None:
        session = self.session
        session.received += 1
        process.post_push(self.channel_id, message_type, payload, self)
        if session.received == session.acknowledge_at:
            self.acknowledge()

    def deliver_encrypted(self, message_type: int, payload: bytes) -> None:
        """The same on an encrypted channel, where every text is a control message."""
        process, socket = self._process, self._socket
        if process is None or socket is None or self.cipher is None:
            return
        if message_type > _BINARY:
            self._deliver_odd(process, message_type, payload)
        elif message_type == _TEXT:
            if payload[:1] == ESCAPE and is_control(payload):
                self._take_control(payload)
            else:
                socket.refuse(close_codes.BAD_CIPHERTEXT.because("it is text"))
        else:
            opened = self.cipher.decrypt(payload)
            if isinstance(opened, CloseReason):
                socket.refuse(opened)
            else:
                self._count(process, _BINARY, opened)

    def _take_control(self, payload: bytes) -> None:
        socket = self._socket
        if socket is None:
            return
        try:
            take_control(self, socket, read_control(payload))
        except BadControl as error:
            socket.refuse(close_codes.BAD_CONTROL.because(str(error)))
        except BadCount:
            socket.refuse(close_codes.BAD_COUNT)

    def acknowledge(self) -> None:
        """Tell the client what was received; later, if it does not read."""
        if self._socket is not None and self.session.received > MAX_COUNT:
            self._socket.refuse(close_codes.BAD_COUNT)
        elif self._reads():
            self.say(self.session.acknowledgement())

    def say(self, control: bytes) -> None:
        """Send a control message. A client that reads nothing of what waits for it gets none."""
        if self._socket is not None and self._reads():
            self._socket.transport.write(frame(_TEXT, control))

    def _reads(self) -> bool:
        socket, window = self._socket, self.context.settings.connections.outbox_bytes
        return socket is not None and socket.transport.get_write_buffer_size() < window

    def pause_reading(self) -> None:
        """The mailbox is full: neither this socket nor the next is read."""
        self._paused = True
        if self._socket is not None:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        """The mailbox has room again."""
        self._paused = False
        if self._socket is not None:
            self._socket.resume_reading()

    def belong_to(self, family: str, login: str | None, realm: str | None) -> None:
        """Its token, which has been counted."""
        self.token_family, self.token_login, self.realm = family, login, realm
        self.user = f"token {family}" if family else f"address {self.address}"

    @property
    def address(self) -> str:
        """What its client is counted by where addresses are."""
        return counted_as(self._event.forwarded_for or self._peer.address)
