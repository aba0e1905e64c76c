"""What guests use, told to the node about once a second while it changes."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Final

from guesthouse.link.ops import ToNode
from guesthouse.worker.boundary.memory import linear_memories
from guesthouse.worker.guest import Guest
from guesthouse.worker.outgoing import Outgoing

_EVERY_SECONDS: Final = 1.0
MOST_MEASURED: Final = 256
"""Guests of one worker whose memory is known: finding it costs a look at all mappings, at each start."""


class Memories:
    """Which memory is whose: the one that is there after a guest was instantiated and was not before."""

    def __init__(self) -> None:
        self._of: dict[int, Guest] = {}

    def instantiated(self, guest: Guest) -> None:
        """Find the memory of a guest that was just instantiated. With many guests it stays unknown."""
        self._of = {start: other for start, other in self._of.items() if not other.gone}
        if len(self._of) < MOST_MEASURED:
            new = linear_memories().keys() - self._of.keys()
            if len(new) == 1:
                self._of[new.pop()] = guest

    def sizes(self) -> dict[int, int]:
        """Bytes of the memories that are known, by the handles of their guests."""
        if not self._of:
            return {}
        now = linear_memories()
        return {guest.handle: now.get(start, 0) for start, guest in self._of.items() if not guest.gone}


class UsageReport:
    """Reports the CPU seconds and the memory of the guests that ran since the last report."""

    def __init__(self, outgoing: Outgoing, memories: Memories) -> None:
        self._outgoing = outgoing
        self._memories = memories
        self._next = monotonic() + _EVERY_SECONDS
        self._reported: dict[int, float] = {}

    def report(self, guests: Iterable[Guest]) -> None:
        """Report if it is time and something changed."""
        now = monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        used = {guest.handle: guest.cpu_seconds for guest in guests}
        changed = {handle: cpu for handle, cpu in used.items() if cpu != self._reported.get(handle)}
        self._reported = used
        if changed:
            sizes = self._memories.sizes()
            usage = {handle: [cpu, sizes.get(handle, 0)] for handle, cpu in changed.items()}
            self._outgoing.add([ToNode.USAGE, usage])
