"""Begins and stops the runs of processes on workers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from guesthouse.core.address import ProcessId
from guesthouse.core.config import Settings
from guesthouse.core.ports import LogPort
from guesthouse.kernel.process.process import Process, Run
from guesthouse.kernel.supervision.handover import handover_request
from guesthouse.kernel.supervision.process_states import Purpose, Stopping
from guesthouse.kernel.supervision.supervised import SupervisedProcess
from guesthouse.kernel.workers.pool import Worker
from guesthouse.kernel.workers.wait import within
from guesthouse.link.to_worker import Finish, GuestLimits, Start, Stop

STOP_SECONDS: Final = 1.5
"""Seconds that a worker may take to stop a run before it is killed."""


class Runs:
    """Begins and stops the runs of a node's processes. Needs a running event loop."""

    def __init__(self, settings: Settings, log: LogPort, *, traced: bool = False) -> None:
        self._traced = traced
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._last_handle = 0

    def apply(self, settings: Settings) -> None:
        """Apply reloaded settings to new runs."""
        self._settings = settings

    def begin(
        self,
        supervised: SupervisedProcess,
        worker: Worker,
        reopen: Callable[[ProcessId], None],
        *,
        connected: bool,
    ) -> None:
        """Begin a run on a worker.

        Args:
            supervised: the process.
            worker: the worker.
            reopen: posts the process's open channels.
            connected: whether the node is connected to others.
        """
        process = supervised.process
        self._last_handle += 1
        handle = self._last_handle
        supervised.life.begin(worker)
        worker.runs[handle] = process
        worker.send(self._start(handle, process, connected=connected))
        process.begin_run(Run(handle, worker.name, self._loop.time(), worker.send), reopen)

    async def until_started(self, supervised: SupervisedProcess) -> bool:
        """Wait until the process asks for its first message. Returns False on a time-out.

        Raises:
            ProcessNotStarted: it cannot be started.
        """
        supervised.started.add_done_callback(asyncio.Future.exception)  # retrieve it if nobody waits
        seconds = self._settings.process.first_message_seconds
        done, _ = await asyncio.wait((supervised.started,), timeout=seconds)
        if done:
            supervised.started.result()
        return bool(done)

    async def finish(
        self, supervised: SupervisedProcess, seconds: float, next_version: str | None = None
    ) -> None:
        """Let the run finish the messages it was sent, within `seconds`; then stop it.

        Args:
            supervised: the process.
            seconds: the time-out.
            next_version: to which it hands over; None if it does not.
        """
        process, worker, run = supervised.process, supervised.life.worker, supervised.process.run
        if worker is None or run is None or not run.flowing or isinstance(supervised.life.state, Stopping):
            await self.stop(supervised, Purpose.RUN_AGAIN, "it is replaced")
            return
        over = supervised.life.stop(Purpose.RUN_AGAIN)
        process.hold_messages()
        if next_version is not None:
            process.send_last(handover_request(self._settings.node, next_version, seconds))
        worker.send(Finish(run.handle, "it is replaced"))
        if not await within(seconds, over):
            text = f"did not finish within {seconds:g} s: stopping it; messages that it has taken are lost"
            self._log.write(str(process.id), "warning", text)
            await self.stop(supervised, Purpose.RUN_AGAIN, "it is replaced")

    async def stop(self, supervised: SupervisedProcess, purpose: Purpose, reason: str) -> None:
        """Stop the run, if there is one, and wait for its end. A worker that does not stop it in time is killed."""
        worker, run = supervised.life.worker, supervised.process.run
        if worker is None or run is None:
            return
        over = supervised.life.stop(purpose)
        supervised.process.hold_messages()
        worker.send(Stop(run.handle, reason))
        if not await within(STOP_SECONDS, over):
            self._log.write(
                worker.name,
                "error",
                f"did not stop {supervised.process.id} within {STOP_SECONDS:g} s: killing the worker",
            )
            worker.abandon()
            await over

    def _start(self, handle: int, process: Process, *, connected: bool) -> Start:
        limits, connections = self._settings.process, self._settings.connections
        return Start(
            handle,
            f"{self._settings.node}@{process.id}",
            os.fsencode(process.component),
            process.on_exit,
            GuestLimits(
                memory_bytes=limits.memory_bytes,
                table_elements=limits.table_elements,
                cpu_seconds_per_message=limits.cpu_seconds_per_message,
                start_seconds=limits.start_seconds,
                cpu_share=limits.cpu_share,
                host_calls_per_second=limits.host_calls_per_second,
                log_lines_per_second=limits.log_lines_per_second,
                log_line_bytes=limits.log_line_bytes,
                wasi_handles=limits.wasi_handles,
                message_bytes=connections.message_bytes,
                blob_bytes=limits.message_bytes,
            ),
            connected,
            self._traced,
        )
