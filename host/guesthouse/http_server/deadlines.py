"""Deadlines of many connections behind one timer. Pure: the caller says what time it is."""

from __future__ import annotations

import heapq
import sys
from typing import Protocol


class Timed(Protocol):
    """Something with at most one deadline, kept in `due`."""

    due: float
    """When it wants to be looked at; `NEVER` when it does not. Written by `Deadlines` alone."""

    def on_deadline(self, now: float) -> float:
        """Look at the time; returns the next deadline or `NEVER`."""


NEVER = float("inf")
_FEW = 64


class Deadlines:
    """A heap of deadlines.

    Something that is busy need not tell: it is looked at when its deadline comes, and gives its next.
    So traffic costs nothing here. A moved deadline leaves its old entry to be skipped; when most entries
    are such, they are thrown away, so that a storm of connections is not kept until its deadlines pass.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._count = 0
        self._set = 0
        """Items that have a deadline."""

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, item: Timed, due: float) -> None:
        """Give `item` another deadline; `NEVER` takes it away."""
        if item.due == due:
            return
        self._set += (due != NEVER) - (item.due != NEVER)
        item.due = due
        if due != NEVER:
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, item))
        if len(self._heap) > 2 * self._set + _FEW:
            self._throw_away()

    def _throw_away(self) -> None:
        kept = {id(entry[2]): entry for entry in self._heap if entry[2].due == entry[0]}
        self._heap[:] = kept.values()
        heapq.heapify(self._heap)

    def run(self, now: float, most: int = sys.maxsize) -> bool:
        """Look at what has its deadline behind it, at most at so many. Returns whether there is more."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            if not most:
                return True
            most -= 1
            due, _, item = heapq.heappop(heap)
            if item.due == due:
                item.due = NEVER
                self._set -= 1
                self.set(item, item.on_deadline(now))
        return False
