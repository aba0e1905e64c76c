"""The way between a client and a server, of the tests' own: a TCP proxy that delays, throttles, holds and cuts."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Final, Self

CHUNK: Final = 16 * 1024
_MOST_CHUNKS: Final = 64
"""So many are on the way in a direction; then the sender has to wait, as with a network."""

Filter = Callable[[bytes], bytes]
"""What arrives of what is sent, for one direction of one connection: see `hostile_nats`."""


class Link:
    """Listens on a port of 127.0.0.1 and passes on what comes to another, inside the `async with` block. What it does
    may be changed at any time, and applies to the connections that there are.

    Args:
        target: the port to pass on to; it may be set later.
    """

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.port = 0
        self.delay = 0.0
        """Seconds that each byte takes, one way."""
        self.rate = math.inf
        """Bytes a second, for each direction of each connection."""
        self.accepted = 0
        """Connections, so far."""
        self.filters: Callable[[], tuple[Filter, Filter]] | None = None
        """Makes what the bytes of a new connection pass through: to the server, and from it."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: set[_Connection] = set()
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK)
        self.port = server.sockets[0].getsockname()[1]
        self._stack.callback(self.cut)
        self._stack.callback(server.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def open(self) -> int:
        """Connections that there are."""
        return len(self._connections)

    def hold(self) -> None:
        """Pass nothing, and tell nobody: a partition. New connections are accepted and hear nothing."""
        self._flowing.clear()

    def release(self) -> None:
        """Pass on what was held, and everything from now on."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection; what was under way is lost. New ones are let through."""
        for connection in tuple(self._connections):
            connection.reset()

    def heal(self) -> None:
        """Be as it was made: nothing is held, delayed or throttled."""
        self.delay, self.rate = 0.0, math.inf
        self.release()

    async def flows(self) -> None:
        """Wait until nothing is held."""
        await self._flowing.wait()

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.accepted += 1
        self._tasks.create_task(self._serve(reader, writer))

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        connection = _Connection(self, writer)
        self._connections.add(connection)
        try:
            await connection.run(reader)
        finally:
            connection.reset()
            self._connections.discard(connection)


class _Connection:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, link: Link, writer: StreamWriter) -> None:
        self._link = link
        self._writers = [writer]
        self._ended = asyncio.Event()

    async def run(self, reader: StreamReader) -> None:
        """Pass everything on until it is reset or both ends have closed."""
        link = self._link
        try:
            there, writer = await asyncio.open_connection("127.0.0.1", link.target, limit=CHUNK)
        except OSError:
            return
        self._writers.append(writer)
        to_server, to_client = link.filters() if link.filters else (bytes, bytes)
        with suppress(OSError, _Reset):
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._until_reset())
                    both = [
                        tasks.create_task(self._pass(reader, writer, to_server)),
                        tasks.create_task(self._pass(there, self._writers[0], to_client)),
                    ]
                    await asyncio.gather(*both)
                    self._ended.set()
            except* (OSError, _Reset):
                pass

    async def _until_reset(self) -> None:
        await self._ended.wait()
        raise _Reset

    async def _pass(self, reader: StreamReader, writer: StreamWriter, through: Filter) -> None:
        """One direction: what is read is written when it is due."""
        queue: Queue[tuple[float, bytes]] = Queue(_MOST_CHUNKS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(queue, writer, through))
            clock = asyncio.get_running_loop().time
            while data := await reader.read(CHUNK):
                await queue.put((clock() + self._link.delay, data))
            await queue.put((clock() + self._link.delay, b""))

    async def _write(self, queue: Queue[tuple[float, bytes]], writer: StreamWriter, through: Filter) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await queue.get()
            if due > clock():
                await asyncio.sleep(due - clock())
            if self._link.rate < math.inf:
                await asyncio.sleep(len(data) / self._link.rate)
            await self._link.flows()
            if not data:
                writer.write_eof()
                return
            if altered := through(data):
                writer.write(altered)
                await writer.drain()

    def reset(self) -> None:
        """End both connections at once."""
        self._ended.set()
        for writer in self._writers:
            if not writer.is_closing():
                with suppress(OSError):  # it is gone already
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()


class _Reset(Exception):
    """The connection is to end."""
