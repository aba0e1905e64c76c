"""One timer for any number of deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class DeadlineTimer:
    """Calls back when the nearest deadline passes. Needs a running event loop.

    Args:
        nearest: returns the nearest deadline in the loop's time, or None.
        expired: called when it has passed.
    """

    def __init__(self, nearest: Callable[[], float | None], expired: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._nearest = nearest
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0  # uvloop's handles do not always tell

    def set(self) -> None:
        """Adjust the timer: the deadlines changed."""
        deadline = self._nearest()
        if self._timer is not None:
            if deadline is not None and self._fires_at <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._fires_at = deadline
            self._timer = self._loop.call_at(deadline, self._fire)

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer = None
        self._expired()
        self.set()
