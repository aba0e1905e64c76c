"""Clients that send numbered messages to the `ledger` guest, and hold what was promised against what came of them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.e2e.clients import Client, registered
from tests.e2e.daemon import Daemon
from tests.e2e.packages import package
from tests.patience import PATIENCE

ONE: Final = "one:ledger:test.os"
TWO: Final = "two:ledger:test.os"
ANSWER_SECONDS: Final = PATIENCE

WINDOW: Final = 8
"""Messages that a writer has under way at once."""
_IMPATIENCE: Final = 0.1
"""Seconds without an answer after which it sends on all the same: what it waits for may be lost."""
_VERBS: Final = ("say", "keep", "kv", "timer")
_WEIGHTS: Final = (12, 3, 2, 1)


def ledger() -> Path:
    """The package of the guest, built."""
    return package("ledger")


@dataclass
class Writer:
    """One client over all its connections. Its numbers only grow, so an answer tells what became of those before."""

    name: str
    process: str
    chance: random.Random
    sent: dict[int, str] = field(default_factory=dict)
    """The verb of each number."""
    last_sent: int = 0
    entered: dict[str, int] = field(default_factory=dict)
    """The highest number of each verb that was answered."""
    seen: int = 0
    """The number answered last."""
    refused: int = 0
    lost: list[int] = field(default_factory=list)
    """Numbers that were passed over: later ones were answered."""
    client: Client | None = None
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, verb: str) -> int:
        """Send the next number."""
        assert self.client is not None
        self.last_sent = number = self.last_sent + 1
        self.sent[number] = verb
        await self.client.socket.send(f"{verb} {self.name} {number}")
        return number

    async def write(self) -> None:
        """Send for ever, with a window."""
        while True:
            await self.send(self.chance.choices(_VERBS, _WEIGHTS)[0])
            if self.last_sent - self.seen >= WINDOW:
                self._answered.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_IMPATIENCE):  # `wait_for` can swallow a cancellation
                        await self._answered.wait()

    async def read(self) -> None:
        """Take answers for ever."""
        assert self.client is not None
        while True:
            self.take(await self.client.socket.recv())

    def take(self, answer: str | bytes) -> None:
        """Hold an answer against what was sent."""
        assert isinstance(answer, str)
        word, _, digits = answer.rpartition(" ")
        assert word in ("", "refused"), f"{self.name} was answered {answer!r}"
        number = int(digits)
        assert number > self.seen, f"{self.name} heard of {number} after {self.seen}"
        verb = self.sent[number]
        self.lost += range(self.seen + 1, number)
        self.seen = number
        self._answered.set()
        if word:
            self.refused += 1
        else:
            self.entered[verb] = number

    async def settle(self) -> list[int]:
        """Send one number more and wait for its answer: then each before it was answered, or is lost. Returns those
        that are lost since it was last asked.
        """
        number = await self.send("say")
        async with asyncio.timeout(ANSWER_SECONDS):
            while self.seen < number:
                self._answered.clear()
                await self._answered.wait()
        lost, self.lost = self.lost, []
        return lost


@asynccontextmanager
async def connected(daemon: Daemon, token: str, writers: Sequence[Writer]) -> AsyncIterator[None]:
    """Each writer has a channel of its own."""
    async with AsyncExitStack() as stack:
        for writer in writers:
            opened = registered(daemon, writer.process, token, compression=None)
            writer.client = await stack.enter_async_context(opened)
        yield


@asynccontextmanager
async def reading(writers: Sequence[Writer]) -> AsyncIterator[None]:
    """They take answers."""
    async with asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(writer.read()) for writer in writers]
        yield
        for reader in readers:
            reader.cancel()


async def traffic(writers: Sequence[Writer], seconds: float) -> None:
    """All write, for so long."""
    writing = [asyncio.ensure_future(writer.write()) for writer in writers]
    try:
        done, _ = await asyncio.wait(writing, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)


class LogTail:
    """What a node has logged since one looked last, from the file in its home."""

    def __init__(self, home: Path) -> None:
        self._path = home / "logs/node.jsonl"
        self._read = 0

    def take(self) -> list[tuple[str, str]]:
        """Source and text of each line that is new."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        lines = [json.loads(line) for line in whole.splitlines()]
        return [(line["source"], line["text"]) for line in lines]
