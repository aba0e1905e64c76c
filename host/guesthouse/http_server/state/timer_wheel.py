"""Deadlines of many connections behind one timer. Pure: the caller says what time it is."""

from __future__ import annotations

import heapq
import sys
from typing import Final, Protocol


class Timed(Protocol):
    """Something with at most one deadline, kept in `due`."""

    due: float
    """When it wants to be looked at; `NEVER` when it does not. Written by `TimerWheel` alone."""

    def on_deadline(self, now: float) -> float:
        """Look at the time; returns the next deadline or `NEVER`."""


NEVER = float("inf")

_SLOTS_A_SECOND: Final = 16


class TimerWheel:
    """What is due, by the sixteenth of a second in which it is.

    Something that is busy need not tell: it is looked at when its deadline comes, and gives its next.
    So traffic costs nothing here. A deadline that is moved or taken away leaves nothing behind: a storm of
    connections is neither kept until its deadlines pass, nor does it cost anything then.
    """

    def __init__(self) -> None:
        self._slots: dict[int, dict[Timed, None]] = {}
        self._order: list[int] = []
        """A heap of the slots that there are."""
        self._passed: list[Timed] = []
        """What was due when it was last looked for, and is not looked at yet."""

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def set(self, item: Timed, due: float) -> None:
        """Give `item` another deadline; `NEVER` takes it away."""
        if item.due == due:
            return
        if item.due != NEVER:
            self._take_away(item)
        item.due = due
        if due != NEVER:
            number = int(due * _SLOTS_A_SECOND)
            slot = self._slots.get(number)
            if slot is None:
                slot = self._slots[number] = {}
                heapq.heappush(self._order, number)
            slot[item] = None

    def run(self, now: float, most: int = sys.maxsize) -> bool:
        """Look at what has its deadline behind it, at most at so many. Returns whether there may be more."""
        while self._passed or self._pass(now):
            if not most:
                return True
            item = self._passed.pop()
            if item.due <= now:  # unless another of them moved it
                most -= 1
                self.set(item, NEVER)
                self.set(item, item.on_deadline(now))
        return False

    def _take_away(self, item: Timed) -> None:
        slot = self._slots.get(int(item.due * _SLOTS_A_SECOND))
        if slot is not None:
            slot.pop(item, None)
            if not slot:
                slot.clear()  # which frees what it had grown to

    def _pass(self, now: float) -> bool:
        """Take what is due out of the first slot that has any; False when nothing is."""
        while self._order and self._order[0] <= now * _SLOTS_A_SECOND:
            slot = self._slots[self._order[0]]
            self._passed = [item for item in slot if item.due <= now]
            if len(self._passed) < len(slot):  # the slot of this very moment
                for item in self._passed:
                    del slot[item]
                return bool(self._passed)
            del self._slots[heapq.heappop(self._order)]
            if self._passed:
                return True
        return False
