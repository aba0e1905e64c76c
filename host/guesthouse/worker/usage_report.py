"""Reports what guests use to the node, about once a second while it changes. See `link/usage.py`."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from time import monotonic
from typing import Final

from guesthouse.link.schema import MOST_RUNS
from guesthouse.link.to_node import RunUsage, UsageUpdate
from guesthouse.link.usage import Usage
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.worker.guest import Guest
from guesthouse.worker.link import LinkWriter

_EVERY_SECONDS: Final = 1.0
_NEVER: Final = (0.0, 0)


class UsageReport:
    """Reports the usage of guests that ran since the last report, and once more when they are idle."""

    def __init__(self, outgoing: LinkWriter) -> None:
        self._outgoing = outgoing
        self._looked_at = monotonic()
        self._next = self._looked_at + _EVERY_SECONDS
        self._last: dict[int, tuple[float, int]] = {}
        """CPU seconds and host calls at the last report, by handle."""
        self._busy: set[int] = set()
        """Those that were running in the last report."""
        self._full: set[int] = set()
        """Those whose full memory was logged."""
        self._unreported = False

    def due_seconds(self) -> float:
        """Seconds until `report` has something to report without further events."""
        return max(0.0, self._next - monotonic()) if self._unreported else inf

    def report(self, guests: Collection[Guest]) -> None:
        """Report if it is due and something changed."""
        now = monotonic()
        if now < self._next:
            self._unreported = True
            return
        seconds, self._looked_at, self._next = now - self._looked_at, now, now + _EVERY_SECONDS
        self._forget_the_gone(guests)
        ran = [guest for guest in guests if guest.cpu_seconds != self._last.get(guest.handle, _NEVER)[0]]
        resting = self._busy.difference(guest.handle for guest in ran)
        said = [*ran, *(guest for guest in guests if guest.handle in resting)] if resting else ran
        runs = [self._usage(guest, seconds, guest.fiber.memory_bytes()) for guest in said]
        for start in range(0, len(runs), MOST_RUNS):
            self._outgoing.add(UsageUpdate(runs[start : start + MOST_RUNS]))
        self._busy = {guest.handle for guest in ran}
        self._unreported = bool(self._busy)

    def report_end(self, guest: Guest) -> None:
        """Report the usage of a run that has just ended."""
        seconds = max(_EVERY_SECONDS, monotonic() - self._looked_at)
        self._outgoing.add(UsageUpdate([self._usage(guest, seconds, 0)]))

    def _usage(self, guest: Guest, seconds: float, memory_bytes: int) -> RunUsage:
        cpu, calls = guest.cpu_seconds, guest.fiber.calls
        last_cpu, last_calls = self._last.get(guest.handle, _NEVER)
        self._last[guest.handle] = cpu, calls
        self._warn_of_full_memory(guest, memory_bytes)
        used = Usage(
            cpu_seconds=cpu,
            memory_bytes=memory_bytes,
            message_seconds=_on_message(guest),
            cpu_share=(cpu - last_cpu) / seconds,
            calls=calls,
            calls_per_second=round((calls - last_calls) / seconds),
            held_seconds=guest.budget.held_seconds,
            lines_dropped=guest.log.dropped,
        )
        return RunUsage(guest.handle, used)

    def _warn_of_full_memory(self, guest: Guest, memory_bytes: int) -> None:
        """The host is not told that memory was refused; a guest this close to the limit has likely been."""
        limit = guest.limits.memory_bytes
        if memory_bytes > limit - limit // 16 - WASM_PAGE and guest.handle not in self._full:
            self._full.add(guest.handle)
            guest.log.warn(
                f"its memory is full, or nearly so: {memory_bytes} of {limit} bytes (process.memory_bytes)"
            )

    def _forget_the_gone(self, guests: Collection[Guest]) -> None:
        if len(self._last) > len(guests):
            there = {guest.handle for guest in guests}
            self._last = {handle: last for handle, last in self._last.items() if handle in there}
            self._full &= there
            self._busy &= there


def _on_message(guest: Guest) -> float:
    """CPU seconds of the current or last message; of the start, before the first."""
    limits = guest.limits
    limit = limits.cpu_seconds_per_message if guest.serves else limits.start_seconds
    return max(0.0, limit - guest.slice_budget)
