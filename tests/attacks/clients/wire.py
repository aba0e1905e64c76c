"""The attacker's end of sockets: bytes are sent as they are, and what the node did is put into a word or two."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.patience import PATIENCE

from ...conformance.heard import Heard
from ...conformance.opening import Opening, Target

SECONDS: Final = PATIENCE
"""How long the node may take to end what it is to end."""
AT_ONCE: Final = 200
"""Connections that are opened at the same time, where that is not the attack."""

Tally: TypeAlias = dict[str, Counter[str]]
"""How often each shape of an attack had which outcome."""


@dataclass(slots=True)
class Wire:
    """One connection."""

    target: Target
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: Heard

    async def send(self, *pieces: bytes) -> None:
        """Send bytes, for as long as the node takes them."""
        try:
            for piece in pieces:
                if self.writer.is_closing():
                    return
                self.writer.write(piece)
                await self.writer.drain()
        except ConnectionError:
            pass  # what it said before is still to be read

    async def open(self, opening: Opening | None = None, offered: str | None = None) -> int:
        """Ask for a WebSocket; the status of the answer."""
        await self.send((opening or Opening()).request(self.target, offered))
        while self.heard.answer is None and await self.read():
            pass
        return 0 if self.heard.answer is None else self.heard.answer.status

    async def drip(self, pieces: Iterable[bytes], pause: float) -> str:
        """Send pieces one by one, each after a pause, until the node ends the connection; how it did."""
        async with asyncio.TaskGroup() as tasks:
            dripping = tasks.create_task(self._drip(pieces, pause))
            outcome = await self.outcome()
            dripping.cancel()
        return outcome

    async def _drip(self, pieces: Iterable[bytes], pause: float) -> None:
        for piece in pieces:
            await self.send(piece)
            await asyncio.sleep(pause)

    async def outcome(self, seconds: float = SECONDS) -> str:
        """Read until the node ends the connection; how it did."""
        try:
            async with asyncio.timeout(seconds):
                while await self.read():
                    pass
        except TimeoutError:
            return "left open"
        return self.said

    @property
    def said(self) -> str:
        """What the node said last: a status instead of a channel, or how it closed the channel."""
        heard = self.heard
        if heard.answer is not None and heard.answer.status != 101:
            return str(heard.answer.status)
        if heard.closed:  # pongs may come after it (RFC 6455, section 5.5.2)
            reason = heard.reason.decode().partition(":")[0]
            return f"{heard.code or 'no status'} {reason}".strip()
        return heard.violation or "cut off"

    async def all_bytes(self, seconds: float = SECONDS) -> bytes:
        """Everything that the node sends until it ends the connection."""
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read()
        except ConnectionError:
            return b""

    async def read(self) -> bool:
        """Take what comes next; False when nothing does any more."""
        try:
            data = await self.reader.read(2**18)
        except ConnectionError:
            data = b""
        self.heard.receive(data)
        return bool(data)

    def reset(self) -> None:
        """Break the connection off: the node gets a reset."""
        peer = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def dial(target: Target) -> AsyncIterator[Wire]:
    """A connection; at the end of the block it is cut."""
    reader, writer = await asyncio.open_connection(target.host, target.port, limit=2**18)
    try:
        yield Wire(target, reader, writer, Heard())
    finally:
        writer.transport.abort()


async def each(names: Iterable[str], one: Callable[[str], Awaitable[str]], at_once: int = AT_ONCE) -> Tally:
    """Do something for each name, so many at once; which outcome each had."""
    tally: Tally = {}
    room = asyncio.Semaphore(at_once)

    async def count(name: str) -> None:
        async with room:
            outcome = await one(name)
        tally.setdefault(name, Counter())[outcome] += 1

    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(count(name))
    return tally
