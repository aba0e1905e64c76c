"""Exponential backoff between runs of a process. Pure.

After a healthy run, the first failure restarts at once, since channels are waiting. Each further failure doubles the
pause.
"""

from __future__ import annotations

from typing import Final

from guesthouse.core.config import RestartSettings
from guesthouse.core.exit_cause import ExitCause

INNOCENT_AFTER: Final = 0.25
"""Seconds of running after which the loss of the worker is likely another process's fault, and not counted."""


class Backoff:
    """Backoff of one process."""

    __slots__ = ("_next", "_settings")

    def __init__(self, settings: RestartSettings) -> None:
        self._settings = settings
        self._next = 0.0

    def pause_after(self, cause: str, ran_seconds: float) -> float:
        """Seconds to wait before the next run."""
        settings = self._settings
        if cause == ExitCause.WORKER_LOST and ran_seconds >= INNOCENT_AFTER:
            return 0.0
        if ran_seconds >= settings.healthy_after:
            self._next = 0.0
        pause = self._next
        self._next = min(max(2 * pause, settings.first_delay), settings.longest_delay)
        return pause
