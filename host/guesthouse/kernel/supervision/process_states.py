"""State machine of a supervised process. Pure.

    Waiting --> Starting --> Running --> Stopping
       ^           |            |           |
       |           +------------+-----------+--> run over: another run, a pause, the version before, or Ended
       +-- Pausing <------------------------+

`docs/architecture.md` has the same as a table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from guesthouse.core.capabilities import Capability
from guesthouse.core.exit_cause import ExitCause
from guesthouse.kernel.supervision.backoff import Backoff
from guesthouse.link.schema import OnExit
from guesthouse.package.spec import Right

if TYPE_CHECKING:
    from guesthouse.kernel.workers.pool import Worker

START_ATTEMPTS: Final = 3
"""Times that a process may lose its worker before it asks for its first message."""


class Purpose(IntEnum):
    """Why a run is stopped. If there are several, the greatest applies."""

    KILL = 0
    """Counts as a failed run: the process's on-exit applies."""
    GIVE_UP = 1
    """It did not ask for a message in time: the previous version runs again, or the process ends."""
    RUN_AGAIN = 2
    """Another run follows at once."""
    END = 3
    """The process ends."""


class Waiting(Struct, frozen=True):
    """No run: waiting for a worker."""


class Pausing(Struct, frozen=True):
    """No run: backing off after a failure."""

    timer: asyncio.TimerHandle


class Starting(Struct, frozen=True):
    """A run that has not asked for a message yet."""

    worker: Worker


class Running(Struct, frozen=True):
    """A run that has asked for a message."""

    worker: Worker


class Stopping(Struct, frozen=True):
    """A run that was told to end; `over` is done once it has."""

    worker: Worker
    purpose: Purpose
    over: asyncio.Future[None]


class Ended(Struct, frozen=True):
    """No run, and none to come."""

    cause: str
    """An `ExitCause`: of its last run, or why there was none."""


State: TypeAlias = Waiting | Pausing | Starting | Running | Stopping | Ended


class ProcessVersion(Struct, frozen=True):
    """Properties of a process that a new version of its package may change."""

    component: Path
    public: bool
    on_exit: OnExit
    requested: frozenset[Capability]
    of_package: Set[Capability]
    handover: bool
    grants: tuple[Right, ...] = ()


class RunAgain(Struct, frozen=True):
    """Another run begins at once."""


class RunAfter(Struct, frozen=True):
    """Another run begins after a pause in seconds."""

    seconds: float


class GiveUp(Struct, frozen=True):
    """Go back to the previous version; without one, the process ends."""

    overdue: bool


class End(Struct, frozen=True):
    """The process ends: it was stopped, or its on-exit is not `restart`."""

    stopped: bool


Next: TypeAlias = RunAgain | RunAfter | GiveUp | End


class Lifecycle:
    """State of one process.

    Args:
        backoff: for pauses after failures.
    """

    __slots__ = ("_attempts", "_backoff", "awaited", "fallback", "state", "strict")

    def __init__(self, backoff: Backoff) -> None:
        self.state: State = Waiting()
        self._backoff = backoff
        self._attempts = 0  # runs of its component that ended before asking for a message
        self.awaited = True
        """Whether its component has not started successfully yet."""
        self.fallback: ProcessVersion | None = None
        """The previous version, until the new one has started successfully."""
        self.strict = False
        """Whether the process ends if its component traps before asking for a message."""

    @property
    def worker(self) -> Worker | None:
        """Worker of its run; None between runs."""
        state = self.state
        return state.worker if isinstance(state, Starting | Running | Stopping) else None

    @property
    def is_ending(self) -> bool:
        """Whether no further run will follow."""
        state = self.state
        return isinstance(state, Ended) or (isinstance(state, Stopping) and state.purpose is Purpose.END)

    def expect_start(self, backoff: Backoff) -> None:
        """A caller waits for the next run: count its failures from now."""
        self._backoff = backoff
        if not self.awaited:
            self.awaited = True
            self._attempts = 0

    def wait(self) -> None:
        """Wait for a worker."""
        self._leave_pause()
        self.state = Waiting()

    def pause(self, timer: asyncio.TimerHandle) -> None:
        """Back off: `timer` begins the next run."""
        self.state = Pausing(timer)

    def begin(self, worker: Worker) -> None:
        """Begin a run."""
        if self.worker is not None or isinstance(self.state, Ended):
            raise RuntimeError(f"cannot begin a run in state {self.state}")
        self._leave_pause()
        self.state = Starting(worker)

    def asked(self) -> bool:
        """Its run asked for its first message. Returns False if the run is being stopped."""
        if not isinstance(self.state, Starting):
            return False
        self.state = Running(self.state.worker)
        self.awaited, self.fallback = False, None
        return True

    def stop(self, purpose: Purpose) -> asyncio.Future[None]:
        """Stop its run. Returns a future that is done once it has ended."""
        state = self.state
        if isinstance(state, Stopping):
            self.state = Stopping(state.worker, max(purpose, state.purpose), state.over)
            return state.over
        if not isinstance(state, Starting | Running):
            raise RuntimeError(f"no run to stop in state {state}")
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.state = Stopping(state.worker, purpose, over)
        return over

    def run_ended(self, cause: str, ran_seconds: float, *, restarts: bool, closing: bool) -> Next:
        """Its run ended. Returns what follows.

        Args:
            cause: an `ExitCause`.
            ran_seconds: duration of the run.
            restarts: whether its on-exit is `restart`.
            closing: whether the node is stopping.
        """
        state, self.state = self.state, Waiting()
        purpose = None
        if isinstance(state, Stopping):
            purpose = state.purpose
            if not state.over.done():
                state.over.set_result(None)
        if closing or purpose is Purpose.END:
            return End(stopped=True)
        if purpose is Purpose.RUN_AGAIN:
            return RunAgain()
        if purpose is Purpose.GIVE_UP:
            return GiveUp(overdue=True)
        if self._cannot_start(cause):
            return GiveUp(overdue=False)
        if not restarts:
            return End(stopped=False)
        seconds = self._backoff.pause_after(cause, ran_seconds)
        return RunAfter(seconds) if seconds else RunAgain()

    def end(self, cause: str) -> None:
        """End for good.

        Args:
            cause: an `ExitCause`. What never asked for a message, and was given up, was not started.
        """
        self._leave_pause()
        self.state = Ended(cause)

    def _cannot_start(self, cause: str) -> bool:
        """Whether to give up a component that never asked for a message.

        Losing the worker is tolerated a few times, as it may be another process's fault. After a trap or return, only
        if there is a fallback, or for a trap if `strict`. Otherwise its on-exit applies: a process must not be able to
        keep its node from starting by what it stored.
        """
        if not self.awaited:
            return False
        trapped = cause not in (ExitCause.NOT_STARTED, ExitCause.WORKER_LOST, ExitCause.RETURNED)
        may_fail = cause == ExitCause.RETURNED or (trapped and not self.strict)
        if self.fallback is None and may_fail:
            self.awaited = False
            return False
        self._attempts += 1
        return cause != ExitCause.WORKER_LOST or self._attempts >= START_ATTEMPTS

    def _leave_pause(self) -> None:
        if isinstance(self.state, Pausing):
            self.state.timer.cancel()
