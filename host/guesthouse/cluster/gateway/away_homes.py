"""Homes that cannot be reached, and the processes that they announced, whose clients are to connect again later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from guesthouse.core.address import ForeignProcess, ProcessId, canonical

AWAY_SECONDS: Final = 3600.0
"""How long a home is expected back."""
SETTLE_SECONDS: Final = 5.0
"""How long it takes a home that is back to announce its processes."""
_MOST_HOMES: Final = 256


class AwayHomes:
    """What is remembered of homes that are away.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._homes: dict[str, tuple[float, frozenset[ProcessId]]] = {}
        """Until when, and which processes, by node; the one that is away for the longest time comes first."""

    def lost(self, node: str, processes: Iterable[ProcessId]) -> None:
        """A home with these processes cannot be reached any more."""
        had = frozenset(processes) or self._of(node)  # it may go again before it has announced what it has
        self._homes.pop(node, None)
        if had:
            self._homes[node] = (self._clock() + AWAY_SECONDS, had)
            if len(self._homes) > _MOST_HOMES:
                del self._homes[next(iter(self._homes))]

    def back(self, node: str) -> None:
        """It can be reached, and will announce what it has."""
        known = self._of(node)
        if known:
            self._homes[node] = (self._clock() + SETTLE_SECONDS, known)

    def have(self, process: ProcessId) -> bool:
        """Whether one of them has this process; of a `ForeignProcess`, whether its node is one and has it."""
        if isinstance(process, ForeignProcess):
            return process.plain in self._of(process.node)
        name = canonical(process)
        return any(name in self._of(node) for node in self._homes)

    def is_away(self, node: str) -> bool:
        """Whether it is one of them."""
        return bool(self._of(node))

    def _of(self, node: str) -> frozenset[ProcessId]:
        until, processes = self._homes.get(node, (0.0, frozenset()))
        return processes if self._clock() < until else frozenset()
