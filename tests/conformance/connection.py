"""A raw client: a TCP connection on which bytes are sent as they are, cut as they are told to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from . import frames
from .heard import Heard
from .opening import Target


class Connection(asyncio.Protocol):
    """One connection. It answers pings of the server; all else is up to the caller."""

    def __init__(self) -> None:
        self.heard = Heard()
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()
        self._news: asyncio.Future[None] | None = None
        self._answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The server sent bytes."""
        heard = self.heard
        heard.receive(data)
        for payload in heard.pings[self._answered :]:
            self.send_last(frames.pong(payload))
        self._answered = len(heard.pings)
        self._wake()

    def eof_received(self) -> bool:
        """The server will send no more."""
        self.heard.ended = True
        self._wake()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.heard.ended = True
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        """The server reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The server reads again."""
        self._writable.set()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def send(self, data: bytes, segment: int = 0) -> None:
        """Send bytes, in segments of that many unless it is 0. Stops when the server has had enough.

        Cancelled, some of the bytes may have been sent.
        """
        for piece in frames.cut(data, segment or max(len(data), 1)):
            if self.heard.over or self._transport.is_closing():
                return
            self._transport.write(piece)
            await self._writable.wait()
            if segment:
                await asyncio.sleep(0)

    def send_last(self, data: bytes) -> None:
        """Send bytes even though the server wants to end."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def half_close(self) -> None:
        """Send no more."""
        self._transport.write_eof()

    async def until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so; False when it is not within the time."""
        try:
            async with asyncio.timeout(seconds):
                while not done():
                    self._news = asyncio.get_running_loop().create_future()
                    await self._news
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Connection]:
    """A connection to the target; at the end of the block it is cut.

    Raises:
        OSError: there is no server.
    """
    loop = asyncio.get_running_loop()
    transport, connection = await loop.create_connection(Connection, target.host, target.port)
    try:
        yield connection
    finally:
        transport.abort()
