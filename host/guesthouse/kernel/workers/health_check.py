"""Whether a worker is alive, judged by how often it did not answer, not by how much time passed. Pure.

A node that was itself stopped for a while, or slept with its machine, has heard nobody meanwhile. Were time what
counts, it would end workers that are well. So the node looks at even intervals, and what counts is looks in a row at
which nothing was heard since the one before: however long the node was away, that is one look.
"""

from __future__ import annotations

from typing import Final

LOOKS: Final = 5
"""Looks in a row at which a worker has to be silent to be taken for dead."""


class MissedHeartbeats:
    """How long one worker has said nothing, in looks. It is asked at each, and need not say more than that it hears."""

    __slots__ = ("_heard", "_silent")

    def __init__(self) -> None:
        self._heard = -1
        self._silent = 0

    def look(self, heard: int) -> bool:
        """Look once more. Returns whether it has been silent for too long.

        Args:
            heard: how often it was heard in all.
        """
        if heard != self._heard:
            self._heard, self._silent = heard, 0
            return False
        self._silent += 1
        return self._silent >= LOOKS
