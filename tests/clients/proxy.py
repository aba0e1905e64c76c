"""A TCP proxy between clients and a node, whose connections break at random bytes: in handshakes, within a frame,
between frames, in either direction. What breaks where follows from a seed and the number of the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

CHUNK: Final = 64 * 1024
PIECES: Final = 8
"""In how many pieces, at most, a delayed chunk arrives."""
PIECE_SECONDS: Final = 0.002


class Fault(StrEnum):
    """What happens to a connection."""

    CUT = "cut"
    """Both ends see the end of the stream, without a close frame."""
    RESET = "reset"
    """Both ends get a RST; what was under way is lost."""
    HALF_CLOSE = "half-close"
    """One end sees the end of the stream, while its own bytes still arrive."""
    STALL = "stall"
    """Nothing passes for a while, and no end is told that the other has left; then all of it does, late."""
    DELAY = "delay"
    """The bytes come slowly and in pieces; then the connection breaks later, by another fault."""


Plan = tuple[Fault, bool, int]
"""What happens next on a connection, whether on the way to the node, and after how many bytes."""


class FaultyProxy:
    """Listens on a port of 127.0.0.1; inside the `async with` block.

    Args:
        port: the node's.
        seed: of all that is random.
        faults: those that happen.
        bytes_between: at most so many bytes pass in the direction that breaks, before it does.
        stall_seconds: the longest stall.
        most: after so many faults, delays aside, everything passes.
    """

    def __init__(
        self,
        port: int,
        *,
        seed: object = 0,
        faults: Sequence[Fault] = tuple(Fault),
        bytes_between: int = 20_000,
        stall_seconds: float = 0.5,
        most: float = math.inf,
    ) -> None:
        self._target = port
        self._seed = seed
        self._faults = faults
        self._bytes_between = bytes_between
        self._stall_seconds = stall_seconds
        self._most = most
        self._calm = not faults
        self._made = asyncio.Condition()
        self._connections: set[_Connection] = set()
        self._stack = contextlib.AsyncExitStack()
        self._tasks: asyncio.TaskGroup
        self.accepted = 0
        """Connections, so far."""
        self.happened: Counter[Fault] = Counter()
        self.port = 0
        self.refuse = False
        """Whether connections are reset when they are accepted."""

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._stack.callback(self._end_all)
        self._stack.callback(server.close)
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        """Where the node's WebSockets are opened by way of the proxy."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def cuts(self) -> int:
        """Faults so far that a connection may not survive: all but delays."""
        return self.happened.total() - self.happened[Fault.DELAY]

    def calm(self) -> None:
        """From now on nothing breaks any more."""
        self._calm = True

    def storm(self) -> None:
        """From now on new connections break again."""
        self._calm = False

    def stall_all(self) -> None:
        """From now on nothing passes any more on the connections that there are."""
        for connection in tuple(self._connections):
            connection.stall()

    def cut_all(self, fault: Fault = Fault.RESET) -> None:
        """Break every connection now, by `CUT` or `RESET`."""
        for connection in tuple(self._connections):
            self.happened[fault] += 1
            connection.end(reset=fault is Fault.RESET)

    def _end_all(self) -> None:
        for connection in tuple(self._connections):
            connection.end(reset=True)

    async def wait_for_cuts(self, count: int) -> None:
        """Wait until so many faults have happened."""
        async with self._made:
            await self._made.wait_for(lambda: self.cuts >= count)

    def next_fault(self, rng: random.Random) -> Plan | None:
        """What happens next on a connection; None: nothing."""
        if self._calm:
            return None
        # Short distances are as likely as long ones, so that handshakes break, too.
        distance = int(math.exp(rng.uniform(0.0, math.log(self._bytes_between))))
        return rng.choice(self._faults), rng.random() < 0.5, distance

    def stall_seconds(self, rng: random.Random) -> float:
        """How long a stall lasts."""
        return rng.uniform(0.0, self._stall_seconds)

    async def note(self, fault: Fault) -> bool:
        """A fault is about to happen; returns whether it is to."""
        if self._calm:
            return False
        self.happened[fault] += 1
        if self.cuts >= self._most:
            self.calm()
        async with self._made:
            self._made.notify_all()
        return True

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection(self, random.Random(f"{self._seed} {self.accepted}"), reader, writer)
        if self.refuse:
            connection.end(reset=True)
        else:
            self._tasks.create_task(self._serve(connection))

    async def _serve(self, connection: _Connection) -> None:
        self._connections.add(connection)
        try:
            await connection.run(self._target)
        finally:
            self._connections.discard(connection)


