"""The socket of one WebSocket, and how it ends: in order, by a broken rule, or because its time is over."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final

from websockets import frames
from websockets.http11 import Request, Response
from websockets.protocol import OPEN

from guesthouse.core.messages import WsMessageType
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.close_codes import Close, Refusal
from guesthouse.http_server.refusals import HSTS
from guesthouse.http_server.state.context import Context
from guesthouse.http_server.state.timer_wheel import NEVER
from guesthouse.http_server.websocket.frame_reader import MessageReader
from guesthouse.http_server.websocket.framing import frame
from guesthouse.http_server.websocket.keepalive import Keepalive, Look
from guesthouse.http_server.websocket.outbox import Outbox
from guesthouse.http_server.websocket.protocol import Protocol
from guesthouse.linux.tcp_info import is_peer_gone

_PING: Final = int(WsMessageType.PING)


class Notify(Enum):
    """What a process hears of the end of its channel."""

    CLOSED = "closed"
    """`WebSocketClose`: the client or the node ended it."""
    GONE = "gone"
    """No event; only its worker forgets the channel: the process asked for the end."""
    NOTHING = "nothing"
    """There is no process any more."""


class ChannelSocket(asyncio.Protocol):
    """What of a WebSocket is the same before, while and after it is a channel. It has one deadline at a time.

    Args:
        context: the server's state.
        peer: who is at the other end.
        protocol: of this connection.
    """

    __slots__ = (
        "_ending", "_inbound", "_keepalive", "_process", "_protocol", "_transport",
        "channel_id", "context", "due", "outgoing", "peer",
    )  # fmt: skip

    _transport: asyncio.Transport
    _inbound: MessageReader
    outgoing: Outbox
    """Once it is a channel."""

    def __init__(self, context: Context, peer: Peer, protocol: Protocol) -> None:
        limits = context.settings.connections
        self.context = context
        self.peer = peer
        self.channel_id = 0
        self.due = NEVER
        self._protocol = protocol
        self._process: ProcessPort | None = None
        """Whose channel it is, while it is one."""
        self._keepalive = Keepalive(limits.ping_seconds, limits.pong_seconds, context.monotonic())
        self._ending = False

    @property
    def _closing(self) -> bool:
        return self._ending or self._protocol.state > OPEN

    def end(self, close: Close | None, tell: Notify = Notify.CLOSED) -> None:
        """Close the channel in order: a close frame (with no status for None; RFC 6455, section 7.1.5),
        then time for the client to answer it.
        """
        self._leave(tell)
        if self._closing:
            return
        if close is None:
            self._protocol.send_close()
        else:
            self._protocol.send_close(close.code, close.reason)
        self._flush()
        if self._inbound.paused:
            self._inbound.paused = False
            self._transport.resume_reading()
        self._expect_end()

    def _fail(self, close: Close) -> None:
        """The client broke a rule: a close frame, and nothing of it is read any more."""
        self._leave(Notify.CLOSED)
        if not self._protocol.eof_sent:
            self._protocol.fail_with(close)
        self._flush()
        self._linger()

    def _blame(self, close: Close | frames.Close) -> None:
        """Log that the client is the reason for its end."""
        reason = close.reason.partition(":")[0]
        self.context.log_client_fault(
            self.peer.address, f"a WebSocket was closed with {close.code}: {reason}"
        )

    def _finish(self) -> None:
        """The closing handshake is done, or the protocol failed the connection."""
        if self._protocol.close_rcvd is not None:
            self._ending = True
            self._transport.close()
            self._expect_end()
        else:
            self._linger()

    def _linger(self) -> None:
        """Send nothing more, and throw away what still comes: closing at once would reset the
        connection under a client that is still sending, and lose the close frame.
        """
        self._ending = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._expect_end()

    def _expect_end(self) -> None:
        limits = self.context.settings.connections
        self.context.deadlines.set(self, self.context.monotonic() + limits.close_seconds)

    def _leave(self, tell: Notify) -> None:
        """Stop being a channel, which the process hears of at most once."""
        process, self._process = self._process, None
        if process is None:
            if self.context.awaiting_key.pop(self.channel_id, None) is not None:
                self.context.channels.release(self.channel_id)
            return
        self.outgoing.end()
        self.context.channels.remove(self.channel_id)
        if tell is Notify.CLOSED:
            said = self._protocol.close_rcvd
            process.post_close(self.channel_id, None if said is None else said.reason.encode())
        elif tell is Notify.GONE:
            process.post_channel_gone(self.channel_id)

    def abort(self) -> None:
        """Close the socket now."""
        self._transport.abort()

    def _reject(self, refusal: Refusal, request: Request) -> None:
        self._refuse(self._protocol.reject(refusal.status, refusal.reason + "\n"), request)

    def _refuse(self, response: Response, request: Request) -> None:
        """Answer an upgrade request that was not granted."""
        if self.context.gate.scheme(request.headers, self.peer) == "https":
            response.headers[HSTS[0]] = HSTS[1]
        response.headers["X-Content-Type-Options"] = "nosniff"
        self._protocol.send_response(response)
        self._flush()
        self._linger()

    def _flush(self) -> None:
        """Send what the protocol wants sent. While the connection is open that is pongs; a client that
        reads none of what waits for it gets none.
        """
        data = b"".join(self._protocol.data_to_send())
        window = self.context.settings.connections.outbox_bytes
        if data and (self._protocol.state is not OPEN or self._transport.get_write_buffer_size() < window):
            self._transport.write(data)

    # Time.

    def on_deadline(self, now: float) -> float:
        """A deadline passed: of the register message, the idle time, the pong or the close handshake."""
        if self._closing:
            self._transport.abort()
            return NEVER
        if self._process is None and not self._inbound.paused:
            late = close_codes.NO_KEY if self.channel_id else close_codes.REGISTER_LATE
            self._blame(late)
            self.end(late)
            return self.due
        if self._inbound.paused:
            return self._look_unheard(now)
        look, again = self._keepalive.look(now)
        if look is Look.GIVE_UP:
            self._blame(close_codes.NO_PONG)
            self._fail(close_codes.NO_PONG)
            return self.due
        if look is Look.PING:
            self._transport.write(frame(_PING, self._keepalive.ping or b""))
        return again

    def _look_unheard(self, now: float) -> float:
        keepalive = self._keepalive
        look, again = keepalive.look_unheard(now, left=is_peer_gone(self._transport, keepalive.answer))
        if look is not Look.GIVE_UP:
            return again
        if self._process is not None:
            fault = "a client left while the process took no messages: what it sent last may be lost"
            self.context.complaints.complain(str(self._process.id), fault, now)
        self._leave(Notify.CLOSED)
        self._transport.abort()
        return NEVER
