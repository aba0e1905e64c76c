"""Starts processes on workers and supervises them.

When a run ends, by a trap, a limit or the loss of its worker, the process keeps its id, mailbox and channels. If its
on-exit is `restart`, another run follows, after a pause (`kernel/supervision/backoff.py`). Otherwise the process is
gone: its channels are closed, and requests to it fail.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import Holdings
from guesthouse.core.config import Settings
from guesthouse.core.exit_cause import ExitCause, in_words
from guesthouse.core.ports import LogPort
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.kernel.capabilities.authorizer import granted_to
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.process.process import Process, RunEnd
from guesthouse.kernel.supervision.backoff import Backoff
from guesthouse.kernel.supervision.ended_processes import EndedProcesses
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
"""After so long a component is not loaded from the cache but being compiled."""

_ENDS_OF_THE_STOPPED: Final = (ExitCause.STOPPED, ExitCause.RETURNED, ExitCause.WORKER_LOST)


class CompilerPort(Protocol):
    """Compiles components."""

    async def compiled(self, component: Path, package: str) -> Path:
        """Compile a package's `.wasm`, or find it in the cache."""


class Supervisor:
    """Supervises all processes of a node. Implements `RunEvents` and `WorkerEvents`.

    Needs a running event loop.

    Args:
        router: the node's.
        compiler: compiles components.
        settings: the node's.
        log: the node's log.
        workers: makes the workers, which report to it.
        restore: restores a process's stored capabilities before it is started.
        ended: called with each process that is gone, unless the node is stopping.
        inherit: gives a new process what the node's run before had left for it.
        make: makes a process (`kernel/tracing` has another kind).
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
        inherit: Callable[[Process], None] = lambda _: None,
        make: Callable[..., Process] = Process,
    ) -> None:
        self._make = make
        self._router = router
        self._http = router.http
        self._compiler = compiler
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._supervised: dict[ProcessId, SupervisedProcess] = {}
        self._runs = Runs(settings, log, traced=make is not Process)
        self._throttled_log = ThrottledLog(log)
        self._lookups = ConcurrencyLimiter(len(os.sched_getaffinity(0)), LONG_LOOKUP_SECONDS)
        self._closing = self._handing_over = False
        self._inherit = inherit
        self._restore = restore
        self._ended = ended
        self.run_ends: Counter[str] = Counter()
        """How many runs ended, by cause."""
        self.ended = EndedProcesses()
        """Why processes of packages are not running."""
        self.workers = workers(self)

    def apply(self, settings: Settings) -> None:
        """Apply reloaded settings to new runs."""
        self._settings = settings
        self._runs.apply(settings)

    async def add(
        self, spec: ProcessSpec, *, strict: bool = False, wanted: Callable[[], bool] | None = None
    ) -> Process:
        """Compile and start a process, and wait until it runs.

        Args:
            spec: the process.
            strict: give the process up if it traps before it asks for a message, or does not ask within
                `process.first_message_seconds`, whatever its on-exit. Otherwise a slow one is not waited for.
            wanted: see `begin`.

        Raises:
            CompileError: the component cannot be compiled.
            NameTaken: a process of that id exists.
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
        """`add` without waiting for the process to run. A failure to start is logged.

        Args:
            spec: the process.
            wanted: whether to start it still; called after compiling, which may take minutes.

        Raises:
            CompileError: the component cannot be compiled.
            NameTaken: a process of that id exists.
            NotWanted: it was uninstalled meanwhile.
            NoWorkerLeft: its package needs its own worker, and the limit is reached.
        """
        compiled = await self._compiled(spec)
        process = self._make(
            spec.id,
            compiled,
            public=spec.public,
            on_exit=spec.on_exit,
            mailbox_bytes=self._settings.process.mailbox_bytes,
            on_full=partial(self._throttled_log.say, str(spec.id), "mailbox", self._mailbox_is_full()),
            holdings=self._holdings(spec),
        )
        await self._restore(process)
        if wanted is not None and not wanted():
            raise NotWanted(f"{spec.id} was not started: it was uninstalled meanwhile")
        if spec.id in self._supervised:
            raise NameTaken(f"{spec.id} already runs on this node: give one of them another id")
        self.workers.enter(spec.id.package_id)
        self._router.rights.give(spec.id, spec.grants)
        supervised = SupervisedProcess(
            *(process, Lifecycle(Backoff(self._settings.restart)), self._loop.create_future()),
            handover=spec.handover,
            named=spec.named,
            grants=spec.grants,
        )
        self.ended.forget(spec.id)
        self._supervised[spec.id] = supervised
        self._router.add(process)
        supervised.started.add_done_callback(asyncio.Future.exception)  # retrieve it if nobody waits
        self._inherit(process)
        self._start(supervised)
        return process

    async def replace(self, spec: ProcessSpec) -> Process:
        """Replace a running process by another version, and wait until that runs.

        Channels stay open and messages wait. The old run finishes what it was sent, and hands over, within
        `process.handover_seconds`. If the new version cannot be started, or does not ask for a message within
        `process.first_message_seconds`, the old one runs again.

        Raises:
            CompileError: the component cannot be compiled; the process is unchanged.
            NoSuchProcess: there is no such process.
            ProcessNotStarted: the new version cannot be started; the old one runs again.
        """
        compiled = await self._compiled(spec)
        supervised = self._staying(spec.id)
        before, hands_over = supervised.version(), supervised.handover
        supervised.life.fallback = supervised.life.fallback or before
        holdings = self._holdings(spec)
        self._become(
            supervised,
            ProcessVersion(
                *(compiled, spec.public, spec.on_exit, holdings.requested, holdings.of_package),
                spec.handover,
                spec.grants,
            ),
        )
        supervised.expect_start(Backoff(self._settings.restart))
        if supervised.life.worker is None:
            self._start(supervised)
        else:
            seconds = self._settings.process.handover_seconds
            await self._runs.finish(supervised, seconds, spec.version if hands_over else None)
        await self._until_started(supervised)
        return supervised.process

    def renew_children(self, package_id: str) -> None:
        """A package has another version: its children keep what it is granted still."""
        self._router.rights.renew_children(self._router.processes(), package_id)

    def _holdings(self, spec: ProcessSpec) -> Holdings:
        holdings = self._router.rights.holdings(
            spec.id, spec.requests, named=spec.named, of_package=spec.of_package
        )
        if not spec.named:
            holdings.of_package = granted_to(spec.id.package_id, self._router.processes())
        return holdings

    async def restart(self, process_id: ProcessId) -> None:
        """Stop the run of a process and begin another. Channels stay open and messages wait.

        Raises:
            NoSuchProcess: there is no such process.
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
        """End the run of a process as a trap would: its on-exit applies. No effect between runs.

        Raises:
            NoSuchProcess: there is no such process.
        """
        supervised = self._known(process_id)
        await self._runs.stop(supervised, Purpose.KILL, "it is killed")

    async def stop(self, process_id: ProcessId, reason: str) -> None:
        """Stop a process for good and wait for its end. A worker that does not stop it in time is killed.

        Raises:
            NoSuchProcess: there is no such process.
        """
        supervised = self._known(process_id)
        if supervised.life.worker is None:
            self._end(supervised, ExitCause.STOPPED, reason)
        else:
            await self._runs.stop(supervised, Purpose.END, reason)

    async def close(self) -> None:
        """Stop all processes concurrently. On-exit does not apply: the node is stopping."""
        self._closing = True
        async with asyncio.TaskGroup() as tasks:
            for supervised in list(self._supervised.values()):
                tasks.create_task(self._stop_with_node(supervised))
        self._router.all_ended()

    async def hand_over(self, version_of: Callable[[ProcessId], str]) -> None:
        """Have all runs finish what they were sent, as before an upgrade, within `process.handover_seconds`. No process
        runs then, and none is started: their mailboxes and channels are the next run of the node's. `close` follows.

        Args:
            version_of: returns the version of a process's package.
        """
        self._closing = self._handing_over = True
        seconds = self._settings.process.handover_seconds
        async with asyncio.TaskGroup() as tasks:
            for process_id, supervised in list(self._supervised.items()):
                to_whom = version_of(process_id) if supervised.handover else None
                tasks.create_task(self._runs.finish(supervised, seconds, to_whom))

    async def finish(self, seconds: float) -> None:
        """Have all runs finish what they were sent, within `seconds`. No process runs then. `close` follows."""
        self._closing = self._handing_over = True
        async with asyncio.TaskGroup() as tasks:
            for supervised in list(self._supervised.values()):
                tasks.create_task(self._runs.finish(supervised, seconds))

    # --- reported by workers

    def worker_ready(self, worker: Worker) -> None:
        """See `WorkerEvents`."""
        for supervised in list(self._supervised.values()):
            if isinstance(supervised.life.state, Waiting):
                self._start(supervised)

    def worker_lost(self, worker: Worker) -> None:
        """See `WorkerEvents`. Its runs ended and may continue on other workers."""
        runs = list(worker.runs.values())
        worker.runs.clear()
        for process in runs:
            self.run_ended(process, ExitCause.WORKER_LOST, worker.name)

    def run_started(self, process: Process) -> None:
        """See `RunEvents`."""
        supervised = self._supervised[process.id]
        if not supervised.life.asked():
            return
        if process.run is not None:
            self._log.write(str(process.id), "info", f"runs on {process.run.worker}")
        process.run_started()
        supervised.shows_its_start()

    def run_ended(self, process: Process, cause: str, detail: str) -> None:
        """See `RunEvents`."""
        supervised = self._supervised[process.id]
        self.run_ends[cause] += 1
        run = process.run
        ran_seconds = 0.0 if run is None else self._loop.time() - run.began
        lost = process.end_run(worker_lost=cause == ExitCause.WORKER_LOST)
        process.last_end = RunEnd(cause, detail, time.time())
        self._router.run_ended(process)
        state = supervised.life.state
        wanted = isinstance(state, Stopping) and state.purpose is not Purpose.KILL
        if not wanted or cause not in _ENDS_OF_THE_STOPPED:
            self._report_end(process, cause, detail, lost)
        follows = supervised.life.run_ended(
            cause, ran_seconds, restarts=process.on_exit == "restart", closing=self._closing
        )
        self._go_on(supervised, follows, cause, detail)

    async def _compiled(self, spec: ProcessSpec) -> Path:
        """Find a component in the cache, which is CPU-bound: the limit lets the first processes start meanwhile."""
        async with self._lookups.slot():
            return await self._compiler.compiled(spec.component, spec.id.package_id)

    # --- decisions

    def _go_on(self, supervised: SupervisedProcess, follows: Next, cause: str, detail: str) -> None:
        """Carry out the decision about what follows a run."""
        if not supervised.life.awaited:
            supervised.shows_its_start()
        if self._handing_over:
            return
        match follows:
            case RunAgain():
                self._start(supervised)
            case RunAfter(seconds):
                self._log.write(str(supervised.process.id), "info", f"is started again in {seconds:g} s")
                supervised.life.pause(self._loop.call_later(seconds, self._start, supervised))
            case GiveUp(overdue):
                self._give_up_component(supervised, cause, self._not_asked() if overdue else detail)
            case End(stopped=True):
                self._end(supervised, ExitCause.STOPPED, "it was stopped")
            case End():
                self._end(supervised, cause, f"it {in_words(cause)}", detail)

    def _give_up_component(self, supervised: SupervisedProcess, cause: str, detail: str) -> None:
        fallback, supervised.life.fallback = supervised.life.fallback, None
        if fallback is None:
            told = cause in (ExitCause.STOPPED, ExitCause.RETURNED)  # since it took too long
            self._end(supervised, ExitCause.NOT_STARTED if told else cause, f"it {in_words(cause)}", detail)
            return
        supervised.not_started(detail or f"it {in_words(cause)}")
        self._become(supervised, fallback)
        self._start(supervised)

    def _become(self, supervised: SupervisedProcess, version: ProcessVersion) -> None:
        supervised.become(version)
        self._router.rights.give(supervised.process.id, version.grants)

    def _start(self, supervised: SupervisedProcess) -> None:
        """Begin a run on the least loaded worker, or wait for one."""
        worker = self.workers.least_loaded(supervised.process.id.package_id)
        if worker is None or self._handing_over:
            supervised.life.wait()
            return
        self._runs.begin(supervised, worker, self._http.reopen, connected=self._router.remote is not None)

    async def _until_started(self, supervised: SupervisedProcess) -> None:
        """Wait until the process asks for its first message. On a time-out it is given up if there is a fallback or it
        is `strict`; otherwise it keeps running.
        """
        if await self._runs.until_started(supervised):
            return
        text = f"has not asked for a message in {self._settings.process.first_message_seconds:g} s"
        if supervised.life.fallback is None and not supervised.life.strict:
            self._log.write(
                str(supervised.process.id), "warning", f"{text}: the node continues without waiting for it"
            )
            return
        self._log.write(str(supervised.process.id), "error", f"{text}: it is given up")
        await self._give_up_overdue(supervised)

    async def _give_up_overdue(self, supervised: SupervisedProcess) -> None:
        if supervised.life.worker is None:
            self._give_up_component(supervised, ExitCause.NOT_STARTED, self._not_asked())
        else:
            await self._runs.stop(supervised, Purpose.GIVE_UP, "it has not asked for a message")
        await self._until_started(supervised)  # raises, unless a run of another version follows

    def _mailbox_is_full(self) -> str:
        return (
            f"its mailbox is full ({self._settings.process.mailbox_bytes} bytes, process.mailbox_bytes): "
            "its senders wait or are refused"
        )

    def _not_asked(self) -> str:
        seconds = self._settings.process.first_message_seconds
        return f"it has not asked for a message in {seconds:g} s (process.first_message_seconds)"

    def _end(self, supervised: SupervisedProcess, cause: str, reason: str, detail: str = "") -> None:
        process = supervised.process
        supervised.life.end(cause)
        if not self._closing:
            (self.ended.ended if supervised.named else self.ended.child_ended)(process, cause, detail)
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
            self._end(supervised, ExitCause.STOPPED, "the node stops")

    def _report_end(self, process: Process, cause: str, detail: str, lost: str | None) -> None:
        text = in_words(cause)
        if detail:
            text += f": {detail}"
        if lost is not None:
            text += f" ({lost} is not delivered again)"
        level = "info" if cause in (ExitCause.RETURNED, ExitCause.STOPPED) else "error"
        self._log.write(str(process.id), level, text)

    def _staying(self, process_id: ProcessId) -> SupervisedProcess:
        """The process, unless it is being stopped."""
        supervised = self._known(process_id)
        if supervised.life.is_ending:
            raise NoSuchProcess(f"{process_id} is being stopped: start it again by installing its package")
        return supervised

    def _known(self, process_id: ProcessId) -> SupervisedProcess:
        supervised = self._supervised.get(process_id)
        if supervised is None:
            raise NoSuchProcess(f"this node has no process {process_id}: `guesthouse ps` lists its processes")
        return supervised
