"""What a channel is to its process and to the kernel, whichever socket carries it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from msgspec.structs import replace

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import WebSocketOpen, WsMessageType
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.channel.encryption import ChannelCipher
from guesthouse.http_server.channel.extension import ExtensionPush
from guesthouse.http_server.channel.framing import FIRST, encode, frame, framed
from guesthouse.http_server.channel.outbox import Outbox
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.state.channels import ChannelRecord
from guesthouse.http_server.state.client_log import ClientFaultLog
from guesthouse.http_server.state.timer_wheel import NEVER

_BINARY: Final = int(WsMessageType.BINARY)


class Notify(Enum):
    """How a process is told that its channel closed."""

    CLOSED = "closed"
    """`WebSocketClose`: the client or the node closed it."""
    GONE = "gone"
    """No event: the process closed it. Only its worker is told."""
    NOTHING = "nothing"
    """Not at all: the process is gone."""
    LOST = "lost"
    """As CLOSED, unless the channel outlives its socket: nobody closed it."""


class ChannelContext(Protocol):
    """What a channel uses of its server's `Context`."""

    @property
    def client_faults(self) -> ClientFaultLog:
        """Logs faults on it, rate-limited."""

    @property
    def monotonic(self) -> Callable[[], float]:
        """The clock for deadlines."""


class ExtensionDialogue(Protocol):
    """Translates the messages of an extension's channel."""

    def deliver(self, message_type: int, payload: bytes) -> None:
        """Deliver what the extension sent."""

    def push(self, push: ExtensionPush) -> None:
        """Send a message; drops and logs it when the outbox is full."""


class Channel(ABC):
    """Base of what may be a channel: a WebSocket connection, or what outlives its sockets. It owns its outbox, and is
    the `Feeder` of its process's mailbox.

    Args:
        context: state shared by the server's connections.
    """

    __slots__ = (
        "_event", "_process", "bound_path", "channel_id", "cipher", "context", "due", "extension", "home_token",
        "messages_in", "opened_at", "outgoing", "owner", "token_family", "token_login", "window_bits",
    )  # fmt: skip

    _event: WebSocketOpen
    """How it was opened."""
    outgoing: Outbox
    """Set once it is open, as is `owner`."""
    owner: ProcessId

    def __init__(self, context: ChannelContext) -> None:
        self.context = context
        self.channel_id = 0
        self.due = NEVER
        self.opened_at = 0.0
        self.bound_path: str | None = None
        self.token_family = ""
        """Family of the token that opened it; empty without one."""
        self.token_login: str | None = None
        """Login that issued the token, if any."""
        self.home_token: str | None = None
        """The token, if another node issued it, whose process this is a channel of."""
        self.messages_in = 0
        self.window_bits = 0
        """Window of what is compressed to the client; 0 without compression."""
        self.cipher: ChannelCipher | None = None
        """Set on encrypted channels."""
        self.extension: ExtensionDialogue | None = None
        """Set on channels of extensions."""
        self._process: ProcessPort | None = None
        """Its process while it is open."""

    @property
    def is_open(self) -> bool:
        """Whether it belongs to its process."""
        return self._process is not None

    @property
    def path(self) -> str:
        """Path of the request, as in `WebSocketOpen`."""
        return self._event.path

    @abstractmethod
    def end(self, close: CloseReason | None, tell: Notify = Notify.CLOSED) -> None:
        """Close it in order. None sends a close frame without a status (RFC 6455, section 7.1.5)."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Stop delivering: the mailbox is full."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Go on delivering: the mailbox has room."""

    def reopen(self, process: ProcessPort) -> None:
        """Post the open channel to the restarted process. What still counts as waiting reduces its credit."""
        self._process = process
        process.post_open(replace(self._event, resumed=True), self.outgoing.reset())

    def framed(self, message_type: int, payload: bytes) -> bytes:
        """Encode a message for this client: encrypted or compressed as negotiated."""
        if self.cipher is None:
            if not self.window_bits:
                return framed(FIRST[message_type], payload)
            return encode(message_type, payload, self.window_bits)
        return self._sealed(self.cipher, message_type, payload)

    def _sealed(self, cipher: ChannelCipher, message_type: int, payload: bytes) -> bytes:
        if message_type > _BINARY:
            return frame(message_type, payload)
        return frame(_BINARY, cipher.encrypt(payload))

    def grant_credit(self, size: int) -> None:
        """See `outbox.Owner`."""
        if self._process is not None:
            self._process.grant_credit(self.channel_id, size)

    def too_slow(self) -> None:
        """See `outbox.Owner`."""
        self.end(close_codes.TOO_SLOW)

    def dropped(self) -> None:
        """See `outbox.Owner`."""
        self.complain("a message was dropped for newer ones: its client reads too slowly")

    def complain(self, fault: str) -> None:
        """Log a fault on this channel, rate-limited."""
        self.context.client_faults.log(str(self.owner), fault, self.context.monotonic())

    def record(self) -> ChannelRecord:
        """Status of the channel, for `guesthouse channels`."""
        return ChannelRecord(
            self.channel_id,
            self.owner,
            self._event.path,
            self._event.forwarded_for or self._event.source_socket_addr or "",
            self.opened_at,
            self.messages_in,
            self.outgoing.messages,
            self.outgoing.waiting,
            bound_path=self.bound_path,
        )
