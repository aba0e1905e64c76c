"""The states of one process, what leads from one to another, and what follows when a run ends. Pure.

    Waiting --> Starting --> Running --> Stopping
       ^           |            |           |
       |           +------------+-----------+--> run over: another run, a pause, the version before, or Ended
       +-- Pausing <------------------------+

`docs/architecture.md` has the same as a table.
"""

from __future__ import annotations

import asyncio
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
"""Times that a process may lose its worker before it asked for its first message."""


class Purpose(IntEnum):
    """Why a run is stopped. Of several, the greatest counts."""

    KILL = 0
    """It counts as a run that failed: the process's on-exit says what follows."""
    GIVE_UP = 1
    """It did not ask for a message in its time: the version before runs again, or the process ends."""
    RUN_AGAIN = 2
    """Another run follows at once."""
    END = 3
    """The process ends."""


class Waiting(Struct, frozen=True):
    """No run: one begins when there is a worker for it."""


class Pausing(Struct, frozen=True):
    """No run: one begins when the pause after a failure is over."""

    timer: asyncio.TimerHandle


class Starting(Struct, frozen=True):
    """A run that has not asked for a message yet."""

    worker: Worker


class Running(Struct, frozen=True):
    """A run that has asked for a message."""

    worker: Worker


class Stopping(Struct, frozen=True):
    """A run that was told to end; `over` is done when it has."""

    worker: Worker
    purpose: Purpose
    over: asyncio.Future[None]


class Ended(Struct, frozen=True):
    """No run, and none to come."""


State: TypeAlias = Waiting | Pausing | Starting | Running | Stopping | Ended


class ProcessVersion(Struct, frozen=True):
    """What a process runs as, of what its package says."""

    component: Path
    public: bool
    on_exit: OnExit
    requested: frozenset[Capability]
    handover: bool
    grants: tuple[Right, ...] = ()


class RunAgain(Struct, frozen=True):
    """Another run begins at once."""


class RunAfter(Struct, frozen=True):
    """Another run begins after a pause in seconds."""

    seconds: float


class GiveUp(Struct, frozen=True):
    """The component is given up: for the version before, or with the process when there is none."""

    overdue: bool


class End(Struct, frozen=True):
    """The process ends: it was stopped, or its run is over and its on-exit wants no other."""

    stopped: bool


Next: TypeAlias = RunAgain | RunAfter | GiveUp | End


class Lifecycle:
    """Where one process is, and where it goes.

    Args:
        backoff: the pauses after its failures.
    """

    __slots__ = ("_attempts", "_backoff", "awaited", "fallback", "state", "strict")

    def __init__(self, backoff: Backoff) -> None:
        self.state: State = Waiting()
        self._backoff = backoff
        self._attempts = 0  # runs of its component that ended before they asked for a message
        self.awaited = True
        """Whether its component has yet to show that it starts."""
        self.fallback: ProcessVersion | None = None
        """The version before, to go back to until a new one has shown that it starts."""
        self.strict = False
        """Whether the process ends with a component that traps before it asked for a message."""

    @property
    def worker(self) -> Worker | None:
        """Where its run is; None between two runs."""
        state = self.state
        return state.worker if isinstance(state, Starting | Running | Stopping) else None

    @property
    def is_ending(self) -> bool:
        """Whether no other run is to come."""
        state = self.state
        return isinstance(state, Ended) or (isinstance(state, Stopping) and state.purpose is Purpose.END)

    def expect_start(self, backoff: Backoff) -> None:
        """A run follows that somebody waits for: its failures count from here."""
        self._backoff = backoff
        if not self.awaited:
            self.awaited = True
            self._attempts = 0

    def wait(self) -> None:
        """There is no worker for its next run."""
        self._leave_pause()
        self.state = Waiting()

    def pause(self, timer: asyncio.TimerHandle) -> None:
        """Its next run begins when `timer` says so."""
        self.state = Pausing(timer)

    def begin(self, worker: Worker) -> None:
        """A run begins."""
        if self.worker is not None or isinstance(self.state, Ended):
            raise RuntimeError(f"no run can begin now: {self.state}")
        self._leave_pause()
        self.state = Starting(worker)

    def asked(self) -> bool:
        """Its run asked for a message. Returns whether that counts: not when the run is to end already."""
        if not isinstance(self.state, Starting):
            return False
        self.state = Running(self.state.worker)
        self.awaited, self.fallback = False, None
        return True

    def stop(self, purpose: Purpose) -> asyncio.Future[None]:
        """Its run is to end. Returns what is done when it has."""
        state = self.state
        if isinstance(state, Stopping):
            self.state = Stopping(state.worker, max(purpose, state.purpose), state.over)
            return state.over
        if not isinstance(state, Starting | Running):
            raise RuntimeError(f"there is no run to stop: {state}")
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.state = Stopping(state.worker, purpose, over)
        return over

    def run_ended(self, cause: str, ran_seconds: float, *, restarts: bool, closing: bool) -> Next:
        """Its run is over. Returns what follows.

        Args:
            cause: an `ExitCause`.
            ran_seconds: how long it ran.
            restarts: whether its on-exit is `restart`.
            closing: whether the node stops.
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

    def end(self) -> None:
        """No run is to come."""
        self._leave_pause()
        self.state = Ended()

    def _cannot_start(self, cause: str) -> bool:
        """Whether a component that never asked for a message is to be given up.

        Its worker's loss may be another's doing, a few times. One that trapped, or returned, is given up only
        when there is another to go back to; one that trapped, also when whoever added it wants that. Else its
        on-exit decides, or a process could keep its node from starting by what it stored.
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
