"""Starts processes on workers, and decides what becomes of them when a run ends.

Whatever ends a run (a trap, a limit, its worker's death), the process keeps its id, its mailbox and its
channels; with on-exit `restart` another run follows, after a pause (`kernel/restarts.py`). Otherwise the
process is gone: its channels are closed, and who waits for it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from guesthouse.address import ProcessId
from guesthouse.capabilities import Capability
from guesthouse.config import Settings
from guesthouse.errors import GuesthouseError
from guesthouse.kernel.handover import handover_request
from guesthouse.kernel.process import OnExit, Process, Run
from guesthouse.kernel.restarts import Backoff, in_words
from guesthouse.kernel.router import Router
from guesthouse.kernel.workers import Worker, Workers
from guesthouse.link.ops import ExitCause, ToWorker
from guesthouse.package.spec import ProcessSpec
from guesthouse.ports import HttpServerPort, LogPort

START_WAIT_SECONDS: Final = 10.0
"""How long whoever adds a process waits for it to ask for its first message."""

STOP_SECONDS: Final = 1.5
"""How long a worker may take to end a run before it is ended itself."""


START_ATTEMPTS: Final = 3
"""Times that a process may lose its worker before it asked for its first message."""


class ProcessNotStarted(GuesthouseError):
    """A process ended before it asked for a message, and another attempt would end the same way."""


class NameTaken(GuesthouseError):
    """Another process of this node has that id."""


class NoSuchProcess(GuesthouseError):
    """The node has no process of that id."""


_ENDS_OF_THE_STOPPED: Final = (ExitCause.STOPPED, ExitCause.RETURNED, ExitCause.WORKER_LOST)


class CompilerPort(Protocol):
    """What turns components into what workers map."""

    async def compiled(self, component: Path) -> Path:
        """The compiled form of a `.wasm`."""


@dataclass(frozen=True, slots=True)
class _Version:
    """What a process runs as, of what its package says."""

    component: Path
    public: bool
    on_exit: OnExit
    requested: frozenset[Capability]
    handover: bool


@dataclass(slots=True)
class _Care:
    """What the supervisor knows of one process beside the process itself."""

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
    handover: bool = False
    """Whether its run is asked to hand over when it is replaced."""
    previous: _Version | None = None
    """What to go back to while a new version has not started."""
    strict: bool = False
    """Whether it is gone when it traps before it asked for a message."""
    attempts: int = 0
    """Runs of its component that ended before they asked for a message."""
    waits_for_worker: bool = field(default=False)


class Supervisor:
    """Supervises all processes of a node. Implements `RunEvents` and `WorkerEvents`.

    Needs a running event loop for its timers. `http` and `workers` are set before the first process.
    """

    http: HttpServerPort
    workers: Workers
    restore: Callable[[Process], Awaitable[None]] | None = None
    """Gives a process what earlier lives of the node left for it, before it is started."""

    def __init__(self, router: Router, compiler: CompilerPort, settings: Settings, log: LogPort) -> None:
        self._router = router
        self._compiler = compiler
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._cares: dict[ProcessId, _Care] = {}
        self._last_handle = 0
        self._closing = False

    async def add(self, spec: ProcessSpec, *, strict: bool = False) -> Process:
        """Compile a process and start it. Returns once it runs. With `strict`, one that traps before it asked for
        a message is given up whatever its on-exit says.

        Raises:
            CompileError: the component cannot be compiled.
            NameTaken: a process of that id is there already.
            ProcessNotStarted: it cannot be instantiated, or ended before it asked for a message.
        """
        process = await self.begin(spec)
        care = self._cares.get(spec.id)
        if care is not None:
            care.strict = strict
            await self._until_started(care)
        return process

    async def begin(self, spec: ProcessSpec) -> Process:
        """`add` without waiting for the process to run. One that cannot be started is logged, and gone.

        Raises:
            CompileError: the component cannot be compiled.
            NameTaken: a process of that id is there already.
        """
        compiled = await self._compiler.compiled(spec.component)
        process = Process(
            spec.id,
            compiled,
            public=spec.public,
            on_exit=spec.on_exit,
            mailbox_bytes=self._settings.process.mailbox_bytes,
            holdings=self._router.rights.holdings(spec.id, spec.requests),
        )
        if self.restore is not None:
            await self.restore(process)
        if spec.id in self._cares:
            raise NameTaken(f"{spec.id} runs on this node already: give the other process another id")
        self._router.rights.give(spec.id, spec.grants)
        care = _Care(
            process, Backoff(self._settings.restart), self._loop.create_future(), handover=spec.handover
        )
        self._cares[spec.id] = care
        self._router.add(process)
        care.started.add_done_callback(asyncio.Future.exception)  # whoever wants to know awaits it
        self._start(care)
        return process

    async def replace(self, spec: ProcessSpec) -> Process:
        """Run a process anew, in another version. Its channels stay open and its messages wait; the run of the
        old one finishes what it was sent, and hands over, within `process.handover_seconds`. A version that
        cannot be started is given up for the one before. Returns once the new one runs.

        Raises:
            CompileError: the component cannot be compiled; the process runs on as it was.
            NoSuchProcess: it is gone, or never was.
            ProcessNotStarted: the component cannot be started; the one before runs again.
        """
        compiled = await self._compiler.compiled(spec.component)
        care = self._care(spec.id)
        before, hands_over = _version(care), care.handover
        care.previous = care.previous or before
        requested = self._router.rights.holdings(spec.id, spec.requests).requested
        _become(care, _Version(compiled, spec.public, spec.on_exit, requested, spec.handover))
        self._router.rights.give(spec.id, spec.grants)
        care.backoff = Backoff(self._settings.restart)
        care.replacing = True
        if care.started.done():
            care.started = self._loop.create_future()
            care.attempts = 0
        if care.worker is None:
            self._start(care)
        else:
            await self._finish_run(care, spec.version, hands_over=hands_over)
        await self._until_started(care)
        return care.process

    async def restart(self, process_id: ProcessId) -> None:
        """End the run of a process and begin another, at once. Channels stay open and messages wait.

        Raises:
            NoSuchProcess: it is gone, or never was.
            ProcessNotStarted: the new run ended before it asked for a message.
        """
        care = self._care(process_id)
        care.backoff = Backoff(self._settings.restart)
        care.replacing = True
        if care.started.done():
            care.started = self._loop.create_future()
            care.attempts = 0
        if care.worker is None:
            self._start(care)
        else:
            await self._stop_run(care, "it is restarted")
        await self._until_started(care)

    async def kill(self, process_id: ProcessId) -> None:
        """End the run of a process as a trap would; its on-exit says what happens then. Nothing happens to one
        that is between two runs.

        Raises:
            NoSuchProcess: it is gone, or never was.
        """
        care = self._care(process_id)
        if care.worker is not None:
            care.killing = care.stopping is None
            await self._stop_run(care, "it is killed")

    async def stop(self, process_id: ProcessId, reason: str) -> None:
        """End a process for good. Returns when its run is over; a worker that does not end it is ended.

        Raises:
            NoSuchProcess: it is gone, or never was.
        """
        care = self._care(process_id)
        care.replacing = False
        if care.worker is None:
            self._end(care, reason)
        else:
            await self._stop_run(care, reason)

    async def close(self) -> None:
        """End all processes, all at once. On-exit rules do not apply: the node stops."""
        self._closing = True
        async with asyncio.TaskGroup() as tasks:
            for care in list(self._cares.values()):
                tasks.create_task(self._stop_with_node(care))

    # --- what workers report

    def worker_ready(self, worker: Worker) -> None:
        """See `WorkerEvents`."""
        for care in list(self._cares.values()):
            if care.waits_for_worker:
                self._start(care)

    def worker_lost(self, worker: Worker) -> None:
        """See `WorkerEvents`: its runs ended, and go on elsewhere if they are to go on."""
        runs = list(worker.runs.values())
        worker.runs.clear()
        for process in runs:
            self.run_ended(process, ExitCause.WORKER_LOST, worker.name)

    def run_started(self, process: Process) -> None:
        """See `RunEvents`."""
        care = self._cares[process.id]
        if care.stopping is not None:  # it is being replaced already
            return
        care.previous = None
        if process.run is not None:
            self._log.write(str(process.id), "info", f"runs on {process.run.worker}")
        process.run_started()
        if not care.started.done():
            care.started.set_result(None)

    def run_ended(self, process: Process, cause: str, detail: str) -> None:
        """See `RunEvents`."""
        care = self._cares[process.id]
        run = process.run
        ran_seconds = 0.0 if run is None else self._loop.time() - run.began
        not_again = process.end_run(worker_lost=cause == ExitCause.WORKER_LOST)
        care.worker = None
        self._router.run_ended(process)
        stopped = care.stopping is not None and not care.killing
        care.killing = False
        if not stopped or cause not in _ENDS_OF_THE_STOPPED:
            self._report_end(process, cause, detail, not_again)
        if care.stopping is not None and not care.stopping.done():
            care.stopping.set_result(None)
        care.stopping = None
        self._what_next(care, cause, detail, ran_seconds, stopped=stopped)

    # --- decisions

    def _what_next(self, care: _Care, cause: str, detail: str, ran_seconds: float, *, stopped: bool) -> None:
        process = care.process
        if care.replacing and not self._closing:
            self._start(care)
        elif stopped or self._closing:
            self._end(care, "it was stopped")
        elif self._cannot_start(care, cause):
            self._give_up_component(care, cause, detail)
        elif process.on_exit == "restart":
            self._restart_after(care, care.backoff.pause_after(cause, ran_seconds))
        else:
            self._end(care, f"it {in_words(cause)}", detail)

    def _cannot_start(self, care: _Care, cause: str) -> bool:
        """Whether a component that never asked for a message is to be given up.

        Its worker's loss may be another's doing, a few times. One that trapped, or returned, is given up only
        when there is another to go back to; one that trapped, also when whoever added it wants that. Else its
        on-exit decides, or a process could keep its node from starting by what it stored.
        """
        if care.started.done():
            return False
        trapped = cause not in (ExitCause.NOT_STARTED, ExitCause.WORKER_LOST, ExitCause.RETURNED)
        may_fail = cause == ExitCause.RETURNED or (trapped and not care.strict)
        if care.previous is None and may_fail:
            care.started.set_result(None)
            return False
        care.attempts += 1
        return cause != ExitCause.WORKER_LOST or care.attempts >= START_ATTEMPTS

    def _give_up_component(self, care: _Care, cause: str, detail: str) -> None:
        if care.previous is None:
            self._end(care, f"it {in_words(cause)}", detail)
            return
        self._not_started(care, detail or f"it {in_words(cause)}")
        _become(care, care.previous)
        care.previous = None
        self._start(care)

    def _restart_after(self, care: _Care, pause: float) -> None:
        if pause == 0.0:
            self._start(care)
            return
        self._log.write(str(care.process.id), "info", f"is started again in {pause:g} s")
        care.timer = self._loop.call_later(pause, self._start, care)

    def _start(self, care: _Care) -> None:
        """Begin a run on the worker with the fewest, or as soon as there is a worker."""
        process = care.process
        if care.timer is not None:
            care.timer.cancel()
            care.timer = None
        worker = self.workers.least_loaded()
        care.waits_for_worker = worker is None
        if worker is None:
            return
        care.replacing = False
        self._last_handle += 1
        handle = self._last_handle
        care.worker = worker
        worker.runs[handle] = process
        worker.send([int(ToWorker.START), handle, self._start_settings(process)])
        process.begin_run(Run(handle, worker.name, self._loop.time(), worker.send), self.http.reopen)

    def _start_settings(self, process: Process) -> dict[str, object]:
        limits, connections = self._settings.process, self._settings.connections
        return {
            "our": f"{self._settings.node}@{process.id}",
            "component": str(process.component),
            "on_exit": process.on_exit,
            "memory_bytes": limits.memory_bytes,
            "table_elements": limits.table_elements,
            "cpu_seconds_per_message": limits.cpu_seconds_per_message,
            "start_seconds": limits.start_seconds,
            "log_lines_per_second": limits.log_lines_per_second,
            "log_line_bytes": limits.log_line_bytes,
            "wasi_handles": limits.wasi_handles,
            "message_bytes": connections.message_bytes,
            "blob_bytes": limits.message_bytes,
        }

    async def _until_started(self, care: _Care) -> None:
        """Wait until the process asks for its first message. One that takes long is left to itself."""
        care.started.add_done_callback(asyncio.Future.exception)  # nobody may be waiting when it fails
        done, _ = await asyncio.wait((care.started,), timeout=START_WAIT_SECONDS)
        if done:
            care.started.result()
            return
        self._log.write(
            str(care.process.id),
            "warning",
            f"has not asked for a message in {START_WAIT_SECONDS:g} s: the node goes on without waiting for it",
        )

    async def _finish_run(self, care: _Care, version: str, *, hands_over: bool) -> None:
        """Let the run finish what it was sent, and hand over, in its time; then stop it."""
        process, worker, run = care.process, care.worker, care.process.run
        if worker is None or run is None or not run.flowing or care.stopping is not None:
            await self._stop_run(care, "it is replaced")
            return
        seconds = self._settings.process.handover_seconds
        ended = care.stopping = self._loop.create_future()
        process.hold_messages()
        if hands_over:
            process.send_last(handover_request(self._settings.node, version, seconds))
        worker.send([int(ToWorker.FINISH), run.handle, "it is replaced"])
        done, _ = await asyncio.wait((ended,), timeout=seconds)
        if not done:
            text = f"did not finish within {seconds:g} s: it is stopped, and what it has in hand is not done again"
            self._log.write(str(process.id), "warning", text)
            await self._stop_run(care, "it is replaced")

    async def _stop_run(self, care: _Care, reason: str) -> None:
        worker, run = care.worker, care.process.run
        if worker is None or run is None:
            return
        if care.stopping is None:
            care.stopping = self._loop.create_future()
            care.process.hold_messages()
        worker.send([int(ToWorker.STOP), run.handle, reason])
        ended = care.stopping
        done, _ = await asyncio.wait((ended,), timeout=STOP_SECONDS)
        if not done:
            self._log.write(
                worker.name, "error", f"did not stop {care.process.id} within {STOP_SECONDS:g} s: it is ended"
            )
            worker.abandon()
            await ended

    def _end(self, care: _Care, reason: str, detail: str = "") -> None:
        process = care.process
        if care.timer is not None:
            care.timer.cancel()
        del self._cares[process.id]
        process.end()
        self._router.remove(process)
        self.http.process_gone(process.id, reason)
        self._not_started(care, detail or reason)
        if type(process.on_exit) is list and not self._closing:
            self._router.send_on_exit(process, process.on_exit)

    def _not_started(self, care: _Care, why: str) -> None:
        if not care.started.done():
            care.started.set_exception(ProcessNotStarted(f"{care.process.id} cannot be started: {why}"))

    async def _stop_with_node(self, care: _Care) -> None:
        if care.worker is not None:
            await self._stop_run(care, "the node stops")
        elif not care.process.gone:
            self._end(care, "the node stops")

    def _report_end(self, process: Process, cause: str, detail: str, not_again: str | None) -> None:
        text = in_words(cause)
        if detail:
            text += f": {detail}"
        if not_again is not None:
            text += f" ({not_again} is not delivered again)"
        level = "info" if cause in (ExitCause.RETURNED, ExitCause.STOPPED) else "error"
        self._log.write(str(process.id), level, text)

    def _care(self, process_id: ProcessId) -> _Care:
        care = self._cares.get(process_id)
        if care is None:
            raise NoSuchProcess(f"this node has no process {process_id}: `guesthouse ps` lists those it has")
        return care


def _version(care: _Care) -> _Version:
    process = care.process
    return _Version(
        process.component, process.public, process.on_exit, process.holdings.requested, care.handover
    )


def _become(care: _Care, version: _Version) -> None:
    process = care.process
    process.component, process.public, process.on_exit = version.component, version.public, version.on_exit
    process.holdings.requested = version.requested
    care.handover = version.handover
