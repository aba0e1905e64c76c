"""HTTP requests that wait for a process to answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from guesthouse.address import ProcessId
from guesthouse.http_server import closes
from guesthouse.http_server.closes import Refusal
from guesthouse.message import HttpResponse


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that was handed to a process, and the place for its answer."""

    http_id: int
    owner: ProcessId
    answer: asyncio.Future[HttpResponse | Refusal]


class Exchanges:
    """The requests under way, by the number that names each to its process."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._open: dict[int, Exchange] = {}

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def open(self, owner: ProcessId) -> Iterator[Exchange]:
        """A new exchange; an answer that comes after the block is over is none."""
        exchange = Exchange(next(self._ids), owner, asyncio.get_running_loop().create_future())
        self._open[exchange.http_id] = exchange
        try:
            yield exchange
        finally:
            del self._open[exchange.http_id]

    def answer(self, owner: ProcessId, http_id: int, response: HttpResponse) -> bool:
        """Give the answer; False when that process has no such request to answer."""
        exchange = self._open.get(http_id)
        if exchange is None or exchange.owner != owner or exchange.answer.done():
            return False
        exchange.answer.set_result(response)
        return True

    def fail(self, owner: ProcessId) -> None:
        """The process ended: its requests get no answer."""
        for exchange in self._open.values():
            if exchange.owner == owner and not exchange.answer.done():
                exchange.answer.set_result(closes.ENDED)

    def stop(self) -> None:
        """The node ends: no request gets an answer."""
        for exchange in self._open.values():
            if not exchange.answer.done():
                exchange.answer.set_result(closes.STOPPING)


class BodyBudget:
    """How many bytes of request bodies a node holds at once."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    def take(self, size: int) -> bool:
        """Reserve; False when there is not that much."""
        if size > self._free:
            return False
        self._free -= size
        return True

    def give_back(self, size: int) -> None:
        """Return what was reserved."""
        self._free += size