class _Connection:
    """One connection of a client, and the one to the node that belongs to it."""

    def __init__(
        self, proxy: FaultyProxy, rng: random.Random, reader: StreamReader, writer: StreamWriter
    ) -> None:
        self._proxy = proxy
        self._rng = rng
        self._reader = reader
        self._writers = [writer]
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._half_closed: set[StreamWriter] = set()
        self._next: Plan | None = None
        self._left = 0
        """Bytes that pass before it."""
        self._plan_next()

    async def run(self, port: int) -> None:
        """Pass everything on until it breaks or both ends have closed."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # the node is not there: nobody is
            self.end(reset=True)
            return
        (client,) = self._writers
        self._writers.append(writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_all(self._reader, writer, to_node=True))
                tasks.create_task(self._pass_all(reader, client, to_node=False))
        finally:
            self.end(reset=False)

    def stall(self) -> None:
        """Pass nothing any more."""
        self._flowing.clear()

    def end(self, *, reset: bool) -> None:
        """Close both connections."""
        self._flowing.set()
        for writer in self._writers:
            if reset and not writer.is_closing():
                with contextlib.suppress(OSError):  # it is gone already
                    raw = writer.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            writer.close()

    async def _pass_all(self, reader: StreamReader, writer: StreamWriter, *, to_node: bool) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._pass(data, writer, to_node)
            await self._flowing.wait()
            self._write_eof(writer)
        except OSError:  # an end has reset its connection: so does the other
            await self._flowing.wait()
            self.end(reset=True)

    async def _pass(self, data: bytes, writer: StreamWriter, to_node: bool) -> None:
        """Pass a chunk on, with what is due to happen within it."""
        while data:
            await self._flowing.wait()
            if writer.is_closing() or writer in self._half_closed:
                return
            if self._next is None or self._next[1] is not to_node or self._left >= len(data):
                if self._next is not None and self._next[1] is to_node:
                    self._left -= len(data)
                writer.write(data)
                await writer.drain()
                return
            fault = self._next[0]
            writer.write(data[: self._left])
            data = data[self._left :]
            self._next = None  # it is not to happen twice while this one waits
            if await self._proxy.note(fault):
                data = await self._happen(fault, data, writer)
            self._plan_next()

    def _plan_next(self) -> None:
        self._next = self._proxy.next_fault(self._rng)
        self._left = 0 if self._next is None else self._next[2]

    async def _happen(self, fault: Fault, data: bytes, writer: StreamWriter) -> bytes:
        """Let it happen. Returns what is still to be passed on of the chunk."""
        match fault:
            case Fault.STALL:
                self._flowing.clear()
                seconds = self._proxy.stall_seconds(self._rng)
                asyncio.get_running_loop().call_later(seconds, self._flowing.set)
                return data
            case Fault.DELAY:
                await self._pass_slowly(data, writer)
            case Fault.HALF_CLOSE:
                self._write_eof(writer)
            case Fault.CUT | Fault.RESET:
                self.end(reset=fault is Fault.RESET)
        return b""

    async def _pass_slowly(self, data: bytes, writer: StreamWriter) -> None:
        cuts = sorted(self._rng.randrange(len(data)) for _ in range(PIECES - 1))
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            await self._flowing.wait()
            if writer.is_closing():
                return
            writer.write(data[start:stop])
            await asyncio.sleep(PIECE_SECONDS)
        await writer.drain()

    def _write_eof(self, writer: StreamWriter) -> None:
        if not writer.is_closing() and writer not in self._half_closed:
            self._half_closed.add(writer)
            writer.write_eof()
