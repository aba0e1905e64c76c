"""Timer wheel: the deadlines of all connections behind one timer. Pure: the caller passes the time."""

from __future__ import annotations

import heapq
import sys
from typing import Final, Protocol


class Timed(Protocol):
    """An object with at most one deadline."""

    due: float
    """The deadline or `NEVER`. Set by `TimerWheel` only."""

    def on_deadline(self, now: float) -> float:
        """Handle the deadline; returns the next one or `NEVER`."""


NEVER = float("inf")

_SLOTS_A_SECOND: Final = 16


class TimerWheel:
    """Deadlines in slots of 1/16 s.

    Activity need not move a deadline: `on_deadline` is called when the old one passes and returns the next, so traffic
    costs nothing here. Deadlines that are moved or removed free their entry at once.
    """

    def __init__(self) -> None:
        self._slots: dict[int, dict[Timed, None]] = {}
        self._order: list[int] = []
        """Heap of the slots' numbers."""
        self._passed: list[Timed] = []
        """Items due whose `on_deadline` is still to be called."""

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def set(self, item: Timed, due: float) -> None:
        """Set the deadline of `item`; `NEVER` removes it."""
        if item.due == due:
            return
        if item.due != NEVER:
            self._remove(item)
        item.due = due
        if due != NEVER:
            number = int(due * _SLOTS_A_SECOND)
            slot = self._slots.get(number)
            if slot is None:
                slot = self._slots[number] = {}
                heapq.heappush(self._order, number)
            slot[item] = None

    def run(self, now: float, limit: int = sys.maxsize) -> bool:
        """Call `on_deadline` of at most `limit` items that are due. Returns whether more may be due."""
        while self._passed or self._collect(now):
            if not limit:
                return True
            item = self._passed.pop()
            if item.due <= now:  # not moved meanwhile by another item
                limit -= 1
                self.set(item, NEVER)
                self.set(item, item.on_deadline(now))
        return False

    def _remove(self, item: Timed) -> None:
        slot = self._slots.get(int(item.due * _SLOTS_A_SECOND))
        if slot is not None:
            slot.pop(item, None)
            if not slot:
                slot.clear()  # frees the dict's table

    def _collect(self, now: float) -> bool:
        """Move the items of the first slot with any due to `_passed`; False when none is."""
        while self._order and self._order[0] <= now * _SLOTS_A_SECOND:
            slot = self._slots[self._order[0]]
            self._passed = [item for item in slot if item.due <= now]
            if len(self._passed) < len(slot):  # the current slot
                for item in self._passed:
                    del slot[item]
                return bool(self._passed)
            del self._slots[heapq.heappop(self._order)]
            if self._passed:
                return True
        return False
