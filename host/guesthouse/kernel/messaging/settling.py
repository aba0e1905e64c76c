"""Settles the requests of ended processes, a few in each iteration of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

from guesthouse.core.turn import TURN_SECONDS
from guesthouse.kernel.messaging.pending_requests import PendingRequest, PendingRequests

AT_LEAST: Final = 32
"""Requests settled in one iteration, however long they take."""


class Settling:
    """Fails requests to ended processes and drops those of ended senders. Needs a running event loop.

    Args:
        requests: the node's pending requests.
        fail: reports a failed request to its sender.
    """

    def __init__(self, requests: PendingRequests, fail: Callable[[PendingRequest], None]) -> None:
        self._requests = requests
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.Handle | None = None

    def begin(self) -> None:
        """A process ended: settle some of its requests now, unless done in this iteration, and the rest later."""
        if self._turn is None:
            self._settle_some()

    def finish(self) -> None:
        """Settle all at once: the node is shutting down."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        for waiting in self._requests.left():
            if waiting is not None:
                self._fail(waiting)

    def _next_turn(self) -> None:
        self._turn = None
        if self._requests.anything_left:
            self._settle_some()

    def _settle_some(self) -> None:
        self._turn = self._loop.call_soon(self._next_turn)
        until = perf_counter() + TURN_SECONDS
        for count, waiting in enumerate(self._requests.left(), 1):
            if waiting is not None:
                self._fail(waiting)
            if count % AT_LEAST == 0 and perf_counter() > until:
                return
