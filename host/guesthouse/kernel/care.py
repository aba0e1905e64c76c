"""What the supervisor knows of one process beside the process itself. Pure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guesthouse.capabilities import Capability
from guesthouse.errors import GuesthouseError
from guesthouse.kernel.process import Process
from guesthouse.kernel.restarts import Backoff
from guesthouse.link.messages import OnExit
from guesthouse.package.spec import Right

if TYPE_CHECKING:
    from guesthouse.kernel.workers import Worker


class ProcessNotStarted(GuesthouseError):
    """A process ended before it asked for a message, and another attempt would end the same way."""


class NotWanted(ProcessNotStarted):
    """What was to be started has been uninstalled meanwhile."""


class NameTaken(GuesthouseError):
    """Another process of this node has that id."""


class NoSuchProcess(GuesthouseError):
    """The node has no process of that id."""


@dataclass(frozen=True, slots=True)
class Version:
    """What a process runs as, of what its package says."""

    component: Path
    public: bool
    on_exit: OnExit
    requested: frozenset[Capability]
    handover: bool
    grants: tuple[Right, ...] = ()


@dataclass(slots=True)
class Care:
    """One process under supervision."""

    process: Process
    backoff: Backoff
    started: asyncio.Future[None]
    """Done when the first run, or the first of a new component, has started or cannot be started."""
    worker: Worker | None = None
    timer: asyncio.TimerHandle | None = None
    stopping: asyncio.Future[None] | None = None
    """Done when the run that was told to stop has ended."""
    killing: bool = False
    """Whether that run is to count as one that failed."""
    replacing: bool = False
    """Whether another run follows the one that stops."""
    overdue: bool = False
    """Whether the run that stops is one that did not ask for a message in its time."""
    handover: bool = False
    """Whether its run is asked to hand over when it is replaced."""
    grants: tuple[Right, ...] = ()
    """Capabilities of its own that others hold by its manifest, or by who started it."""
    previous: Version | None = None
    """What to go back to while a new version has not started."""
    strict: bool = False
    """Whether it is gone when its first run ends, or takes too long, before it asked for a message."""
    attempts: int = 0
    """Runs of its component that ended before they asked for a message."""
    waits_for_worker: bool = False

    def version(self) -> Version:
        """What it runs as now."""
        process = self.process
        return Version(
            *(process.component, process.public, process.on_exit, process.holdings.requested),
            self.handover,
            self.grants,
        )

    def become(self, version: Version) -> None:
        """Run as this from the next run on."""
        process = self.process
        process.component, process.public = version.component, version.public
        process.on_exit = version.on_exit
        process.holdings.requested = version.requested
        self.handover, self.grants = version.handover, version.grants

    def expect_start(self, backoff: Backoff) -> None:
        """Another run follows that somebody may wait for: its failures count from here."""
        self.backoff = backoff
        self.replacing = True
        if self.started.done():
            self.started = asyncio.get_running_loop().create_future()
            self.attempts = 0

    def not_started(self, why: str) -> None:
        """Tell whoever waits for its start that there is none."""
        if not self.started.done():
            self.started.set_exception(ProcessNotStarted(f"{self.process.id} cannot be started: {why}"))
