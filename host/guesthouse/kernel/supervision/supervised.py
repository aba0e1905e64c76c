"""A process under supervision. Pure."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from guesthouse.core.errors import GuesthouseError
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.supervision.backoff import Backoff
from guesthouse.kernel.supervision.process_states import Lifecycle, ProcessVersion
from guesthouse.package.spec import Right


class ProcessNotStarted(GuesthouseError):
    """A process cannot be started: it ended before it asked for a message."""


class NotWanted(ProcessNotStarted):
    """The process was uninstalled while it was being compiled."""


class NameTaken(GuesthouseError):
    """Another process of this node has that id."""


class NoSuchProcess(GuesthouseError):
    """The node has no process of that id."""


class SupervisedProcess(Struct):
    """A process, its state and its version."""

    process: Process
    life: Lifecycle
    started: asyncio.Future[None]
    """Done once its first run, or that of a new component, has started or failed to."""
    handover: bool = False
    """Whether its run gets a handover message when it is replaced."""
    named: bool = True
    """Whether its package's manifest names it: not a child process."""
    grants: tuple[Right, ...] = ()
    """Capabilities that it grants to others, by its manifest or its parent."""

    def version(self) -> ProcessVersion:
        """Its current version."""
        process = self.process
        return ProcessVersion(
            *(process.component, process.public, process.on_exit, process.holdings.requested),
            process.holdings.of_package,
            self.handover,
            self.grants,
        )

    def become(self, version: ProcessVersion) -> None:
        """Change the version, from the next run on."""
        process = self.process
        process.component, process.public = version.component, version.public
        process.on_exit = version.on_exit
        process.holdings.requested, process.holdings.of_package = version.requested, version.of_package
        self.handover, self.grants = version.handover, version.grants

    def expect_start(self, backoff: Backoff) -> None:
        """A caller may wait for the next run: count its failures from now."""
        self.life.expect_start(backoff)
        if self.started.done():
            self.started = asyncio.get_running_loop().create_future()

    def shows_its_start(self) -> None:
        """Its run has started: complete `started`."""
        if not self.started.done():
            self.started.set_result(None)

    def not_started(self, why: str) -> None:
        """It cannot be started: fail `started`."""
        self.life.awaited = False
        if not self.started.done():
            self.started.set_exception(ProcessNotStarted(f"{self.process.id} cannot be started: {why}"))
