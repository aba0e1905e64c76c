"""One WebSocket connection: asyncio I/O around the pure protocol parts.

uvicorn hands over the socket with the upgrade request. From then on this class moves bytes between the socket,
`MessageReader`, the process and `Outbox`, with no task, timer, log line or copy for each message.

States: handshake, registering (register form only), open, closing, closed. It is a channel while open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, cast

from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.channel.channel import Notify
from guesthouse.http_server.channel.credit_window import write_limits
from guesthouse.http_server.channel.deflate import DEFLATE
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.context import Context
from guesthouse.http_server.state.partial_messages import FREE
from guesthouse.http_server.state.timer_wheel import NEVER
from guesthouse.http_server.websocket.closed_transport import ClosedTransport
from guesthouse.http_server.websocket.in_place import InPlace
from guesthouse.http_server.websocket.opening import OpeningSocket
from guesthouse.http_server.websocket.protocol import Protocol
from guesthouse.http_server.websocket.resumable.session_socket import discard

_CONTROL: Final = 0x08
_DISCARDED: Final = 16 * 1024
"""Bytes read at a time that are of no use."""

_LOGGER = logging.getLogger("guesthouse.websocket")
_LOGGER.setLevel(logging.ERROR)


class WebSocketConnection(OpeningSocket):
    """One client. It is the `Feeder` of its process's mailbox.

    Args:
        context: state shared by the server's connections.
        peer: the client's address and scheme.
        released: called once, when the socket is closed and its input delivered.
    """

    __slots__ = ("_noted", "_released")

    def __init__(self, context: Context, peer: Peer, released: Callable[[], None]) -> None:
        super().__init__(context, peer, Protocol(extensions=[DEFLATE], logger=_LOGGER))
        self._released: Callable[[], None] | None = released
        self._noted = -1
        """`messages_in` when its partial message was last counted in `context.unfinished`; -1 if none is."""

    # asyncio callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the socket."""
        self._transport = cast(asyncio.Transport, transport)
        self.context.connections.add(self)
        if self.peer.behind is not None:
            self.peer.behind.websocket = self
        high, low = write_limits(self.context.settings.connections.outbox_bytes)
        self._transport.set_write_buffer_limits(high, low)

    def data_received(self, data: bytes) -> None:
        """Receive the upgrade request, then frames."""
        if self._ending:
            return
        self._keepalive.heard = self.context.monotonic()
        if self._process is not None and self._inbound.receive_plain(data):
            if self._inbound.close is not None:
                self._after_receive()
        elif self._keepalive.ping is not None and self._inbound.is_pong(data, self._keepalive.ping):
            return
        elif not self._upgraded:
            self._handshake(data)
        elif (self._process is None or data[0] & _CONTROL) and not self.context.turns.take():
            self._inbound.paused = self._inbound.sliced = True
            self._inbound.receive(data)
            self._after_receive()
        else:
            self._inbound.receive(data)
            self._after_receive()

    def eof_received(self) -> bool:
        """The client closed its side without a close frame."""
        self._detach(Notify.LOST)
        self._ending = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed; the channel ends once the process has received what came before."""
        self._transport = ClosedTransport(self._release)
        if self._process is not None:
            if self._resumable is None:
                self.outgoing.set_transport(self._transport)
            else:
                self._resumable.lost(self)
            if self._inbound.paused and not self._closing:
                return  # `ClosedTransport` releases it once delivery has resumed and finished
        self.context.turns.run(self._release)

    def _release(self) -> None:
        """Free everything the connection holds."""
        released, self._released = self._released, None
        if released is None:
            return
        self._detach(Notify.LOST)
        self._ending = True
        self.context.deadlines.set(self, NEVER)
        if self.token_family:
            self.context.token_channels.release(self.token_family)
        self.context.connections.discard(self)
        self._count_close()
        self._break_cycles()
        released()
        self.context.disconnected()

    def _count_close(self) -> None:
        """Count the close if it was this end that closed."""
        sent = self._protocol.close_sent
        if sent is not None and not self._protocol.close_rcvd_then_sent:
            self.context.refusals.closed(sent.code, sent.reason)

    def _break_cycles(self) -> None:
        """Drop references in cycles, so that memory is freed at once and not by a garbage collection."""
        self._transport.close()
        if self.peer.behind is not None:
            self.peer.behind.websocket = None
        self._inbound.deliver_to(discard)
        self._protocol.parser.close()
        self._drop_input()
        self.extension = self._beginning = None
        if self._resumable is not None:
            self._resumable = None
            del self.outgoing
        elif self.opened_at:
            self.outgoing.break_cycle()
            del self.outgoing

    def resume_writing(self) -> None:
        """The socket's write buffer fell below its low-water mark."""
        if self._process is not None:
            self.outgoing.resume()

    def _after_receive(self) -> None:
        close = self._inbound.close
        if close is not None:
            close = self._close_for_state(close)
            self._log_fault(close)
            self._fail(close)
            self._drop_input()
            return
        if self._protocol.writes:
            self._flush()
        if self._protocol.eof_sent:
            self._close_received()
            sent = self._protocol.close_sent
            if sent is not None and self._protocol.close_rcvd is None:
                self._log_fault(sent)
            self._finish()
            self._drop_input()
        elif self._inbound.sliced:
            self._inbound.sliced = False
            self._transport.pause_reading()
            self.context.turns.add(self._resume)
        held = self._inbound.unfinished
        if held > FREE or self._noted >= 0:
            in_place = self._inbound.expects_in_place()
            held = self._inbound.unfinished
            restarted, self._noted = self.messages_in != self._noted, self.messages_in if held > FREE else -1
            self.context.unfinished.note(self, held, restarted=restarted)
            if in_place and self._inbound.expects_in_place():
                self._transport.set_protocol(InPlace(self))

    def room(self) -> memoryview:
        """See `in_place.LargeFrameReceiver`."""
        return self._inbound.room() if self._inbound.expects_in_place() else memoryview(bytearray(_DISCARDED))

    def received_in_place(self, size: int) -> None:
        """See `in_place.LargeFrameReceiver`."""
        if self._ending:
            return
        self._keepalive.heard = self.context.monotonic()
        self._inbound.received(size)
        if not self._inbound.expects_in_place():
            self._transport.set_protocol(self)
            self._after_receive()

    def heard(self) -> None:
        """See `behind.Told`."""
        self._keepalive.heard = self.context.monotonic()

    def make_room(self) -> None:
        """See `partial_messages.Holder`."""
        self._log_fault(close_codes.CROWDED)
        self._fail(close_codes.CROWDED)
        self._drop_input()

    def _drop_input(self) -> None:
        """Free buffered input. Stored parser exceptions hold references to decompressed data."""
        self._inbound.drop()
        if self._noted >= 0:
            self._noted = -1
            self.context.unfinished.note(self, 0)
        self._protocol.parser_exc = self._protocol.handshake_exc = None

    def _close_for_state(self, close: CloseReason) -> CloseReason:
        if close.reason == close_codes.TOO_BIG.reason and not self.opened_at:
            return close_codes.REGISTER_TOO_BIG.noting(close.note)
        return close

    def pause_reading(self) -> None:
        """Stop delivering, including what was already read: the mailbox is full."""
        if not self._inbound.paused and not self._closing and not self._transport.is_closing():
            self._inbound.paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume delivery in a later iteration of the event loop."""
        if self._inbound.paused:
            self.context.turns.add(self._resume)

    def _resume(self) -> None:
        if self._ending or not self._inbound.paused or self.context.stopping:
            return
        self._inbound.paused = False
        self._keepalive.reset(self.context.monotonic())
        self._inbound.receive(b"")
        if not self._inbound.paused:
            self._transport.resume_reading()
        self._after_receive()
