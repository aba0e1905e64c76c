"""What the supervisor knows of one process beside the process itself. Pure."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from guesthouse.core.errors import GuesthouseError
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.supervision.backoff import Backoff
from guesthouse.kernel.supervision.process_states import Lifecycle, ProcessVersion
from guesthouse.package.spec import Right


class ProcessNotStarted(GuesthouseError):
    """A process ended before it asked for a message, and another attempt would end the same way."""


class NotWanted(ProcessNotStarted):
    """What was to be started has been uninstalled meanwhile."""


class NameTaken(GuesthouseError):
    """Another process of this node has that id."""


class NoSuchProcess(GuesthouseError):
    """The node has no process of that id."""


class SupervisedProcess(Struct):
    """One process under supervision."""

    process: Process
    life: Lifecycle
    started: asyncio.Future[None]
    """Done when the first run, or the first of a new component, has started or cannot be started."""
    handover: bool = False
    """Whether its run is asked to hand over when it is replaced."""
    grants: tuple[Right, ...] = ()
    """Capabilities of its own that others hold by its manifest, or by who started it."""

    def version(self) -> ProcessVersion:
        """What it runs as now."""
        process = self.process
        return ProcessVersion(
            *(process.component, process.public, process.on_exit, process.holdings.requested),
            self.handover,
            self.grants,
        )

    def become(self, version: ProcessVersion) -> None:
        """Run as this from the next run on."""
        process = self.process
        process.component, process.public = version.component, version.public
        process.on_exit = version.on_exit
        process.holdings.requested = version.requested
        self.handover, self.grants = version.handover, version.grants

    def expect_start(self, backoff: Backoff) -> None:
        """Another run follows that somebody may wait for: its failures count from here."""
        self.life.expect_start(backoff)
        if self.started.done():
            self.started = asyncio.get_running_loop().create_future()

    def shows_its_start(self) -> None:
        """Tell whoever waits for its start that there is no more to wait for."""
        if not self.started.done():
            self.started.set_result(None)

    def not_started(self, why: str) -> None:
        """Tell whoever waits for its start that there is none."""
        self.life.awaited = False
        if not self.started.done():
            self.started.set_exception(ProcessNotStarted(f"{self.process.id} cannot be started: {why}"))
