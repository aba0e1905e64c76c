"""What goes to the client of a resumable channel: kept until the client acknowledges it, over all its sockets."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final, Protocol

from guesthouse.core.messages import WsMessageType
from guesthouse.http_server.channel.framing import frame
from guesthouse.http_server.channel.outbox import Outbox, Policy
from guesthouse.http_server.sessions.control_messages import Lost, write_control
from guesthouse.http_server.sessions.retained import Retained
from guesthouse.http_server.websocket.closed_transport import ClosedTransport
from guesthouse.link.credit import PUSH_OVERHEAD, push_cost

_TEXT: Final = int(WsMessageType.TEXT)
_BINARY: Final = int(WsMessageType.BINARY)
_CONTROL: Final = 0x08
_FIRST_CONTROL: Final = 0x88
"""Data frames of a server begin with less, unless they are compressed."""
_COMPRESSED: Final = 0x40
_BINARY_OPCODE: Final = 0x02
_PAID: Final = (Policy.REFUSE, Policy.WAIT)
_SYNC_TAIL: Final = b"\x00\x00\xff\xff"


class RetainingOwner(Protocol):
    """The channel."""

    def grant_credit(self, size: int) -> None:
        """See `outbox.Owner`."""

    def too_slow(self) -> None:
        """See `outbox.Owner`."""

    def dropped(self) -> None:
        """See `outbox.Owner`."""

    def kept_changed(self) -> None:
        """More or less is kept while there is no socket that takes it."""


class RetainingOutbox(Outbox):
    """An outbox whose room is what its client has not acknowledged, not what its socket has not sent.

    So a client that is away, reads slowly or never acknowledges costs what any slow client does, and meets the same
    policy. Frames go to the socket at once; they wait here while there is none, while what a new socket lacks is
    still being written, and under `drop-oldest` while the socket's buffer is full.
    """

    __slots__ = ("_direct", "_keeper", "_kept")

    def __init__(
        self,
        owner: RetainingOwner,
        transport: asyncio.WriteTransport,
        window: int,
        kept: Retained,
        batch: int = 0,
    ) -> None:
        super().__init__(owner, transport, window, batch)
        self._keeper = owner
        self._kept = kept
        self._direct = transport is not NOWHERE
        """Whether the socket has been given all that is kept."""

    @property
    def waiting(self) -> int:
        """Bytes that the client has not acknowledged."""
        return self._kept.size

    @property
    def gathers(self) -> bool:
        """Never: frames are kept until they are acknowledged."""
        return False

    # Pushes.

    def _push_paid(self, size: int, frame: bytes) -> bool:
        if not self._credit.take(size):
            return False
        if self._direct and frame[0] < _FIRST_CONTROL:  # as `_keep`, without its calls
            self.messages += 1
            self._kept.add_written(size + PUSH_OVERHEAD, frame)
            self._transport.write(frame)
        else:
            self._keep(push_cost(size), frame)
        return True

    def _push_dropping(self, size: int, frame: bytes) -> bool:
        cost = push_cost(size)
        self._credit.spent += cost
        if self._transport.get_write_buffer_size() > self._high:
            self._direct = False
        self._keep(cost, frame)
        kept = self._kept
        while kept.size > self._window:
            if kept.drop_waiting():
                self._owner.dropped()
            elif not kept.forget_written():
                break
        return True

    def _push_closing(self, size: int, frame: bytes) -> bool:
        cost = push_cost(size)
        self._credit.spent += cost
        if self._kept.size + cost > self._window:
            self._owner.too_slow()
        else:
            self._keep(cost, frame)
        return True

    def push_unpaid(self, size: int, frame: bytes) -> bool:
        """See `Outbox`."""
        if not self.has_room(size):
            return False
        if self.policy not in _PAID:
            return self.push(size, frame)
        self._keep(push_cost(size), frame)
        return True

    def push_now(self, frame: bytes) -> None:
        """See `Outbox`."""
        self._keep(push_cost(len(frame)), frame)

    def _keep(self, cost: int, frame: bytes) -> None:
        self.messages += 1
        if frame[0] & _CONTROL:  # a ping or pong is of its socket
            self._transport.write(frame)
            self.settle()
        elif self._direct:
            self._kept.add_written(cost, frame)
            self._transport.write(frame)
        else:
            self._kept.add(cost, frame)
            self._keeper.kept_changed()

    # The client.

    def acknowledge(self, received: int) -> None:
        """The client has received so many messages, since the session began.

        Raises:
            BadCount: it cannot have.
        """
        self._kept.acknowledge(received)
        self._make_use_of_room()

    def _make_use_of_room(self) -> None:
        self.settle()
        while self._waiters and self._make_room(self._waiters[0].cost, paid=self._waiters[0].paid):
            self._next_waiter()(None)

    def settle(self) -> None:
        """Give back credit for what the client has acknowledged."""
        if self.policy in _PAID:
            granted = self._credit.settle(self._kept.size)
            if granted:
                self._owner.grant_credit(granted)

    def resume(self) -> None:
        """The socket has sent most of what it had: give it what waits here."""
        kept, transport = self._kept, self._transport
        while not self._direct and transport.get_write_buffer_size() <= self._high:
            taken = kept.take()
            if taken is None:
                self._direct = True
            else:
                self._write(taken)

    def flush(self) -> None:
        """What waits here goes to the socket in its time, whatever the policy is."""

    def end(self) -> None:
        """The channel is closed: a socket that there is still gets what waits."""
        if self._transport is not NOWHERE:
            for taken in self._kept.rest():
                self._write(taken)
        super().end()

    def _write(self, taken: bytes | int) -> None:
        self._transport.write(frame_of(taken))

    # Sockets.

    def cut(self) -> None:
        """There is no socket any more."""
        self._transport = NOWHERE
        self._direct = False

    def attach(self, transport: asyncio.WriteTransport, *, recode: bool) -> None:
        """There is another socket, and the session was resumed: write what its client lacks.

        Args:
            transport: of that socket.
            recode: it takes other compression than the one before, so it gets what waits without any.
        """
        if recode:
            self._kept.recode(uncompressed)
        self._transport = transport
        self.resume()
        self._make_use_of_room()


def frame_of(taken: bytes | int) -> bytes:
    """What `Retained` gave, as a frame: a message, or that so many are lost."""
    return taken if isinstance(taken, bytes) else frame(_TEXT, write_control(Lost(taken)))


def uncompressed(framed: bytes) -> bytes:
    """A frame of this node's as it is for clients without compression."""
    if not framed[0] & _COMPRESSED:
        return framed
    length = framed[1]
    body = framed[2 if length < 126 else 4 if length == 126 else 10 :]
    payload = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body + _SYNC_TAIL)
    return frame(_BINARY if framed[0] & 0x0F == _BINARY_OPCODE else _TEXT, payload)


def _nobody() -> None:
    """Nobody waits for the end of a socket that is gone."""


NOWHERE: Final = ClosedTransport(_nobody)
"""The socket of who has none."""
