"""Homes that cannot be reached, or have not said yet what they run: clients of their processes are to come again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from guesthouse.core.address import ForeignProcess, ProcessId, canonical

AWAY_SECONDS: Final = 3600.0
"""How long a home is expected back."""
LISTING_SECONDS: Final = 60.0
"""How long a home that can be reached may take to say what it runs."""
MEETING_SECONDS: Final = 10.0
"""How long it takes to reach those that are there, once this node takes part in the cluster."""
_MOST_HOMES: Final = 256


class AwayHomes:
    """What is known of homes that are away, and of those that have not announced all of their processes.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._homes: dict[str, tuple[float, frozenset[ProcessId]]] = {}
        """Until when, and which processes, by node; the one that is away for the longest time comes first."""
        self._unlisted: dict[str, float] = {}
        """Until when it may say what else it has, by node."""

    def expect(self, nodes: Iterable[str]) -> None:
        """These homes may be there, and have said nothing yet."""
        self._unlisted |= dict.fromkeys(nodes, self._clock() + MEETING_SECONDS)

    def lost(self, node: str, processes: Iterable[ProcessId]) -> None:
        """A home with these processes cannot be reached any more."""
        had = frozenset(processes)
        if self._is_unlisted(node):
            had |= self._of(node)  # it goes again before it has announced what it has
        self._homes.pop(node, None)
        if had:
            self._homes[node] = (self._clock() + AWAY_SECONDS, had)
            if len(self._homes) > _MOST_HOMES:
                del self._homes[next(iter(self._homes))]

    def back(self, node: str) -> None:
        """It can be reached, and will announce what it has."""
        known, until = self._of(node), self._clock() + LISTING_SECONDS
        self._unlisted[node] = until
        if known:
            self._homes[node] = (until, known)

    def listed(self, node: str) -> None:
        """It can be reached, and has announced all that it has."""
        self._unlisted.pop(node, None)
        self._homes.pop(node, None)

    def have(self, process: ProcessId) -> bool:
        """Whether one of them has this process; of a `ForeignProcess`, whether its node is one and has it."""
        if isinstance(process, ForeignProcess):
            return process.plain in self._of(process.node)
        name = canonical(process)
        return any(name in self._of(node) for node in self._homes)

    def is_away(self, node: str) -> bool:
        """Whether it is one of them."""
        return bool(self._of(node))

    def may_have(self, process: ProcessId, serves: Callable[[str, str], bool]) -> bool:
        """Whether a home that has not said yet what it runs may have this process; of a `ForeignProcess`, its node.

        Args:
            process: that is not known.
            serves: whether the processes of a node's package are found here.
        """
        nodes = (process.node,) if isinstance(process, ForeignProcess) else tuple(self._unlisted)
        return any(self._is_unlisted(node) and serves(node, process.package_id) for node in nodes)

    def _is_unlisted(self, node: str) -> bool:
        return self._clock() < self._unlisted.get(node, 0.0)

    def _of(self, node: str) -> frozenset[ProcessId]:
        until, processes = self._homes.get(node, (0.0, frozenset()))
        return processes if self._clock() < until else frozenset()
