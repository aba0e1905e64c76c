"""The time that guests see, and that their timers and time-outs go by."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, monotonic_ns, time, time_ns
from typing import Protocol


class Cancellable(Protocol):
    """A callback that is to come."""

    def cancel(self) -> None:
        """It is not to come."""


class Clock:
    """The machine's clock. A node for tests has another, which stands still (`controlled_node/stopped_clock.py`)."""

    def monotonic(self) -> float:
        """Seconds since some time; they never go back."""
        return monotonic()

    def monotonic_ns(self) -> int:
        """The same in nanoseconds."""
        return monotonic_ns()

    def time(self) -> float:
        """Seconds of Unix time."""
        return time()

    def time_ns(self) -> int:
        """The same in nanoseconds."""
        return time_ns()

    def seconds_until(self, when: float) -> float:
        """Seconds until that time of the monotonic clock comes by itself; 0 if it has."""
        return max(0.0, when - self.monotonic())

    def call_at(self, when: float, callback: Callable[[], None]) -> Cancellable:
        """Call back at that time of the monotonic clock, in the running event loop."""
        from asyncio import get_running_loop  # a worker has no event loop, and loads none

        return get_running_loop().call_later(self.seconds_until(when), callback)
