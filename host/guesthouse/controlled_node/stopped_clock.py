"""A clock that stands still until it is moved. Pure but for `call_at`, which a worker does not use."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from math import ceil, inf
from typing import Final

from msgspec import Struct

from guesthouse.core.timing.clock import Cancellable, Clock

TICKS: Final = 1 << 20
"""Ticks of a second: a power of 2, so that a number of ticks is a float without rounding."""
_NANO: Final = 1_000_000_000
_AT_FIRST: Final = 1000 * TICKS


def ticks(seconds: float) -> int:
    """The first tick that is not before."""
    return ceil(seconds * TICKS)


class _Call(Struct, eq=False):
    callback: Callable[[], None]
    wanted: bool = True

    def cancel(self) -> None:
        self.wanted = False


class StoppedClock(Clock):
    """Shows the time that it is told to show.

    Args:
        began: Unix time, in whole seconds, at which the monotonic clock began.
    """

    def __init__(self, began: int = 0) -> None:
        self.began = began
        self.ticks = _AT_FIRST
        self._calls: list[tuple[float, int, _Call]] = []
        self._tie = count()

    def monotonic(self) -> float:
        """See `Clock`."""
        return self.ticks / TICKS

    def monotonic_ns(self) -> int:
        """See `Clock`."""
        return self.ticks * _NANO // TICKS

    def time(self) -> float:
        """See `Clock`. Whole seconds and ticks add up without rounding."""
        return self.began + self.monotonic()

    def time_ns(self) -> int:
        """See `Clock`."""
        return self.began * _NANO + self.monotonic_ns()

    def seconds_until(self, when: float) -> float:
        """See `Clock`: what is to come never comes by itself."""
        return inf if when > self.monotonic() else 0.0

    def call_at(self, when: float, callback: Callable[[], None]) -> Cancellable:
        """See `Clock`."""
        if when <= self.monotonic():
            from asyncio import get_running_loop

            return get_running_loop().call_soon(callback)
        call = _Call(callback)
        heapq.heappush(self._calls, (when, next(self._tie), call))
        return call

    def next_call(self) -> float | None:
        """When the next callback is to come."""
        while self._calls and not self._calls[0][2].wanted:
            heapq.heappop(self._calls)
        return self._calls[0][0] if self._calls else None

    def show(self, tick: int) -> None:
        """Show that time. It does not go back."""
        self.ticks = max(self.ticks, tick)

    def call_due(self) -> None:
        """Call back what is due."""
        while (when := self.next_call()) is not None and when <= self.monotonic():
            heapq.heappop(self._calls)[2].callback()
