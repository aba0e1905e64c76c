"""When a process that ended is started again. Pure.

The first failure after a healthy run is forgiven at once, since channels wait; each further one waits
twice as long as the last, so a process that cannot live costs next to nothing.
"""

from __future__ import annotations

from typing import Final

from guesthouse.config import RestartSettings
from guesthouse.link.messages import ExitCause

INNOCENT_AFTER: Final = 0.25
"""Seconds of running after which the loss of its worker is not held against a process: it is likely
another's doing.
"""

_WORDS: Final = {
    ExitCause.RETURNED: "returned",
    ExitCause.TRAP: "trapped",
    ExitCause.OUT_OF_TIME: "ran out of time",
    ExitCause.OUT_OF_MEMORY: "ran out of memory",
    ExitCause.STACK_OVERFLOW: "overflowed its stack",
    ExitCause.HOST_FAULT: "ended by a fault of the host",
    ExitCause.STOPPED: "was stopped",
    ExitCause.NOT_STARTED: "could not be started",
    ExitCause.WORKER_LOST: "lost its worker",
}

CAUSES: Final = frozenset(_WORDS) - {ExitCause.WORKER_LOST}
"""What a worker may give as the cause of an end."""


class Backoff:
    """The pauses of one process."""

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


def in_words(cause: str) -> str:
    """What happened, for the log: `trapped`, `ran out of time`, …"""
    return _WORDS.get(cause, cause)
