"""Detects dead workers by missed heartbeats. Pure.

Heartbeats are counted, not timed: after the node itself was suspended, elapsed time would make healthy workers look
dead. However long the suspension, it is one missed heartbeat.
"""

from __future__ import annotations

from typing import Final

LOOKS: Final = 5
"""Missed heartbeats in a row after which a worker counts as dead."""


class MissedHeartbeats:
    """Counts the missed heartbeats of one worker."""

    __slots__ = ("_heard", "_silent")

    def __init__(self) -> None:
        self._heard = -1
        self._silent = 0

    def look(self, heard: int) -> bool:
        """Check once more. Returns whether the worker counts as dead.

        Args:
            heard: number of reads from the worker so far.
        """
        if heard != self._heard:
            self._heard, self._silent = heard, 0
            return False
        self._silent += 1
        return self._silent >= LOOKS
