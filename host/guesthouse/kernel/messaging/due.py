"""When things are due, of which most never come to be: they are over before. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Container
from typing import Final

_SLACK: Final = 1024
_SWEPT: Final = 4


class Due:
    """Deadlines by id, the nearest first. What is over is swept out a little at a time, so that no call costs more than
    a few steps, however many were over at once.

    Args:
        there: the ids that are not over.
    """

    def __init__(self, there: Container[int]) -> None:
        self._there = there
        self._heap: list[tuple[float, int]] = []
        self._swept: list[tuple[float, int]] = []
        """Another heap: what is new, and what was not over when it was looked at."""

    def __len__(self) -> int:
        return len(self._heap) + len(self._swept)

    def add(self, deadline: float, number: int) -> None:
        """Note when one is due."""
        heapq.heappush(self._swept, (deadline, number))

    def next(self) -> tuple[float, int] | None:
        """The nearest deadline of one that is there, and which."""
        for heap in (self._heap, self._swept):
            while heap and heap[0][1] not in self._there:
                heapq.heappop(heap)
        return min((heap[0] for heap in (self._heap, self._swept) if heap), default=None)

    def sweep(self, there: int) -> None:
        """One is over, and so many are not: what is kept stays near twice as many, at most."""
        if len(self) <= 2 * there + _SLACK:
            return
        for _ in range(_SWEPT):
            if not self._heap:
                self._heap, self._swept = self._swept, []
            entry = self._heap.pop()  # without its last, it is a heap still
            if entry[1] in self._there:
                heapq.heappush(self._swept, entry)
