"""Closing a WebSocket: the closing handshake, protocol failures and time-outs."""

from __future__ import annotations

import asyncio
from typing import Final

from websockets import frames
from websockets.http11 import Request, Response
from websockets.protocol import OPEN

from guesthouse.core.messages import WsMessageType
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.channel.channel import Notify
from guesthouse.http_server.channel.client_socket import ClientSocket
from guesthouse.http_server.channel.framing import frame
from guesthouse.http_server.close_codes import CloseReason, Refusal
from guesthouse.http_server.context import Context
from guesthouse.http_server.refusals import HSTS
from guesthouse.http_server.state.timer_wheel import NEVER
from guesthouse.http_server.websocket.frame_reader import MessageReader
from guesthouse.http_server.websocket.keepalive import Check, Keepalive
from guesthouse.http_server.websocket.protocol import Protocol
from guesthouse.linux.tcp_info import has_hung_up, is_peer_gone

_SETTINGS: Final = {
    close_codes.TOO_BIG.reason: "message_bytes",
    close_codes.REGISTER_TOO_BIG.reason: "register_bytes",
    close_codes.TOO_MANY_FRAGMENTS.reason: "fragments",
}
"""Of `connections`, by the reason of who is over it."""

_PING: Final = int(WsMessageType.PING)


class ChannelSocket(ClientSocket, asyncio.Protocol):
    """Base of a WebSocket connection: its socket, its single deadline, and how it closes.

    Args:
        context: state shared by the server's connections.
        peer: the client's address and scheme.
        protocol: this connection's protocol.
    """

    __slots__ = ("_ending", "_inbound", "_keepalive", "_protocol", "_transport", "peer")

    context: Context
    _transport: asyncio.Transport
    _inbound: MessageReader

    def __init__(self, context: Context, peer: Peer, protocol: Protocol) -> None:
        limits = context.settings.connections
        super().__init__(context)
        self.peer = peer
        self._protocol = protocol
        self._keepalive = Keepalive(limits.ping_seconds, limits.pong_seconds, context.monotonic())
        self._ending = False

    @property
    def _closing(self) -> bool:
        return self._ending or self._protocol.state > OPEN

    def end(self, close: CloseReason | None, tell: Notify = Notify.CLOSED) -> None:
        """Start the closing handshake; see `Channel`."""
        self._detach(tell)
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
        self._set_close_deadline()

    def _fail(self, close: CloseReason, tell: Notify = Notify.CLOSED) -> None:
        """Fail the connection (RFC 6455, section 7.1.7): send a close frame and read no more."""
        self._detach(tell)
        if not self._protocol.eof_sent:
            self._protocol.fail_with(close)
        self._flush()
        self._linger()

    def _log_fault(self, close: CloseReason | frames.Close) -> None:
        """Log that the connection was closed because of the client."""
        reason = close.reason.partition(":")[0]
        setting = _SETTINGS.get(reason)
        details = (
            f"to {self.owner}" if self.opened_at else None,
            close.note if isinstance(close, CloseReason) else None,
            setting and f"connections.{setting} is {getattr(self.context.settings.connections, setting)}",
        )
        fault = f"a WebSocket was closed with {close.code}: {reason}"
        self.context.log_client_fault(self.peer.address, fault, "; ".join(filter(None, details)))

    def _finish(self) -> None:
        """Close after the closing handshake, or after the protocol failed the connection."""
        if self._protocol.close_rcvd is not None:
            self._ending = True
            self._transport.close()
            self._set_close_deadline()
        else:
            self._linger()

    def _linger(self) -> None:
        """Close the sending side and discard input. Closing at once would reset the connection of a client that is
        still sending, and lose the close frame.
        """
        self._ending = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._set_close_deadline()

    def _set_close_deadline(self) -> None:
        limits = self.context.settings.connections
        self.context.deadlines.set(self, self.context.monotonic() + limits.close_seconds)

    def _detach(self, tell: Notify) -> None:
        """Detach from the process, which is told at most once."""
        process, self._process = self._process, None
        if process is None:
            if self.context.awaiting_key.pop(self.channel_id, None) is not None:
                self.context.channels.release(self.channel_id)
            return
        self.outgoing.end()
        self.context.channels.remove(self.channel_id)
        if tell is Notify.CLOSED or tell is Notify.LOST:
            received = self._protocol.close_rcvd
            process.post_close(self.channel_id, None if received is None else received.reason.encode())
        elif tell is Notify.GONE:
            process.post_channel_gone(self.channel_id)

    def abort(self) -> None:
        """Close the socket now."""
        self._transport.abort()

    def _reject(self, refusal: Refusal, request: Request) -> None:
        self.context.refusals.refused(refusal)
        response = self._protocol.reject(refusal.status, refusal.reason + "\n")
        if refusal.retry_after is not None:
            response.headers["Retry-After"] = str(refusal.retry_after)
        self._refuse(response, request)

    def _refuse(self, response: Response, request: Request) -> None:
        """Answer an upgrade request with an HTTP error."""
        if self.context.access.scheme(request.headers, self.peer) == "https":
            response.headers[HSTS[0]] = HSTS[1]
        response.headers["X-Content-Type-Options"] = "nosniff"
        self._protocol.send_response(response)
        self._flush()
        self._linger()

    def _flush(self) -> None:
        """Send the protocol's output. While open that is pongs, which are discarded if the client's buffer is full."""
        data = b"".join(self._protocol.data_to_send())
        window = self.context.settings.connections.outbox_bytes
        if data and (self._protocol.state is not OPEN or self._transport.get_write_buffer_size() < window):
            self._transport.write(data)

    def on_deadline(self, now: float) -> float:
        """The deadline of the register message, idle time, pong or closing handshake passed."""
        if self._closing:
            self._transport.abort()
            return NEVER
        if self._process is None and not self._inbound.paused:
            late = close_codes.NO_KEY if self.channel_id else close_codes.REGISTER_LATE
            self._log_fault(late)
            self.end(late)
            return self.due
        if self._inbound.paused:
            return self._check_paused(now)
        check, again = self._keepalive.check(now)
        if check is Check.GIVE_UP:
            self._log_fault(close_codes.NO_PONG)
            self._fail(close_codes.NO_PONG, Notify.LOST)
            return self.due
        if check is Check.PING:
            self._transport.write(frame(_PING, self._keepalive.ping or b""))
        return again

    def _check_paused(self, now: float) -> float:
        keepalive = self._keepalive
        if self.peer.behind is None:
            left = is_peer_gone(self._transport, keepalive.answer)
        else:
            left = has_hung_up(self._transport)
        check, again = keepalive.check_paused(now, left=left)
        if check is not Check.GIVE_UP:
            return again
        if self._process is not None:
            fault = "a client left while the process took no messages: what it sent last may be lost"
            self.context.client_faults.log(str(self._process.id), fault, now)
        self._detach(Notify.LOST)
        self._transport.abort()
        return NEVER
