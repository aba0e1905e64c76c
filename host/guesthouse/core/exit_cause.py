"""Why a process ended."""

from __future__ import annotations

from typing import Final


class ExitCause:
    """Why a process ended."""

    RETURNED: Final = "returned"
    TRAP: Final = "trap"
    OUT_OF_TIME: Final = "out-of-time"
    OUT_OF_MEMORY: Final = "out-of-memory"
    STACK_OVERFLOW: Final = "stack-overflow"
    HOST_FAULT: Final = "host-fault"
    STOPPED: Final = "stopped"
    NOT_STARTED: Final = "not-started"
    """The component could not be instantiated; the detail says why."""
    WORKER_LOST: Final = "worker-lost"
    """Never on the link: set by the node when a worker dies."""


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
"""The causes that a worker may report."""


def in_words(cause: str) -> str:
    """The cause as text for the log: `trapped`, `ran out of time`, …"""
    return _WORDS.get(cause, cause)
