"""The worker subprocesses: spawned, watched, and replaced when they die.

A worker gets one end of a socketpair, an almost empty environment, no folder and no standard input, and
is in a session of its own, so that Ctrl-C in the node's terminal does not reach it. It lives as long as
its link: the link's end, for whatever reason, ends the worker, and the worker's end ends the link.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.workers.health_check import LOOKS, MissedHeartbeats
from guesthouse.kernel.workers.placement import Placement
from guesthouse.kernel.workers.worker_process import WorkerSubprocess, spawn, worker_command
from guesthouse.link.endpoint import NodeEnd, connect
from guesthouse.link.frames import LinkError
from guesthouse.link.schema import PROTOCOL_VERSION, Message
from guesthouse.link.to_node import ToNode
from guesthouse.link.to_worker import Configure, Ping

READY_SECONDS: Final = 60.0
"""How long a worker may take to check its wasmtime and say that it is ready."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
HEALTHY_SECONDS: Final = 10.0
"""A worker that lived so long is replaced at once; others after a pause that doubles."""

SILENCE_SECONDS: Final = 15.0
"""A worker that says nothing for so long is ended; its processes go on elsewhere (`kernel/workers/health_check.py`)."""

_END_SECONDS: Final = 0.5


class WorkerFailed(GuesthouseError):
    """A worker ended before it was ready, so this node can run nothing."""


class WorkerEvents(Protocol):
    """Who is told that workers come and go."""

    def worker_ready(self, worker: Worker) -> None:
        """It takes processes."""

    def worker_lost(self, worker: Worker) -> None:
        """Its link is closed: it is no more, and neither are its runs."""


class Hearer(Protocol):
    """What takes the messages of one worker (`kernel/messaging/worker_operations.py`)."""

    def handle(self, message: ToNode) -> None:
        """Carry out one.

        Raises:
            LinkError: no correct worker sends it.
        """

    def unsendable(self, message: Message, error: Exception) -> None:
        """A message to the worker could not be written."""


