"""Rate limits of a guest: its share of the worker's time, and host calls per second.

A guest that exceeds one is throttled, not ended: it is not polled until its average is within the limit again. Bursts
are mostly honest, and a slow guest still serves its channels; one that
never finishes a message is ended by `cpu_seconds_per_message`, which counts CPU time only.

Nothing is done per call but counting. A `TokenBucket` knows up to which total nobody has to look at the clock,
so a guest within its budget costs two comparisons a slice.
"""

from __future__ import annotations

from typing import Final

from guesthouse.core.throttle import Throttle

BURST_SECONDS: Final = 1.0
"""Seconds' worth that a guest may accumulate. It is refilled only when used up, so after a rest
twice that may be used at once."""

SAY_EVERY_SECONDS: Final = 60.0
"""Between log lines about a throttled guest."""


class TokenBucket:
    """A total that may grow by so much a second. Pure: the time is an argument, in seconds."""

    __slots__ = ("_looked_at", "enough", "per_second")

    def __init__(self, per_second: float, now: float) -> None:
        self.per_second = per_second
        self._looked_at = now
        self.enough = per_second * BURST_SECONDS
        """The total up to which `wait_seconds` need not be called."""

    def wait_seconds(self, total: float, now: float) -> float:
        """Seconds until a total over `enough` is within the limit; 0 if it is by now."""
        grown = self.enough + (now - self._looked_at) * self.per_second
        self.enough = min(grown, total + self.per_second * BURST_SECONDS)
        self._looked_at = now
        return max(0.0, (total - self.enough) / self.per_second)


class RateLimits:
    """The two rate limits of one guest, and how long it was throttled."""

    __slots__ = ("_throttle", "calls", "cpu", "held_seconds")

    def __init__(self, cpu_share: float, calls_per_second: int, now: float) -> None:
        self.cpu = TokenBucket(cpu_share, now)
        self.calls = TokenBucket(calls_per_second, now)
        self.held_seconds = 0.0
        self._throttle = Throttle(SAY_EVERY_SECONDS)

    def is_used_up(self, cpu_seconds: float, calls: int) -> bool:
        """Whether the totals may exceed a limit, so that `hold_seconds` has to be called."""
        return cpu_seconds >= self.cpu.enough or calls >= self.calls.enough

    def hold_seconds(self, cpu_seconds: float, calls: int, now: float) -> tuple[float, str | None]:
        """How long to throttle a guest with these totals, and what to log, if it is due."""
        by_cpu = self.cpu.wait_seconds(cpu_seconds, now)
        by_calls = self.calls.wait_seconds(calls, now)
        seconds = max(by_cpu, by_calls)
        if not seconds:
            return 0.0, None
        self.held_seconds += seconds
        which = self.cpu if by_cpu >= by_calls else self.calls
        is_said = self._throttle.omitted(which is self.cpu, now) is not None
        return seconds, self._in_words(which) if is_said else None

    def _in_words(self, which: TokenBucket) -> str:
        if which is self.cpu:
            return (
                f"it uses over {which.per_second:.1%} of its worker's time: it is throttled to that "
                "(process.cpu_share)"
            )
        return (
            f"it makes over {which.per_second:.0f} host calls a second: it is throttled to that "
            "(process.host_calls_per_second)"
        )
