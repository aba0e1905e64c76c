"""One timer for any number of deadlines."""

from __future__ import annotations

from collections.abc import Callable

from guesthouse.core.timing.clock import Cancellable, Clock


class DeadlineTimer:
    """Calls back when the nearest deadline passes. Needs a running event loop.

    Args:
        nearest: returns the nearest deadline in the clock's monotonic time, or None.
        expired: called when it has passed.
        clock: the time that deadlines go by.
    """

    def __init__(
        self, nearest: Callable[[], float | None], expired: Callable[[], None], clock: Clock
    ) -> None:
        self._clock = clock
        self._nearest = nearest
        self._expired = expired
        self._timer: Cancellable | None = None
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
            self._timer = self._clock.call_at(deadline, self._fire)

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer = None
        self._expired()
        self.set()
