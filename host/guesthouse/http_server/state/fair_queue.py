"""Deferrable work, a bounded amount in each iteration of the event loop. Pure: loop and clock are injected.

Work that clients can cause in bursts goes through this queue: handshakes, registering, pings, closing, and what exceeds
the slice of one read. Ordinary messages do not, so a burst delays them by no more than one slice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

SLICE_SECONDS: Final = 0.001
"""Time for queued work in one iteration. Work that has started is finished."""

AT_ONCE: Final = 2
"""Pieces of work done immediately in an iteration in which the queue is empty."""


class FairQueue:
    """A FIFO queue of callbacks, run for about `SLICE_SECONDS` in each iteration of the event loop.

    Args:
        call_soon: schedules a callback for the loop's next iteration.
        clock: returns seconds.
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
        """Whether work may be done immediately: the queue is empty and fewer than `AT_ONCE` were. If not, `add` it."""
        if self._waiting or not self._at_once:
            return False
        self._at_once -= 1
        self._schedule()
        return True

    def add(self, work: Callable[[], None]) -> None:
        """Queue work for a later iteration."""
        self._waiting.append(work)
        self._schedule()

    def run(self, work: Callable[[], None]) -> None:
        """Do work immediately if `take` allows it, else queue it."""
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
