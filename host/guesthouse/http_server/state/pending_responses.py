"""HTTP requests that wait for a process to answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import HttpResponse
from guesthouse.core.ports import Answer
from guesthouse.core.responses import answer_of
from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import Refusal


@dataclass(slots=True)
class PendingResponse:
    """One request that was handed to a process, and the place for its answer."""

    http_id: int
    owner: ProcessId
    answer: asyncio.Future[HttpResponse | Refusal]
    handed_on: int = 0
    """The request between processes whose response is the answer, when its process handed it on."""

    def settle(self, answer: HttpResponse | Refusal) -> None:
        """Give the answer, unless there is one."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def take_response(self, response: Answer | str) -> None:
        """Another process answered, or (a word that says why) will not."""
        if response == "timeout":
            return  # the exchange has a time of its own
        if isinstance(response, str):
            self.settle(close_codes.ENDED)
            return
        blob = response.blob
        mime, payload = (None, None) if blob is None else (blob.mime, blob.bytes)
        self.settle(answer_of(response.body, mime, payload) or close_codes.BAD_ANSWER)


class PendingResponses:
    """The requests under way, by the number that names each to its process.

    Args:
        forget: told the number of a request between processes that need not be answered any more.
    """

    def __init__(self, forget: Callable[[int], None]) -> None:
        self._forget = forget
        self._ids = itertools.count(1)
        self._open: dict[int, PendingResponse] = {}

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def open(self, owner: ProcessId) -> Iterator[PendingResponse]:
        """A new exchange; an answer that comes after the block is over is none."""
        exchange = PendingResponse(next(self._ids), owner, asyncio.get_running_loop().create_future())
        self._open[exchange.http_id] = exchange
        try:
            yield exchange
        finally:
            del self._open[exchange.http_id]
            if exchange.handed_on:
                self._forget(exchange.handed_on)

    def answer(self, owner: ProcessId, http_id: int, response: HttpResponse) -> bool:
        """Give the answer; False when that process has no such request to answer."""
        exchange = self._open.get(http_id)
        if exchange is None or exchange.owner != owner or exchange.answer.done():
            return False
        exchange.answer.set_result(response)
        return True

    def hand_on(
        self, owner: ProcessId, http_id: int, expect: Callable[[Callable[[Answer | str], None]], int]
    ) -> int:
        """The process lets others answer in its place, by the response to a request between processes, which
        `expect` makes. Returns the number of that request; 0 when the process has none to answer.
        """
        exchange = self._open.get(http_id)
        if exchange is None or exchange.owner != owner or exchange.answer.done():
            return 0
        if not exchange.handed_on:
            exchange.handed_on = expect(exchange.take_response)
        return exchange.handed_on

    def fail(self, owner: ProcessId, kept: Container[int] = ()) -> None:
        """The process ended: its requests get no answer, but those that are `kept` for its next run and those that
        others answer in its place.
        """
        for exchange in self._open.values():
            if exchange.owner == owner and not exchange.handed_on and exchange.http_id not in kept:
                exchange.settle(close_codes.ENDED)

    def stop(self) -> None:
        """The node ends: no request gets an answer."""
        for exchange in self._open.values():
            exchange.settle(close_codes.STOPPING)


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
