"""Deadlines of which most are cancelled before they pass. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Container
from typing import Final

_SLACK: Final = 1024
_SWEPT: Final = 4


class Due:
    """Deadlines by id, nearest first. Cancelled ones are removed incrementally, so that each call takes a few steps,
    however many are cancelled at once.

    Args:
        live: the ids that are not cancelled.
    """

    def __init__(self, live: Container[int]) -> None:
        self._live = live
        self._heap: list[tuple[float, int]] = []
        self._swept: list[tuple[float, int]] = []
        """Another heap: new deadlines, and those found live by the current sweep."""

    def __len__(self) -> int:
        return len(self._heap) + len(self._swept)

    def add(self, deadline: float, number: int) -> None:
        """Add a deadline."""
        heapq.heappush(self._swept, (deadline, number))

    def next(self) -> tuple[float, int] | None:
        """The nearest live deadline and its id."""
        for heap in (self._heap, self._swept):
            while heap and heap[0][1] not in self._live:
                heapq.heappop(heap)
        return min((heap[0] for heap in (self._heap, self._swept) if heap), default=None)

    def sweep(self, live: int) -> None:
        """Continue to sweep after a cancellation. Keeps the size near twice the number of live ones, `live`."""
        if len(self) <= 2 * live + _SLACK:
            return
        for _ in range(_SWEPT):
            if not self._heap:
                self._heap, self._swept = self._swept, []
            entry = self._heap.pop()  # removing the last entry keeps the heap invariant
            if entry[1] in self._live:
                heapq.heappush(self._swept, entry)
