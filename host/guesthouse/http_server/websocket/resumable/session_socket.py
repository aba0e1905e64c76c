"""What of a WebSocket is different when it is the socket of a resumable channel, and no channel itself."""

from __future__ import annotations

import asyncio

from guesthouse.core.ports import ProcessPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.channel.channel import Notify
from guesthouse.http_server.channel.encryption import OVERHEAD
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.context import Context
from guesthouse.http_server.websocket.lifecycle import ChannelSocket
from guesthouse.http_server.websocket.protocol import Protocol
from guesthouse.http_server.websocket.resumable.resumable_channel import ResumableChannel
from guesthouse.http_server.websocket.resumable.resumable_handshake import ResumableHandshake


class SessionSocket(ChannelSocket):
    """A socket that may be that of a `ResumableChannel`.

    Args:
        context: the server's state.
        peer: who is at the other end.
        protocol: of this connection.
    """

    __slots__ = ("_beginning", "_resumable")

    def __init__(self, context: Context, peer: Peer, protocol: Protocol) -> None:
        super().__init__(context, peer, protocol)
        self._beginning: ResumableHandshake | None = None
        """Of a client that asked for a session and has not got one yet."""
        self._resumable: ResumableChannel | None = None
        """Whose socket it is, or was."""

    def serve(self, channel: ResumableChannel, process: ProcessPort | None) -> None:
        """See `CarryingSocket`."""
        limits = self.context.settings.connections
        self._beginning, self._resumable = None, channel
        self._process, self.outgoing = process, channel.outgoing
        self.owner, self.channel_id = channel.owner, channel.channel_id
        self.opened_at = channel.opened_at
        if process is None:
            self._inbound.deliver_to(discard)
            return
        sealed = channel.cipher is not None
        self._inbound.deliver_to(channel.deliver_encrypted if sealed else channel.deliver)
        self._inbound.limit(limits.message_bytes + (OVERHEAD if sealed else 0), escapes=True)
        self._protocol.too_big = close_codes.TOO_BIG
        self.context.deadlines.set(self, self._keepalive.heard + limits.ping_seconds)

    @property
    def transport(self) -> asyncio.Transport:
        """What it writes to."""
        return self._transport

    def supersede(self, close: CloseReason) -> None:
        """See `CarryingSocket`."""
        self._process = None
        self._inbound.deliver_to(discard)
        self.end(close)

    @property
    def has_session(self) -> bool:
        """Whether its client has a session, or has asked for one."""
        return self._resumable is not None or self._beginning is not None

    @property
    def resumable(self) -> ResumableChannel | None:
        """The channel with a session whose socket it is, or was."""
        return self._resumable

    def depart(self, close: CloseReason) -> bool:
        """Close the socket, which is no session's; False when it is closing already."""
        if self._closing:
            return False
        self.end(close)
        return True

    def let_go(self) -> None:
        """See `ClientSocket`."""
        self._process = None
        self._ending = True
        self._inbound.deliver_to(discard)
        self._transport.close()
        self._set_close_deadline()

    def refuse(self, close: CloseReason) -> None:
        """What the client just sent is against the rules: nothing more is delivered, and the socket closed with it."""
        self._inbound.close = close

    def was_pinged(self, payload: bytes) -> bool:
        """See `CarryingSocket`."""
        return payload == self._keepalive.ping

    def charge(self, frames: int) -> None:
        """See `CarryingSocket`."""
        self._inbound.charge(frames)

    def _detach(self, tell: Notify) -> None:
        channel = self._resumable
        if channel is None:
            super()._detach(tell)
        elif self._process is not None:
            self._process = None
            said = self._protocol.close_rcvd
            channel.left(self, tell, None if said is None else said.reason.encode())

    def _close_received(self) -> None:
        """The client closed, or `websockets` did for a broken rule."""
        said = self._protocol.close_rcvd
        away = said is not None and said.code == close_codes.AWAY_CODE
        self._detach(Notify.LOST if away else Notify.CLOSED)
        if self._resumable is not None and said is not None and not away:
            self._resumable.closed(self)


def discard(_message_type: int, _payload: bytes) -> None:
    """Takes what comes from a client that is gone."""
