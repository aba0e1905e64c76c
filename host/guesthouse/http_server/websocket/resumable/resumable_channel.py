"""A resumable channel: what stays when its sockets come and go (`docs/resume.md`).

To the process and the kernel it is a channel as any other. Its socket is a `WebSocketConnection`, which hands it what
the client sends, and tells it how it ends: by a close, which ends the channel, or without one, which does not.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec.structs import replace

from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.core.messages import WebSocketOpen, WsMessageType
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.channel.carrying_socket import CarryingSocket
from guesthouse.http_server.channel.channel import Notify
from guesthouse.http_server.channel.credit_window import relay_limits
from guesthouse.http_server.channel.encryption import ChannelCipher
from guesthouse.http_server.channel.framing import encode, frame
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.context import Context
from guesthouse.http_server.routing.origin import shown_address
from guesthouse.http_server.sessions.control_messages import ESCAPE
from guesthouse.http_server.sessions.handed_channel import HandedChannel, HandedClose
from guesthouse.http_server.sessions.session import Phase, Session
from guesthouse.http_server.state.channels import ChannelRecord
from guesthouse.http_server.state.timer_wheel import NEVER
from guesthouse.http_server.websocket.resumable.answers import resumed
from guesthouse.http_server.websocket.resumable.client_input import ClientInput
from guesthouse.http_server.websocket.resumable.presence import tell_presence
from guesthouse.http_server.websocket.resumable.retaining_outbox import NOWHERE, RetainingOutbox

_HANDED_BYTES: Final = 1024
"""What is said of a channel beside its messages."""
_TEXT: Final = int(WsMessageType.TEXT)


Socket: TypeAlias = "CarryingSocket[ResumableChannel]"


class ResumableChannel(ClientInput):
    """One channel over all its sockets. It is the `Feeder` of its process's mailbox.

    Args:
        context: the server's state.
        session: a new one, or that of a channel that another run of the node opened.
        owner: whose channel it is.
        event: how it was opened; its `channel_id` and address are set here.
        socket: the first one; None if its client is away.
        reserved: the id that was reserved for it; 0 when none was.
    """

    __slots__ = ("_close", "_ended", "_forgotten")

    def __init__(
        self,
        context: Context,
        session: Session,
        owner: ProcessId,
        event: WebSocketOpen,
        socket: Socket | None,
        reserved: int = 0,
    ) -> None:
        super().__init__(context, session, socket)
        self.owner = owner
        self.bound_path = event.bound_path
        self.window_bits = 0 if socket is None else socket.window_bits
        self._forgotten = False
        self._ended = False
        """Whether the node or the process closed it, with `_close`, of which the client is told also later."""
        self._close: CloseReason | None = None
        self.channel_id = context.channels.add(self, reserved)
        self.opened_at = context.monotonic()
        self._event = replace(event, channel_id=self.channel_id)
        limits = context.settings.connections
        transport = NOWHERE if socket is None else socket.transport
        batch, more = relay_limits(limits.outbox_bytes) if isinstance(owner, ForeignProcess) else (0, 0)
        self.outgoing = RetainingOutbox(self, transport, limits.outbox_bytes + more, session.kept, batch)

    def begin(self, process: ProcessPort, cipher: ChannelCipher | None) -> None:
        """The client has its key: tell the process."""
        context, socket = self.context, self._socket
        if socket is None:
            return
        self._process, self.cipher = process, cipher
        context.sessions.add(self)
        self._at(socket, self._event.forwarded_for)
        socket.serve(self, process)
        context.deadlines.set(self, self.opened_at + context.settings.connections.acknowledge_seconds)
        process.post_open(self._event, context.settings.connections.outbox_bytes)

    def _at(self, socket: Socket, forwarded_for: str | None) -> None:
        self._peer = socket.peer
        source = shown_address(socket.peer.address, socket.peer.port)
        self._event = replace(self._event, source_socket_addr=source, forwarded_for=forwarded_for)

    # To the client.

    @property
    def subprotocol(self) -> str | None:
        """What its process speaks."""
        return self._event.subprotocol

    def framed(self, message_type: int, payload: bytes) -> bytes:
        """A message as this client gets it."""
        if self.cipher is not None:
            return self._sealed(self.cipher, message_type, payload)
        if payload[:1] == ESCAPE and message_type == _TEXT:
            payload = ESCAPE + payload
        return encode(message_type, payload, self.window_bits)

    def kept_changed(self) -> None:
        """See `RetainingOwner`."""
        self.context.sessions.resize(self, self.session.kept.size)

    def record(self) -> ChannelRecord:
        """See `Channel`."""
        counted, away = self.messages_in + self.session.received, self.session.phase is not Phase.LIVE
        return replace(super().record(), messages_in=counted, resumable=True, away=away)

    # Its sockets.

    def lost(self, socket: object) -> None:
        """The socket is gone without a close. What was read of it may still come."""
        if self._socket is not socket or self.session.phase is not Phase.LIVE:
            return
        context = self.context
        self.session.cut()
        self.outgoing.cut()
        context.deadlines.set(self, context.monotonic() + context.settings.connections.resume_seconds)
        tell_presence(context, self, away=True)
        context.sessions.leave(self, self.session.kept.size)

    def left(self, socket: object, tell: Notify, reason: bytes | None) -> None:
        """The socket is no channel's any more."""
        if self._socket is not socket:
            return
        if tell is Notify.LOST:
            self.lost(socket)
            self._socket = None
        else:
            self._finish(tell, reason)

    def resume(self, socket: Socket, forwarded_for: str | None, received: int) -> CloseReason | None:
        """The client has come back by another socket. Returns how to close that when it cannot be."""
        session, context = self.session, self.context
        if not session.kept.can_resume(received):
            return close_codes.BAD_COUNT
        was_away = session.phase is Phase.AWAY
        before, self._socket = self._socket, None
        if before is not None:
            before.supersede(close_codes.TAKEN_OVER)
        self.outgoing.cut()
        session.cut()
        key = session.resume(received)
        recode = socket.window_bits != self.window_bits
        self._socket, self.window_bits = socket, socket.window_bits
        self._at(socket, forwarded_for)
        process = self._process
        if process is None:
            self._tell_end(socket, key, recode=recode)
            return None
        context.sessions.come_back(self)
        socket.serve(self, process)
        socket.transport.write(frame(_TEXT, resumed(self, key)))
        self.outgoing.attach(socket.transport, recode=recode)
        context.deadlines.set(self, context.monotonic() + context.settings.connections.acknowledge_seconds)
        if was_away:
            tell_presence(context, self, away=False)
        if self._paused:
            socket.pause_reading()
        return None

    def _tell_end(self, socket: Socket, key: str, *, recode: bool) -> None:
        """The channel was closed while the client was away: it gets what it lacks, and the close."""
        socket.serve(self, None)
        socket.transport.write(frame(_TEXT, resumed(self, key)))
        self.outgoing.attach(socket.transport, recode=recode)
        self.outgoing.end()
        self.outgoing.cut()
        self.session.cut()
        socket.end(self._close)

    # The next run of the node.

    def let_go(self) -> None:
        """The node ends, and its next run goes on with the channel: its client comes back to that."""
        if self._forgotten:
            return
        context, live = self.context, self.session.phase is Phase.LIVE
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.let_go()
        self.session.cut()
        self.outgoing.cut()
        if live:
            context.deadlines.set(self, context.monotonic() + context.settings.connections.resume_seconds)
            context.sessions.leave_with_all(self, self.session.kept.size)

    def handed(self) -> HandedChannel:
        """What the next run goes on with, after `let_go`."""
        session, now = self.session, self.context.monotonic()
        close = self._close or CloseReason(0, "")
        return HandedChannel(
            channel_id=self.channel_id,
            owner=str(self.owner),
            event=self._event,
            realm=self.realm,
            token_family=self.token_family,
            token_login=self.token_login,
            user=self.user,
            window_bits=self.window_bits,
            open_seconds=max(0.0, now - self.opened_at),
            left_seconds=max(0.0, self.due - now),
            messages_in=self.messages_in,
            messages_out=self.outgoing.messages,
            session_id=session.keys.id,
            keys=session.keys.digests,
            received=session.received,
            first=session.kept.first,
            highest=session.kept.highest,
            entries=session.kept.waiting(),
            cipher=None if self.cipher is None else self.cipher.state(),
            closed=HandedClose(close.code, close.reason) if session.phase is Phase.OVER else None,
        )

    def handed_bytes(self) -> int:
        """About what `handed` takes, encoded."""
        event, nonces = self._event, 0 if self.cipher is None else self.cipher.nonce_bytes
        about_it = 2 * len(event.path) + len(event.claims or "") + nonces
        return _HANDED_BYTES + about_it + self.session.kept.size

    def go_on(self, handed: HandedChannel, process: ProcessPort | None, away_seconds: float) -> None:
        """The channel was opened by another run of the node: wait for its client.

        Args:
            handed: what that run said of it.
            process: whose channel it is; None if it is over.
            away_seconds: how long ago that was.
        """
        context = self.context
        self.token_family, self.token_login = handed.token_family, handed.token_login
        self.realm, self.user, self.window_bits = handed.realm, handed.user, handed.window_bits
        if handed.cipher is not None:
            self.cipher = ChannelCipher(context.settings.connections.encrypted_messages, handed.cipher)
        self.opened_at -= handed.open_seconds + away_seconds
        self.messages_in, self.outgoing.messages = handed.messages_in, handed.messages_out
        context.sessions.add(self)
        self._process = process
        if handed.closed is not None:
            self._ended = True
            self._close = (
                CloseReason(handed.closed.code, handed.closed.reason) if handed.closed.code else None
            )
            context.channels.remove(self.channel_id)
        elif handed.token_family:
            context.token_channels.take(handed.token_family, None)
        context.deadlines.set(self, context.monotonic() + max(0.0, handed.left_seconds - away_seconds))
        context.sessions.leave_with_all(self, self.session.kept.size)

    # Its end.

    def end(self, close: CloseReason | None, tell: Notify = Notify.CLOSED) -> None:
        """Close the channel in order. A client that is away is told when it comes back within the time for it."""
        if self.session.phase is Phase.OVER:
            return
        self._close, self._ended = close, True
        socket = self._socket
        if socket is not None and self.session.phase is Phase.LIVE:
            socket.end(close, tell)
        self._finish(tell, None)

    def revoke(self, close: CloseReason) -> None:
        """Close it, and keep nothing for a client that comes back."""
        self.end(close)
        self.forget()

    def closed(self, socket: object) -> None:
        """The client of that socket has closed it in order: it has all that it was sent."""
        if self._socket is socket and self.session.phase is Phase.OVER:
            self.forget()

    def give_up(self, limit: str) -> None:
        """See `session_table.HeldSession`."""
        if self._process is not None:
            self.complain(
                f"a channel was closed while its client was away: there are too many for connections.{limit}"
            )
        self._end()

    def _end(self) -> None:
        self._end_socket()
        self._finish(Notify.CLOSED, None)
        self.forget()

    def on_deadline(self, now: float) -> float:
        """The time of a client that is away is over; or one that is there is to be told what was received."""
        if self.session.phase is not Phase.LIVE:
            if self._process is not None:
                self.context.sessions.given_up["resume_seconds"] += 1
            self._end()
            return NEVER
        if self.session.owes:
            self.acknowledge()
        return now + self.context.settings.connections.acknowledge_seconds

    def _finish(self, tell: Notify, reason: bytes | None) -> None:
        """Stop being a channel, which the process hears of at most once."""
        process, self._process = self._process, None
        if process is None:
            return
        context, live = self.context, self.session.phase is Phase.LIVE
        self.session.phase = Phase.OVER
        if not live:
            self._end_socket()  # of which something may still wait for the mailbox
        self.outgoing.end()
        context.channels.remove(self.channel_id)
        if self.token_family:
            context.token_channels.release(self.token_family)
        if tell is Notify.CLOSED:
            process.post_close(self.channel_id, reason)
        elif tell is Notify.GONE:
            process.post_channel_gone(self.channel_id)
        if not self._ended:
            self.forget()
        elif live:
            context.deadlines.set(self, context.monotonic() + context.settings.connections.resume_seconds)
            context.sessions.leave(self, self.session.kept.size)

    def _end_socket(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.supersede(close_codes.NO_SUCH_SESSION)

    def forget(self) -> None:
        """Nobody can come back to it. What it cost is freed at once: no cycle of references is left."""
        if self._forgotten:
            return
        self._forgotten, self._socket = True, None
        self.context.sessions.forget(self)
        self.context.deadlines.set(self, NEVER)
        self.session.kept.clear()
        self.outgoing.break_cycle()
        del self.outgoing
