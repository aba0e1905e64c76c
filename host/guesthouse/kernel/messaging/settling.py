"""Settles what processes left that ended: a little in each turn of the event loop, however much there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

from guesthouse.core.turn import TURN_SECONDS
from guesthouse.kernel.messaging.pending_requests import PendingRequest, PendingRequests

AT_LEAST: Final = 32
"""Requests that are settled in a turn, however long they take."""


class Settling:
    """Tells who waits for the requests of processes that ended. Needs a running event loop.

    Args:
        requests: of the node.
        fail: tells the sender of one that was settled.
    """

    def __init__(self, requests: PendingRequests, fail: Callable[[PendingRequest], None]) -> None:
        self._requests = requests
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.Handle | None = None

    def begin(self) -> None:
        """Something was left: settle some of it now, unless this was done in this turn, and the rest later."""
        if self._turn is None:
            self._some()

    def finish(self) -> None:
        """Settle all that is left, at once: the node stops."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        for waiting in self._requests.left():
            if waiting is not None:
                self._fail(waiting)

    def _next_turn(self) -> None:
        self._turn = None
        if self._requests.anything_left:
            self._some()

    def _some(self) -> None:
        self._turn = self._loop.call_soon(self._next_turn)
        until = perf_counter() + TURN_SECONDS
        for count, waiting in enumerate(self._requests.left(), 1):
            if waiting is not None:
                self._fail(waiting)
            if count % AT_LEAST == 0 and perf_counter() > until:
                return
