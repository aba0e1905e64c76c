"""Starts processes on workers, and decides what becomes of them when a run ends.

Whatever ends a run (a trap, a limit, its worker's death), the process keeps its id, its mailbox and its
channels; with on-exit `restart` another run follows, after a pause (`kernel/supervision/backoff.py`). Otherwise the
process is gone: its channels are closed, and who waits for it is told.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from guesthouse.core.address import ProcessId
from guesthouse.core.config import Settings
from guesthouse.core.exit_cause import ExitCause, in_words
from guesthouse.core.ports import LogPort
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.supervision.backoff import Backoff
from guesthouse.kernel.supervision.process_states import (
    End,
    GiveUp,
    Lifecycle,
    Next,
    ProcessVersion,
    Purpose,
    RunAfter,
    RunAgain,
    Stopping,
    Waiting,
)
from guesthouse.kernel.supervision.runs import Runs
from guesthouse.kernel.supervision.startup_limiter import ConcurrencyLimiter
from guesthouse.kernel.supervision.supervised import NameTaken, NoSuchProcess, NotWanted, SupervisedProcess
from guesthouse.kernel.workers.pool import Worker, WorkerEvents, Workers
from guesthouse.package.spec import ProcessSpec

LONG_LOOKUP_SECONDS: Final = 0.1
"""A component that is not compiled by then is being compiled."""

_ENDS_OF_THE_STOPPED: Final = (ExitCause.STOPPED, ExitCause.RETURNED, ExitCause.WORKER_LOST)


class CompilerPort(Protocol):
    """What turns components into what workers map."""

    async def compiled(self, component: Path, package: str) -> Path:
        """The compiled form of a `.wasm` of a package."""


class Supervisor:
    """Supervises all processes of a node. Implements `RunEvents` and `WorkerEvents`.

    Needs a running event loop for its timers.

    Args:
        workers: makes the workers, which report to it.
        restore: gives a process what earlier lives of the node left for it, before it is started.
        ended: told of each process that is gone, unless the node stops.
    """

    def __init__(
        self,
        router: Router,
        compiler: CompilerPort,
        settings: Settings,
        log: LogPort,
        workers: Callable[[WorkerEvents], Workers],
        restore: Callable[[Process], Awaitable[None]],
        ended: Callable[[Process], None],
    ) -> None:
        self._router = router
        self._http = router.http
        self._compiler = compiler
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._supervised: dict[ProcessId, SupervisedProcess] = {}
        self._runs = Runs(settings, log)
        self._throttled_log = ThrottledLog(log)
        self._lookups = ConcurrencyLimiter(len(os.sched_getaffinity(0)), LONG_LOOKUP_SECONDS)
        self._closing = False
        self._restore = restore
        self._ended = ended
        self.workers = workers(self)

    def go_by(self, settings: Settings) -> None:
        """Use other settings for runs that begin after this."""
        self._settings = settings
        self._runs.go_by(settings)

    async def add(
        self, spec: ProcessSpec, *, strict: bool = False, wanted: Callable[[], bool] | None = None
    ) -> Process:
        """Compile a process and start it. Returns once it runs. With `strict`, one that traps before it asked for
        a message, or does not ask within `process.first_message_seconds`, is given up whatever its on-exit says;
        without, one that takes longer is not waited for. `wanted`: see `begin`.

        Raises:
            CompileError: the component cannot be compiled.
            NameTaken: a process of that id is there already.
            NotWanted: it was uninstalled meanwhile.
            ProcessNotStarted: it cannot be instantiated, or ended (or, with `strict`, took too long) before it
                asked for a message.
        """
        process = await self.begin(spec, wanted)
        supervised = self._supervised.get(spec.id)
        if supervised is not None:
            supervised.life.strict = strict
            await self.workers.there_for(spec.id.package_id)
            await self._until_started(supervised)
        return process

    async def begin(self, spec: ProcessSpec, wanted: Callable[[], bool] | None = None) -> Process:
        """`add` without waiting for the process to run. One that cannot be started is logged, and gone.

        Args:
            spec: the process.
            wanted: whether it is still to be started, since compiling it may have taken minutes; None: it is.

        Raises:
            CompileError: the component cannot be compiled.
            NameTaken: a process of that id is there already.
            NotWanted: it was uninstalled meanwhile.
            NoWorkerLeft: its package needs a worker of its own, and cannot have one.
        """
        compiled = await self._compiled(spec)
        process = Process(
            spec.id,
            compiled,
            public=spec.public,
            on_exit=spec.on_exit,
            mailbox_bytes=self._settings.process.mailbox_bytes,
            on_full=partial(self._throttled_log.say, str(spec.id), "mailbox", self._mailbox_is_full()),
            holdings=self._router.rights.holdings(spec.id, spec.requests, named=spec.named),
        )
        await self._restore(process)
        if wanted is not None and not wanted():
            raise NotWanted(f"{spec.id} is not started: it was uninstalled meanwhile")
        if spec.id in self._supervised:
            raise NameTaken(f"{spec.id} runs on this node already: give the other process another id")
        self.workers.enter(spec.id.package_id)
        self._router.rights.give(spec.id, spec.grants)
        supervised = SupervisedProcess(
            *(process, Lifecycle(Backoff(self._settings.restart)), self._loop.create_future()),
            handover=spec.handover,
            grants=spec.grants,
        )
        self._supervised[spec.id] = supervised
        self._router.add(process)
        supervised.started.add_done_callback(asyncio.Future.exception)  # whoever wants to know awaits it
        self._start(supervised)
        return process

    async def replace(self, spec: ProcessSpec) -> Process:
        """Run a process anew, in another version. Its channels stay open and its messages wait; the run of the
        old one finishes what it was sent, and hands over, within `process.handover_seconds`. A version that
        cannot be started, or does not ask for a message within `process.first_message_seconds`, is given up for
        the one before. Returns once the new one runs.

        Raises:
            CompileError: the component cannot be compiled; the process runs on as it was.
            NoSuchProcess: it is gone, or never was.
            ProcessNotStarted: the component cannot be started; the one before runs again.
        """
        compiled = await self._compiled(spec)
        supervised = self._staying(spec.id)
        before, hands_over = supervised.version(), supervised.handover
        supervised.life.fallback = supervised.life.fallback or before
        requested = self._router.rights.holdings(spec.id, spec.requests).requested
        self._become(
            supervised,
            ProcessVersion(compiled, spec.public, spec.on_exit, requested, spec.handover, spec.grants),
        )
        supervised.expect_start(Backoff(self._settings.restart))
        if supervised.life.worker is None:
            self._start(supervised)
        else:
            await self._runs.finish(supervised, spec.version, hands_over=hands_over)
        await self._until_started(supervised)
        return supervised.process

    async def restart(self, process_id: ProcessId) -> None:
        """End the run of a process and begin another, at once. Channels stay open and messages wait.

        Raises:
            NoSuchProcess: it is gone, or never was.
            ProcessNotStarted: the new run ended before it asked for a message.
        """
        supervised = self._staying(process_id)
        supervised.expect_start(Backoff(self._settings.restart))
        if supervised.life.worker is None:
            self._start(supervised)
        else:
            await self._runs.stop(supervised, Purpose.RUN_AGAIN, "it is restarted")
        await self._until_started(supervised)

    async def kill(self, process_id: ProcessId) -> None:
        """End the run of a process as a trap would; its on-exit says what happens then. Nothing happens to one
        that is between two runs.

        Raises:
            NoSuchProcess: it is gone, or never was.
        """
        supervised = self._known(process_id)
        await self._runs.stop(supervised, Purpose.KILL, "it is killed")

    async def stop(self, process_id: ProcessId, reason: str) -> None:
        """End a process for good. Returns when its run is over; a worker that does not end it is ended.

        Raises:
            NoSuchProcess: it is gone, or never was.
        """
        supervised = self._known(process_id)
        if supervised.life.worker is None:
            self._end(supervised, reason)
        else:
            await self._runs.stop(supervised, Purpose.END, reason)

    async def close(self) -> None:
        """End all processes, all at once. On-exit rules do not apply: the node stops."""
        self._closing = True
        async with asyncio.TaskGroup() as tasks:
            for supervised in list(self._supervised.values()):
                tasks.create_task(self._stop_with_node(supervised))
        self._router.all_ended()

    # --- what workers report

    def worker_ready(self, worker: Worker) -> None:
        """See `WorkerEvents`."""
        for supervised in list(self._supervised.values()):
            if isinstance(supervised.life.state, Waiting):
                self._start(supervised)

    def worker_lost(self, worker: Worker) -> None:
        """See `WorkerEvents`: its runs ended, and go on elsewhere if they are to go on."""
        runs = list(worker.runs.values())
        worker.runs.clear()
        for process in runs:
            self.run_ended(process, ExitCause.WORKER_LOST, worker.name)

    def run_started(self, process: Process) -> None:
        """See `RunEvents`."""
        supervised = self._supervised[process.id]
        if not supervised.life.asked():  # it is to end already
            return
        if process.run is not None:
            self._log.write(str(process.id), "info", f"runs on {process.run.worker}")
        process.run_started()
        supervised.shows_its_start()

    def run_ended(self, process: Process, cause: str, detail: str) -> None:
        """See `RunEvents`."""
        supervised = self._supervised[process.id]
        run = process.run
        ran_seconds = 0.0 if run is None else self._loop.time() - run.began
        not_again = process.end_run(worker_lost=cause == ExitCause.WORKER_LOST)
        self._router.run_ended(process)
        state = supervised.life.state
        wanted = isinstance(state, Stopping) and state.purpose is not Purpose.KILL
        if not wanted or cause not in _ENDS_OF_THE_STOPPED:
            self._report_end(process, cause, detail, not_again)
        follows = supervised.life.run_ended(
            cause, ran_seconds, restarts=process.on_exit == "restart", closing=self._closing
        )
        self._go_on(supervised, follows, cause, detail)

    async def _compiled(self, spec: ProcessSpec) -> Path:
        """To look through a compiled component takes a CPU. Where many are to start, the first run meanwhile."""
        async with self._lookups.slot():
            return await self._compiler.compiled(spec.component, spec.id.package_id)

    # --- decisions

    def _go_on(self, supervised: SupervisedProcess, follows: Next, cause: str, detail: str) -> None:
        """Carry out what follows the end of a run."""
        if not supervised.life.awaited:
            supervised.shows_its_start()
        match follows:
            case RunAgain():
                self._start(supervised)
            case RunAfter(seconds):
                self._log.write(str(supervised.process.id), "info", f"is started again in {seconds:g} s")
                supervised.life.pause(self._loop.call_later(seconds, self._start, supervised))
            case GiveUp(overdue):
                self._give_up_component(supervised, cause, self._not_asked() if overdue else detail)
            case End(stopped=True):
                self._end(supervised, "it was stopped")
            case End():
                self._end(supervised, f"it {in_words(cause)}", detail)

    def _give_up_component(self, supervised: SupervisedProcess, cause: str, detail: str) -> None:
        fallback, supervised.life.fallback = supervised.life.fallback, None
        if fallback is None:
            self._end(supervised, f"it {in_words(cause)}", detail)
            return
        supervised.not_started(detail or f"it {in_words(cause)}")
        self._become(supervised, fallback)
        self._start(supervised)

    def _become(self, supervised: SupervisedProcess, version: ProcessVersion) -> None:
        supervised.become(version)
        self._router.rights.give(supervised.process.id, version.grants)

    def _start(self, supervised: SupervisedProcess) -> None:
        """Begin a run on the worker with the fewest, or as soon as there is a worker."""
        worker = self.workers.least_loaded(supervised.process.id.package_id)
        if worker is None:
            supervised.life.wait()
            return
        self._runs.begin(supervised, worker, self._http.reopen, connected=self._router.remote is not None)

    async def _until_started(self, supervised: SupervisedProcess) -> None:
        """Wait until the process asks for its first message. One that takes too long is given up when there is
        another to go back to, or whoever added it wants that; else it is left to itself.
        """
        if await self._runs.until_started(supervised):
            return
        text = f"has not asked for a message in {self._settings.process.first_message_seconds:g} s"
        if supervised.life.fallback is None and not supervised.life.strict:
            self._log.write(
                str(supervised.process.id), "warning", f"{text}: the node goes on without waiting for it"
            )
            return
        self._log.write(str(supervised.process.id), "error", f"{text}: it is given up")
        await self._give_up_overdue(supervised)

    async def _give_up_overdue(self, supervised: SupervisedProcess) -> None:
        if supervised.life.worker is None:
            self._give_up_component(supervised, ExitCause.NOT_STARTED, self._not_asked())
        else:
            await self._runs.stop(supervised, Purpose.GIVE_UP, "it has not asked for a message")
        await self._until_started(supervised)  # it failed, unless a run of something else follows

    def _mailbox_is_full(self) -> str:
        return (
            f"its mailbox is full ({self._settings.process.mailbox_bytes} bytes, process.mailbox_bytes): "
            "who sends to it waits, or is refused"
        )

    def _not_asked(self) -> str:
        seconds = self._settings.process.first_message_seconds
        return f"it has not asked for a message in {seconds:g} s (process.first_message_seconds)"

    def _end(self, supervised: SupervisedProcess, reason: str, detail: str = "") -> None:
        process = supervised.process
        supervised.life.end()
        del self._supervised[process.id]
        if not self._closing:
            self.workers.leave(process.id.package_id)
        process.end()
        self._router.remove(process)
        self._http.process_gone(process.id, reason)
        supervised.not_started(detail or reason)
        if not self._closing:
            self._ended(process)
        if not isinstance(process.on_exit, str) and not self._closing:
            self._router.send_on_exit(process, process.on_exit)

    async def _stop_with_node(self, supervised: SupervisedProcess) -> None:
        if supervised.life.worker is not None:
            await self._runs.stop(supervised, Purpose.END, "the node stops")
        elif not supervised.process.gone:
            self._end(supervised, "the node stops")

    def _report_end(self, process: Process, cause: str, detail: str, not_again: str | None) -> None:
        text = in_words(cause)
        if detail:
            text += f": {detail}"
        if not_again is not None:
            text += f" ({not_again} is not delivered again)"
        level = "info" if cause in (ExitCause.RETURNED, ExitCause.STOPPED) else "error"
        self._log.write(str(process.id), level, text)

    def _staying(self, process_id: ProcessId) -> SupervisedProcess:
        """One that is not about to end."""
        supervised = self._known(process_id)
        if supervised.life.is_ending:
            raise NoSuchProcess(f"{process_id} is being stopped: start it again by installing its package")
        return supervised

    def _known(self, process_id: ProcessId) -> SupervisedProcess:
        supervised = self._supervised.get(process_id)
        if supervised is None:
            raise NoSuchProcess(f"this node has no process {process_id}: `guesthouse ps` lists those it has")
        return supervised
