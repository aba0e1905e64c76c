"""Work that can wait, done a little in each turn of the event loop. Pure: the loop and the clock are given.

What clients can cause in any amount, all at once, goes through here: opening, registering, pings, closing, and
whatever of one read goes past a slice. What it does not go through is the ordinary messages of open channels, so
these are never behind more than a slice of the rest, however much of it there is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

SLICE_SECONDS: Final = 0.001
"""How much of a turn is given to what waits. What is begun is finished."""

AT_ONCE: Final = 2
"""Pieces of work that are done without waiting, in a turn in which nothing waits."""


class FairQueue:
    """A queue of work, done in order: about `SLICE_SECONDS` of it in each turn of the loop.

    Args:
        call_soon: has a function called in the loop's next turn, after it looked at all sockets.
        clock: seconds.
    """

    __slots__ = ("_at_once", "_call_soon", "_clock", "_scheduled", "_waiting")

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], Any], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._call_soon = call_soon
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()
        self._at_once = AT_ONCE
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> bool:
        """Whether a piece of work may be done at once: nothing waits, and few were in this turn. When not, `add` it."""
        if self._waiting or not self._at_once:
            return False
        self._at_once -= 1
        self._schedule()
        return True

    def add(self, work: Callable[[], None]) -> None:
        """Do it in a later turn, after all that waits already."""
        self._waiting.append(work)
        self._schedule()

    def run(self, work: Callable[[], None]) -> None:
        """Do it at once when it may be, else later."""
        if self.take():
            work()
        else:
            self.add(work)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._at_once = AT_ONCE
        waiting, clock = self._waiting, self._clock
        end = clock() + SLICE_SECONDS
        try:
            while waiting and clock() < end:
                waiting.popleft()()
        finally:
            if waiting:
                self._schedule()
