"""Why processes are not running that should be. Pure.

A process that ended leaves the router, and with it all that it had. What stays is this, until it is started again, its
package is uninstalled or replaced, or an operator removes it.
"""

from __future__ import annotations

import time
from typing import Final

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.core.exit_cause import ExitCause, in_words
from guesthouse.kernel.process.process import Process
from guesthouse.link.usage import NOTHING, Usage

MOST_KEPT: Final = 4096
"""The latest."""
_LONGEST: Final = 2000

ENDED: Final = "ended"
"""It returned, and is not run again."""
STOPPED: Final = "stopped"
"""By the operator."""
FAILED: Final = "failed"
"""It trapped, was ended by a limit, or could not be started."""


def state_after(cause: str) -> str:
    """`ENDED`, `STOPPED` or `FAILED`, by an `ExitCause`."""
    return {ExitCause.RETURNED: ENDED, ExitCause.STOPPED: STOPPED}.get(cause, FAILED)


class EndedProcess(Struct, frozen=True):
    """A process that ended, or was never started."""

    id: ProcessId
    cause: str
    """An `ExitCause`."""
    detail: str
    at: float
    """Unix seconds."""
    on_exit: str
    runs: int = 0
    used: Usage = NOTHING

    @property
    def state(self) -> str:
        """`ENDED`, `STOPPED` or `FAILED`."""
        return state_after(self.cause)

    def in_words(self) -> str:
        """Why, in one line."""
        return f"{in_words(self.cause)}: {self.detail}" if self.detail else in_words(self.cause)


class EndedProcesses:
    """The processes of packages that ended and were not started again. Child processes are their parents' matter."""

    def __init__(self) -> None:
        self._ended: dict[ProcessId, EndedProcess] = {}

    def ended(self, process: Process, cause: str, detail: str) -> None:
        """A process ended for good."""
        on_exit = process.on_exit if isinstance(process.on_exit, str) else "requests"
        self._add(process.id, cause, detail, on_exit, process.runs, process.used())

    def not_started(self, process: ProcessId, on_exit: str, detail: str) -> None:
        """A process could not be started. If it ran, and that is known to have ended, the earlier end stands."""
        known = self._ended.get(process)
        if known is None or known.cause == ExitCause.NOT_STARTED:
            self._add(process, ExitCause.NOT_STARTED, detail, on_exit, 0, NOTHING)

    def forget(self, process: ProcessId) -> bool:
        """It was started again, or removed. Returns whether it was there."""
        return self._ended.pop(process, None) is not None

    def get(self, process: ProcessId) -> EndedProcess | None:
        """Why that process is not running; None if that is not known, or it is running."""
        return self._ended.get(process)

    def _add(self, process: ProcessId, cause: str, detail: str, on_exit: str, runs: int, used: Usage) -> None:
        self._ended.pop(process, None)
        self._ended[process] = EndedProcess(
            process, cause, detail[:_LONGEST], time.time(), on_exit, runs, used
        )
        while len(self._ended) > MOST_KEPT:
            del self._ended[next(iter(self._ended))]
