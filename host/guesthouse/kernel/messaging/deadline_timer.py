"""One timer for any number of deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class DeadlineTimer:
    """Calls `ring` when the nearest deadline is there. Needs a running event loop.

    Args:
        nearest: the nearest deadline, in the loop's time; None when there is none.
        ring: called once it is over.
    """

    def __init__(self, nearest: Callable[[], float | None], ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._nearest = nearest
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0  # when the timer fires; uvloop's handles do not always say

    def set(self) -> None:
        """The deadlines changed."""
        deadline = self._nearest()
        if self._timer is not None:
            if deadline is not None and self._rings_at <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._rings_at = deadline
            self._timer = self._loop.call_at(deadline, self._over)

    def close(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _over(self) -> None:
        self._timer = None
        self._ring()
        self.set()
