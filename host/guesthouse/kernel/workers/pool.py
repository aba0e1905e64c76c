"""The pool of worker subprocesses: spawns, monitors and replaces them.

A worker gets one end of a socketpair, a minimal environment and no standard input. It runs in its own session, so that
Ctrl-C in the node's terminal does not reach it. A worker and its link end together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.workers.health_check import LOOKS, MissedHeartbeats
from guesthouse.kernel.workers.placement import Placement
from guesthouse.kernel.workers.worker_process import (
    WorkerSubprocess,
    describe_exit,
    spawn,
    wait_or_kill,
    worker_command,
)
from guesthouse.link.endpoint import NodeEnd, connect
from guesthouse.link.frames import LinkError
from guesthouse.link.lane import of_node
from guesthouse.link.schema import PROTOCOL_VERSION, Message
from guesthouse.link.to_node import ToNode
from guesthouse.link.to_worker import Configure, Ping

READY_SECONDS: Final = 60.0
"""Time for a worker's self-check, until it is ready."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
HEALTHY_SECONDS: Final = 10.0
"""A worker that lived so long is replaced at once; others after a doubling pause."""

SILENCE_SECONDS: Final = 15.0
"""A worker that is silent for so long is killed (`kernel/workers/health_check.py`)."""


class WorkerFailed(GuesthouseError):
    """No worker became ready, so this node can run nothing."""


class WorkerEvents(Protocol):
    """Receives events of workers."""

    def worker_ready(self, worker: Worker) -> None:
        """The worker accepts processes."""

    def worker_lost(self, worker: Worker) -> None:
        """The worker's link is closed; its runs ended."""


class Receiver(Protocol):
    """Receives the messages of one worker (`kernel/messaging/worker_operations.py`)."""

    def handle(self, message: ToNode) -> None:
        """Handle a message.

        Raises:
            LinkError: the worker violates the protocol.
        """

    def unsendable(self, message: Message, error: Exception) -> None:
        """A message to the worker could not be encoded."""


