"""What guests use, told to the node about once a second while it changes."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Final

from guesthouse.link.ops import ToNode
from guesthouse.worker.guest import Guest
from guesthouse.worker.outgoing import Outgoing

_EVERY_SECONDS: Final = 1.0


class UsageReport:
    """Reports the CPU seconds of the guests that ran since the last report."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._next = monotonic() + _EVERY_SECONDS
        self._reported: dict[int, float] = {}

    def report(self, guests: Iterable[Guest]) -> None:
        """Report if it is time and something changed."""
        now = monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        used = {guest.handle: guest.cpu_seconds for guest in guests}
        changed = {handle: [cpu, 0] for handle, cpu in used.items() if cpu != self._reported.get(handle)}
        self._reported = used
        if changed:
            self._outgoing.add([ToNode.USAGE, changed])
