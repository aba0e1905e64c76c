"""Why processes are not running that should be. Pure.

A process that ended leaves the router, and with it all that it had. What stays is this, until it is started again, its
package is uninstalled or replaced, or an operator removes it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, TypeVar

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.core.exit_cause import ExitCause, in_words
from guesthouse.kernel.process.process import Process
from guesthouse.link.usage import NOTHING, Usage

MOST_KEPT: Final = 4096
"""The latest."""
MOST_CHILDREN: Final = 16
"""The latest of a package: a process may spawn any number."""
MOST_PARENTS: Final = 1024
"""Packages whose children are kept."""
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


_K = TypeVar("_K")
_V = TypeVar("_V")


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
    """The processes that ended and were not started again: those of packages, and the latest that these spawned."""

    def __init__(self) -> None:
        self._ended: dict[ProcessId, EndedProcess] = {}
        self._children: dict[str, dict[ProcessId, EndedProcess]] = {}

    def ended(self, process: Process, cause: str, detail: str) -> None:
        """A process ended for good."""
        self._add(_end_of(process, cause, detail))

    def child_ended(self, process: Process, cause: str, detail: str) -> None:
        """A child process ended for good."""
        self._add_child(_end_of(process, cause, detail))

    def child_not_started(self, process: ProcessId, detail: str) -> None:
        """A child could not be started with the node."""
        self._add_child(_not_started(process, "restart", detail))

    def not_started(self, process: ProcessId, on_exit: str, detail: str) -> None:
        """A process could not be started. If it ran, and that is known to have ended, the earlier end stands."""
        known = self._ended.get(process)
        if known is None or known.cause == ExitCause.NOT_STARTED:
            self._add(_not_started(process, on_exit, detail))

    def forget(self, process: ProcessId) -> bool:
        """It was started again, or removed. Returns whether it was there."""
        children = self._children.get(process.package_id, {})
        there = (self._ended.pop(process, None), children.pop(process, None))
        return there != (None, None)

    def forget_children(self, package: str) -> None:
        """The package was uninstalled or replaced."""
        self._children.pop(package, None)

    def children(self, package: str) -> Sequence[EndedProcess]:
        """The children of a package that ended, the latest last."""
        return tuple(self._children.get(package, {}).values())

    def get(self, process: ProcessId) -> EndedProcess | None:
        """Why that process is not running; None if that is not known, or it is running."""
        return self._ended.get(process) or self._children.get(process.package_id, {}).get(process)

    def _add(self, end: EndedProcess) -> None:
        _keep(self._ended, end.id, end, MOST_KEPT)

    def _add_child(self, end: EndedProcess) -> None:
        package = end.id.package_id
        children = self._children.get(package, {})
        _keep(children, end.id, end, MOST_CHILDREN)
        _keep(self._children, package, children, MOST_PARENTS)


def _end_of(process: Process, cause: str, detail: str) -> EndedProcess:
    on_exit = process.on_exit if isinstance(process.on_exit, str) else "requests"
    return EndedProcess(
        process.id, cause, detail[:_LONGEST], time.time(), on_exit, process.runs, process.used()
    )


def _not_started(process: ProcessId, on_exit: str, detail: str) -> EndedProcess:
    return EndedProcess(process, ExitCause.NOT_STARTED, detail[:_LONGEST], time.time(), on_exit)


def _keep(table: dict[_K, _V], key: _K, value: _V, most: int) -> None:
    """Put it last, and drop what was put first beyond `most`."""
    table.pop(key, None)
    table[key] = value
    while len(table) > most:
        del table[next(iter(table))]
