"""When to try again. Pure but for chance."""

from __future__ import annotations

import random


class Backoff:
    """Pauses between attempts: none at first, then doubling, with jitter.

    Args:
        first: the pause before the second attempt, in seconds, at most.
        longest: the most that it doubles to.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._failures = 0

    def pause(self, *, longer: bool = False) -> float:
        """Seconds to wait before the next attempt.

        Args:
            longer: the node asked to be left alone for a while.
        """
        self._failures += 4 if longer else 1
        if self._failures == 1:
            return 0.0
        most: float = min(self._longest, self._first * 2 ** min(self._failures - 2, 30))
        return random.uniform(most / 2, most)  # noqa: S311 - spreads clients, keeps no secret

    def lasted(self) -> None:
        """The connection was of use: the next attempt is a first one. One that breaks at once does not count, for it
        may do so each time.
        """
        self._failures = 0