class Worker:
    """A worker subprocess, from spawn to exit."""

    def __init__(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.runs: dict[int, Process] = {}
        self.os_pid = 0
        self.became_ready: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[LinkError | None] = loop.create_future()
        """Done once its link is closed; the result is its protocol violation, if any."""
        self.pings = 0
        """Unanswered pings."""
        self._link: NodeEnd | None = None
        self._silence = MissedHeartbeats()

    @property
    def ready(self) -> bool:
        """Whether it accepts processes."""
        return self.became_ready.done() and not self.lost.done()

    def attach(self, link: NodeEnd) -> None:
        """Set its link."""
        self._link = link

    def send(self, message: Message, size: int = 0) -> None:
        """Send a message. No effect if the worker is gone."""
        if self._link is not None:
            self._link.send(message, size)

    def ping(self) -> bool:
        """Send a ping. Returns False if the worker counts as dead."""
        if self._link is None or not self.ready:
            return True
        if self._silence.look(self._link.reads):
            return False
        self.pings += 1
        self.send(Ping())
        return True

    def pong(self) -> bool:
        """Receive a pong. Returns False if no ping was sent."""
        self.pings -= 1
        return self.pings >= 0

    def abandon(self) -> None:
        """Close its link, which ends the worker and its runs."""
        if self._link is not None:
            self._link.abort()


class Workers:
    """The workers of a node. An async context manager: leaving it ends them all.

    Args:
        placement: assigns packages to workers.
        log: the node's log.
        operations: makes the receiver of a worker's messages, given the worker and a callback for when it is ready.
        events: receives events of workers.
        command: command to spawn, without `--link-fd N`.
        ahead: returns a pre-spawned worker, or None if there is none left.
        silence_seconds: after which a silent worker is killed.
        ready_seconds: time-out until a worker is ready.
        longest_pause: maximum pause before a failing worker is replaced.
    """

    def __init__(
        self,
        placement: Placement,
        log: LogPort,
        operations: Callable[[Worker, Callable[[], None]], Receiver],
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
        self.replaced = 0
        """How many workers ended and were replaced."""
        self._stopping = False
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._tasks = asyncio.TaskGroup()
        self._begun: dict[str, asyncio.Future[None]] = {}
        """By name: done once the worker became ready, or failed to, for the first time."""

    async def __aenter__(self) -> Workers:
        """Start the workers and wait until each is ready or has failed, so that processes are spread over all.

        Raises:
            WorkerFailed: no worker is ready; says why the first is not.
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
        """The ready worker with the fewest runs that may run a package's processes, or None."""
        may_run = self._placement.may_run
        ready = (worker for worker in self._alive if worker.ready and may_run(worker.name, package))
        return min(ready, key=lambda worker: len(worker.runs), default=None)

    def enter(self, package: str) -> None:
        """Count a new process of a package, and start a worker if it needs one.

        Raises:
            NoWorkerLeft: the package needs its own worker, and the limit is reached.
        """
        name = self._placement.enter(package)
        if name is not None and not self._stopping:
            self._begin(name)

    async def there_for(self, package: str) -> None:
        """Wait until a worker for a package became ready, or failed to, for the first time: a slow worker must not
        count against the process's time-out.
        """
        begun = [done for name, done in self._begun.items() if self._placement.may_run(name, package)]
        if begun:
            await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)

    def leave(self, package: str) -> None:
        """Uncount a process that is gone, and stop its package's own worker after the last."""
        name = self._placement.leave(package)
        if name is not None and not self._stopping:
            self._log.write(name, "info", f"stopping: {package} has no processes left")
            del self._begun[name]
            self._keepers.pop(name).cancel()

    def alive(self) -> Sequence[Worker]:
        """Workers with a running subprocess."""
        return tuple(self._alive)

    def _begin(self, name: str) -> None:
        begun = self._begun[name] = asyncio.get_running_loop().create_future()
        begun.add_done_callback(asyncio.Future.exception)  # retrieve it: failures of later starts are logged
        self._keepers[name] = self._tasks.create_task(self._keep(name))

    async def _keep(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        pause = 0.0
        while not self._stopping:
            began = loop.time()
            reason = await self._one_life(name)
            self._log.write(name, "error", f"{reason}; starting another")
            self.replaced += 1
            if not self._begun[name].done():
                self._begun[name].set_exception(WorkerFailed(f"{name} could not start: {reason}"))
            if loop.time() - began >= HEALTHY_SECONDS:
                pause = 0.0
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, FIRST_PAUSE), self._longest_pause)

    async def _watch(self) -> None:
        """Kill silent workers. Guests cannot cause this, but a fault of the machine can."""
        while True:
            await asyncio.sleep(self._silence_seconds / LOOKS)
            for worker in self.alive():
                if not worker.ping():
                    self._log.write(
                        worker.name, "error", f"silent for {self._silence_seconds:g} s: killing it"
                    )
                    worker.abandon()

    async def _one_life(self, name: str) -> str:
        """Spawn a worker, or take a pre-spawned one, and run it to its end. Returns why it ended."""
        try:
            subprocess = self._ahead() or spawn(self._command)
        except OSError as error:  # too many open files or too little memory: retried later
            return f"could not be spawned: {error.strerror}"
        worker = Worker(name)
        worker.os_pid = subprocess.pid
        try:
            async with asyncio.TaskGroup() as tasks:
                last_line = tasks.create_task(self._read_stderr(name, subprocess))
                fault = await self._serve(worker, subprocess)
                status = await wait_or_kill(subprocess)
        finally:
            worker.abandon()
            subprocess.kill()
            if subprocess.memory is not None:
                subprocess.memory.close()
            await subprocess.wait()
        return fault or describe_exit(status, last_line.result())

    async def _serve(self, worker: Worker, subprocess: WorkerSubprocess) -> str | None:
        """Run the worker's link until it is closed. Returns its protocol violation, if any."""
        receiver = self._operations(worker, lambda: self._became_ready(worker))
        self._alive.append(worker)
        lost = partial(self._lost, worker)
        lane = None if subprocess.memory is None else of_node(subprocess.memory)
        worker.attach(await connect(subprocess.link, receiver.handle, lost, receiver.unsendable, lane))
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
            raise LinkError("a worker reports twice that it is ready")
        worker.became_ready.set_result(None)
        self._log.write(worker.name, "debug", f"ready (pid {worker.os_pid})")
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
        """Log a worker's standard error, which has errors of the host, never a guest's output. Returns the last
        line.
        """
        last = ""
        async for last in subprocess.stderr_lines():
            self._log.write(name, "error", last)
        return last