class Worker:
    """One worker subprocess, from its spawn to its end."""

    def __init__(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.runs: dict[int, Process] = {}
        self.os_pid = 0
        self.became_ready: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[LinkError | None] = loop.create_future()
        """Done when its link is closed; the result is what it did wrong, if anything."""
        self.pings = 0
        """Those that it has not answered."""
        self._link: NodeEnd | None = None
        self._silence = MissedHeartbeats()

    @property
    def ready(self) -> bool:
        """Whether it takes processes."""
        return self.became_ready.done() and not self.lost.done()

    def attach(self, link: NodeEnd) -> None:
        """Speak over this link from now on."""
        self._link = link

    def send(self, message: Message, size: int = 0) -> None:
        """Send it a message; nothing happens when it is gone."""
        if self._link is not None:
            self._link.send(message, size)

    def ping(self) -> bool:
        """Ask whether it is alive. Returns False when it has said nothing at all for too long."""
        if self._link is None or not self.ready:
            return True
        if self._silence.look(self._link.reads):
            return False
        self.pings += 1
        self.send(Ping())
        return True

    def pong(self) -> bool:
        """It says that it is alive. Returns False when it was not asked."""
        self.pings -= 1
        return self.pings >= 0

    def abandon(self) -> None:
        """Close its link, which ends it and all its runs."""
        if self._link is not None:
            self._link.abort()


class Workers:
    """The workers of a node. An async context manager: leaving it ends them all.

    Args:
        placement: which workers to keep alive, and whose processes each may run.
        operations: makes what takes the messages of a worker, given the worker and what to call once it is ready.
        events: told of each worker that becomes ready or is lost.
        command: what to spawn, without `--link-fd N`.
        ahead: gives one that was spawned by this command already; None when there is none left.
        silence_seconds: how long a worker may say nothing.
        ready_seconds: how long one may take until it takes processes.
        longest_pause: the longest wait before one that keeps ending is replaced.
    """

    def __init__(
        self,
        placement: Placement,
        log: LogPort,
        operations: Callable[[Worker, Callable[[], None]], Hearer],
        events: WorkerEvents,
        command: Sequence[str] | None = None,
        ahead: Callable[[], WorkerSubprocess | None] = lambda: None,
        silence_seconds: float = SILENCE_SECONDS,
        ready_seconds: float = READY_SECONDS,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self._placement = placement
        self._log = log
        self._operations = operations
        self._events = events
        self._command = list(command if command is not None else worker_command())
        self._ahead = ahead
        self._silence_seconds = silence_seconds
        self._ready_seconds = ready_seconds
        self._longest_pause = longest_pause
        self._alive: list[Worker] = []
        self._stopping = False
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._tasks = asyncio.TaskGroup()
        self._begun: dict[str, asyncio.Future[None]] = {}
        """Done when a worker of that name became ready or could not, for the first time."""

    async def __aenter__(self) -> Workers:
        """Returns once every worker is ready, or failed to be: processes are then spread over all.

        Raises:
            WorkerFailed: none is ready; it is why the first is not.
        """
        await self._tasks.__aenter__()
        for name in self._placement.names:
            self._begin(name)
        self._watcher = self._tasks.create_task(self._watch())
        try:
            outcomes = await asyncio.gather(*self._begun.values(), return_exceptions=True)
            failures = [outcome for outcome in outcomes if outcome is not None]
            if failures and len(failures) == len(outcomes):
                raise failures[0]
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        for task in (*self._keepers.values(), self._watcher):
            if task is not None:
                task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def least_loaded(self, package: str) -> Worker | None:
        """The ready worker with the fewest runs of those that may run a package's processes; None when none is."""
        may_run = self._placement.may_run
        ready = (worker for worker in self._alive if worker.ready and may_run(worker.name, package))
        return min(ready, key=lambda worker: len(worker.runs), default=None)

    def enter(self, package: str) -> None:
        """A process of a package is to be run, now or later. Starts a worker for the package if it needs one.

        Raises:
            NoWorkerLeft: the package needs a worker of its own, and there are as many as there may be.
        """
        name = self._placement.enter(package)
        if name is not None and not self._stopping:
            self._begin(name)

    async def there_for(self, package: str) -> None:
        """Return once a worker that may run a package's processes became ready, or could not, for the first time: it
        is not the process's fault when its own worker takes long to start.
        """
        begun = [done for name, done in self._begun.items() if self._placement.may_run(name, package)]
        if begun:
            await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)

    def leave(self, package: str) -> None:
        """A process that entered is gone. Ends the worker that only its package could use, after the last."""
        name = self._placement.leave(package)
        if name is not None and not self._stopping:
            self._log.write(name, "info", f"ends: {package} has no process left")
            del self._begun[name]
            self._keepers.pop(name).cancel()

    def alive(self) -> Sequence[Worker]:
        """Those that have a subprocess."""
        return tuple(self._alive)

    def _begin(self, name: str) -> None:
        begun = self._begun[name] = asyncio.get_running_loop().create_future()
        begun.add_done_callback(asyncio.Future.exception)  # of those that start later, the log says it
        self._keepers[name] = self._tasks.create_task(self._keep(name))

    async def _keep(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        pause = 0.0
        while not self._stopping:
            began = loop.time()
            reason = await self._one_life(name)
            self._log.write(name, "error", f"{reason}; another is started")
            if not self._begun[name].done():
                self._begun[name].set_exception(WorkerFailed(f"{name} could not start: {reason}"))
            if loop.time() - began >= HEALTHY_SECONDS:
                pause = 0.0
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, FIRST_PAUSE), self._longest_pause)

    async def _watch(self) -> None:
        """End workers that are alive and do nothing: no guest can cause it, a fault of the machine can."""
        while True:
            await asyncio.sleep(self._silence_seconds / LOOKS)
            for worker in self.alive():
                if not worker.ping():
                    self._log.write(
                        worker.name, "error", f"said nothing for {self._silence_seconds:g} s: it is ended"
                    )
                    worker.abandon()

    async def _one_life(self, name: str) -> str:
        """Spawn a worker, or take one that was, and see it through to its end. Returns why it ended."""
        try:
            subprocess = self._ahead() or spawn(self._command)
        except OSError as error:  # too many open files, too little memory: it may work later
            return f"could not be spawned: {error.strerror}"
        worker = Worker(name)
        worker.os_pid = subprocess.pid
        try:
            async with asyncio.TaskGroup() as tasks:
                last_words = tasks.create_task(self._read_stderr(name, subprocess))
                fault = await self._serve(worker, subprocess.link)
                status = await _wait_or_kill(subprocess)
        finally:
            worker.abandon()
            subprocess.kill()
            await subprocess.wait()
        return fault or _end_in_words(status, last_words.result())

    async def _serve(self, worker: Worker, sock: socket.socket) -> str | None:
        """Speak with the worker until its link is closed. Returns what it did wrong, if anything."""
        hearer = self._operations(worker, lambda: self._became_ready(worker))
        self._alive.append(worker)
        lost = partial(self._lost, worker)
        worker.attach(await connect(sock, hearer.handle, lost, hearer.unsendable))
        worker.send(Configure(PROTOCOL_VERSION))
        try:
            await asyncio.wait(
                (worker.became_ready, worker.lost),
                timeout=self._ready_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not (worker.became_ready.done() or worker.lost.done()):
                return f"not ready within {self._ready_seconds:g} s"
            fault = await worker.lost
            return None if fault is None else str(fault)
        finally:
            worker.abandon()

    def _became_ready(self, worker: Worker) -> None:
        if worker.became_ready.done():
            raise LinkError("a worker says twice that it is ready")
        worker.became_ready.set_result(None)
        self._log.write(worker.name, "debug", f"takes processes (pid {worker.os_pid})")
        begun = self._begun.get(worker.name)
        if begun is not None and not begun.done():
            begun.set_result(None)
        self._events.worker_ready(worker)

    def _lost(self, worker: Worker, fault: LinkError | None) -> None:
        self._alive.remove(worker)
        if not worker.lost.done():
            worker.lost.set_result(fault)
        self._events.worker_lost(worker)

    async def _read_stderr(self, name: str, subprocess: WorkerSubprocess) -> str:
        """Log what a worker says on its standard error: faults of the host, never a guest's words. Returns the
        last line.
        """
        last = ""
        async for last in subprocess.stderr_lines():
            self._log.write(name, "error", last)
        return last


async def _wait_or_kill(subprocess: WorkerSubprocess) -> int:
    """Give it a moment to end by itself, for its status says more than that of a kill."""
    try:
        async with asyncio.timeout(_END_SECONDS):
            return await subprocess.wait()
    except TimeoutError:
        subprocess.kill()
        return await subprocess.wait()


def _end_in_words(status: int, last_words: str) -> str:
    how = (
        f"exited with status {status}"
        if status >= 0
        else f"was ended by signal {-status} ({signal.strsignal(-status)})"
    )
    return f"{how}: {last_words}" if last_words else how
