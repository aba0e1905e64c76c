"""The socket of one page: WebSocket frames by websockets' sans-I/O protocol, and bounds on all that waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from guesthouse.core.ports import LogPort
from guesthouse.http_api.dashboard.page_messages import LOGIN_BYTES, MESSAGE_BYTES
from guesthouse.http_server.auth.access import Peer

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
NOT_TEXT: Final = 1003
POLICY: Final = 1008
TOO_BIG: Final = 1009
FAILED: Final = 1011

MOST_WAITING: Final = 16
"""Messages of a page that wait to be carried out; then its socket is not read."""
_UNREAD_BYTES: Final = 256 * 1024
"""That a page has not read; then it gets no news, and its requests wait."""
_FRAME_OVERHEAD: Final = 64
_UNREAD_SECONDS: Final = 30.0
_BEAT_SECONDS: Final = 20.0
_CLOSE_SECONDS: Final = 5.0


class SocketOwner(Protocol):
    """What a socket belongs to."""

    def refusal(self, request: Request, peer: Peer) -> tuple[int, str] | None:
        """Status and text by which an upgrade is refused; None admits it."""

    def opened(self, socket: DashboardSocket, request: Request) -> None:
        """A page has opened it."""

    def lost(self, socket: DashboardSocket) -> None:
        """It is closed, and was opened before."""


class DashboardSocket(asyncio.Protocol):
    """One connection.

    Args:
        owner: who admits and serves it.
        log: the node's log.
        peer: the client.
        released: frees the connection's place.
    """

    def __init__(self, owner: SocketOwner, log: LogPort, peer: Peer, released: Callable[[], None]) -> None:
        self._owner = owner
        self._log = log
        self.peer = peer
        self._released = released
        self._protocol = ServerProtocol(max_size=MESSAGE_BYTES)
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._messages: deque[bytes] = deque()
        self._came = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._early: int | None = LOGIN_BYTES
        """Bytes that may come before the login; None after it."""
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._is_open = self._heard = False
        self.closed = False
        """Whether it is closed, or being closed: nothing is read or sent any more."""

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is handed over."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_UNREAD_BYTES)

    def data_received(self, data: bytes) -> None:
        """The upgrade request, then frames."""
        if self.closed:
            return
        self._heard = True
        if self._early is not None and self._is_open:
            self._early -= len(data)
            if self._early < -_FRAME_OVERHEAD:
                self.close(TOO_BIG, "log in first")
                return
        self._protocol.receive_data(data)
        for received in self._protocol.events_received():
            if isinstance(received, Request):
                self._upgrade(received)
            elif not self.closed:
                self._take(cast(Frame, received))
        self._flush()

    def eof_received(self) -> bool:
        """The page closed its side."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.closed = True
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
        self._came.set()
        self._writable.set()
        if self._is_open:
            self._is_open = False
            self._owner.lost(self)
        self._released()

    def pause_writing(self) -> None:
        """The page does not read what is sent."""
        self._writable.clear()
        self._unread = self._loop.call_later(_UNREAD_SECONDS, self._transport.abort)

    def resume_writing(self) -> None:
        """The page has read."""
        self._writable.set()
        if self._unread is not None:
            self._unread.cancel()

    def _upgrade(self, request: Request) -> None:
        refusal = self._owner.refusal(request, self.peer)
        protocol = self._protocol
        protocol.send_response(protocol.accept(request) if refusal is None else protocol.reject(*refusal))
        if self._protocol.state is State.OPEN:
            self._is_open = True
            self._timer = self._loop.call_later(_BEAT_SECONDS, self._beat)
            self._owner.opened(self, request)
        else:
            self.closed = True

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._pieces.append(bytes(frame.data))
            if frame.fin:
                self._messages.append(b"".join(self._pieces))
                self._pieces.clear()
                self._came.set()
                if len(self._messages) >= MOST_WAITING:
                    self._transport.pause_reading()
        elif frame.opcode is Opcode.BINARY:
            self.close(NOT_TEXT, "messages are JSON")

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self.closed = True
                self._came.set()
                self._transport.close()

    def _beat(self) -> None:
        """A page that neither sends nor answers a ping is gone."""
        if not self._heard:
            self._transport.abort()
            return
        self._heard = False
        self._protocol.send_ping(b"")
        self._flush()
        self._timer = self._loop.call_later(_BEAT_SECONDS, self._beat)

    # The owner's side.

    async def receive(self) -> bytes | None:
        """The next message; None once it is closed."""
        while not self._messages:
            if self.closed:
                return None
            self._came.clear()
            await self._came.wait()
        message = self._messages.popleft()
        if len(self._messages) == MOST_WAITING - 1 and not self.closed:
            self._transport.resume_reading()
        return None if self.closed else message

    def logged_in(self) -> None:
        """Larger messages may come."""
        self._early = None

    @property
    def has_room(self) -> bool:
        """Whether the page reads what is sent."""
        return self._writable.is_set() and not self.closed

    async def room(self) -> None:
        """Wait until the page has read what was sent."""
        await self._writable.wait()

    def send(self, message: bytes) -> None:
        """Send a message."""
        self.send_frame(framed(message))

    def send_frame(self, frame: bytes) -> None:
        """Send what `framed` made, which many sockets may share."""
        if self._is_open and not self.closed:
            self._transport.write(frame)

    def close(self, code: int, reason: str) -> None:
        """Close it at once; what has arrived is not carried out."""
        if self.closed:
            return
        self._messages.clear()
        self._protocol.fail(code, reason)
        self._flush()
        self.closed = True
        self._came.set()
        self._writable.set()
        if not self._transport.is_closing():
            self._transport.close()
        self._loop.call_later(_CLOSE_SECONDS, self._transport.abort)


def framed(message: bytes) -> bytes:
    """A text message as a frame."""
    return Frame(Opcode.TEXT, message).serialize(mask=False)
