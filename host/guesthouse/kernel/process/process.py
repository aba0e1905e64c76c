"""A process of this node: its mailbox and its current run.

A process outlives its runs. Messages posted while it is not running are kept in the mailbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import Holdings
from guesthouse.core.messages import IncomingHttpRequest, WebSocketOpen
from guesthouse.core.ports import Feeder
from guesthouse.kernel.process.mailbox import Mailbox
from guesthouse.link import to_worker
from guesthouse.link.schema import Message, OnExit
from guesthouse.link.usage import NOTHING, Usage


class ProcessState(StrEnum):
    """Life cycle of a process."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """Between two runs."""
    GONE = "gone"


class Run(Struct):
    """A run of a process on a worker. `send` takes a message and its size in bytes."""

    handle: int
    worker: str
    began: float
    send: Callable[[Message, int], None]
    calls: int = 0
    """Pending calls."""
    flowing: bool = False
    """Whether messages are sent to it: from STARTED until it is told to stop."""


class RunEnd(Struct, frozen=True):
    """How a run ended."""

    cause: str
    """An `ExitCause`."""
    detail: str
    at: float
    """Unix seconds."""


class Process:
    """A process of this node. Implements `guesthouse.core.ports.ProcessPort`. `on_full` is its mailbox's."""

    def __init__(
        self,
        process_id: ProcessId,
        component: Path,
        *,
        public: bool,
        on_exit: OnExit,
        mailbox_bytes: int,
        holdings: Holdings | None = None,
        on_full: Callable[[], None] | None = None,
    ) -> None:
        self.id = process_id
        self.holdings = Holdings("") if holdings is None else holdings
        """Its capabilities."""
        self.component = component
        """The compiled component of its next run."""
        self.public = public
        self.on_exit = on_exit
        self.state = ProcessState.STARTING
        self.run: Run | None = None
        self.runs = 0
        self.last_end: RunEnd | None = None
        """How its run before this one ended."""
        self.started_at: float | None = None
        """When its run started, on the monotonic clock."""
        self.usage = NOTHING
        """Resource usage of its run."""
        self._used_before = NOTHING
        self.mailbox = Mailbox(mailbox_bytes, on_full)
        self._twice_full = 2 * mailbox_bytes
        self._announced: list[to_worker.Open] | None = None

    @property
    def gone(self) -> bool:
        """Whether it ended for good."""
        return self.state is ProcessState.GONE

    @property
    def handle(self) -> int:
        """Handle of its run; 0 without one. Messages for a later run get its handle when they are sent."""
        return 0 if self.run is None else self.run.handle

    def used(self) -> Usage:
        """Resource usage of all its runs."""
        return self.usage.after(self._used_before)

    # --- posted by the HTTP server

    def post_open(self, event: WebSocketOpen, credit: int) -> None:
        """See `ProcessPort`. During `begin_run` it announces a channel to the new run."""
        message = to_worker.Open(
            self.handle,
            event.channel_id,
            event.path,
            event.source_socket_addr,
            event.forwarded_for,
            event.url_params,
            event.query_params,
            event.resumed,
            credit,
            event.bound_path,
            event.subprotocol,
            event.claims,
        )
        if self._announced is not None:
            self._announced.append(message)
            return
        self.mailbox.post_open(message)
        self._forward()

    def post_push(self, channel_id: int, message_type: int, payload: bytes, feeder: Feeder) -> None:
        """See `ProcessPort`."""
        run, size = self.run, len(payload)
        message = to_worker.Push(0 if run is None else run.handle, channel_id, message_type, payload)
        if run is not None and run.flowing and self.mailbox.pass_push(message, size, feeder):
            run.send(message, size)
        else:
            self.mailbox.post_push(message, size, feeder)
            self._forward()

    def post_close(self, channel_id: int, reason: bytes | None = None) -> None:
        """See `ProcessPort`."""
        self.mailbox.post_close(to_worker.Close(self.handle, channel_id, reason))
        self._forward()

    def post_channel_gone(self, channel_id: int) -> None:
        """See `ProcessPort`."""
        if self.mailbox.forget_channel(channel_id):
            self._send_now(to_worker.ChannelGone(channel_id))

    def post_http(self, http_id: int, request: IncomingHttpRequest, mime: str | None, body: bytes) -> bool:
        """See `ProcessPort`."""
        if self.gone or self.mailbox.refuses():
            return False
        message = to_worker.Http(
            self.handle,
            http_id,
            request.method,
            request.url,
            request.bound_path,
            request.headers,
            request.url_params,
            request.query_params,
            request.source_socket_addr,
            mime,
            body,
            request.claims,
        )
        head = sum(len(name) + len(value) for name, value in request.headers) + len(request.url)
        self._post(message, len(body) + head)
        return True

    def grant_credit(self, channel_id: int, size: int) -> None:
        """See `ProcessPort`."""
        if not self.mailbox.add_credit(channel_id, size):
            self._send_now(to_worker.Credit(channel_id, size))

    # --- posted by the router

    def post_request(self, message: to_worker.Request, size: int) -> None:
        """Post a request."""
        self._post(message, size)

    def post_answer(self, message: to_worker.Response | to_worker.SendFailure, size: int) -> bool:
        """Post the outcome of a request. Returns False when the mailbox is at twice its capacity: the process sends
        requests and never receives.
        """
        if self.mailbox.size >= self._twice_full:
            return False
        self._post(message, size)
        return True

    def is_run(self, handle: int) -> bool:
        """Whether that handle is of the current run."""
        return self.run is not None and self.run.handle == handle

    def answer_await(
        self, handle: int, message: to_worker.Response | to_worker.SendFailure, size: int
    ) -> None:
        """Answer a blocking request of a run, if that is still the current one."""
        run = self.run
        if run is not None and run.handle == handle:
            run.send(replace(message, handle=handle), size)

    # --- runs

    def begin_run(self, run: Run, reopen: Callable[[ProcessId], None]) -> None:
        """Begin a run. `reopen` posts all open channels, which the run is told of first."""
        announced: list[to_worker.Open] = []
        self._announced = announced
        try:
            reopen(self.id)
        finally:
            self._announced = None
        self.mailbox.begin_run(announced)
        self.holdings.begin_run()
        self.run = run
        self.runs += 1
        self.state = ProcessState.STARTING

    def run_started(self) -> None:
        """The worker reports that the run started: begin to send messages."""
        if self.run is not None:
            self.run.flowing = True
            self.state = ProcessState.RUNNING
            self.started_at = time.monotonic()
            self._forward()

    def hold_messages(self) -> None:
        """Stop sending messages to this run: it was told to stop."""
        if self.run is not None:
            self.run.flowing = False

    def send_last(self, message: to_worker.Request) -> None:
        """Send one more message, to this run only, and then none."""
        self.hold_messages()
        if self.run is not None:
            message = replace(message, handle=self.run.handle)
            self.mailbox.send_last(message)
            self.run.send(message, 0)

    def end_run(self, *, worker_lost: bool = False) -> str | None:
        """The run ended. See `Mailbox.end_run`."""
        self.run = None
        self.started_at = None
        self._used_before, self.usage = self.used(), NOTHING
        self.state = ProcessState.WAITING
        return self.mailbox.end_run(worker_lost=worker_lost)

    def withdraw(self, message: to_worker.ToProcess) -> None:
        """Take back a message that could not be sent to the run."""
        self.mailbox.withdraw(message)
        self._forward()

    def end(self) -> None:
        """The process ended for good."""
        self.state = ProcessState.GONE
        self.mailbox.clear()

    def consumed(self, count: int, *, in_hand: bool = True) -> None:
        """The guest consumed `count` more messages. See `Mailbox.consumed`.

        Raises:
            LinkError: fewer were sent.
        """
        if self.mailbox.consumed(count, in_hand=in_hand):
            self._forward()

    def _post(self, message: to_worker.ToProcess, size: int) -> None:
        if not self.gone:
            self.mailbox.post(message, size)
            self._forward()

    def _forward(self) -> None:
        run = self.run
        if run is None or not run.flowing:
            return
        for message, size in self.mailbox.take(run.handle):
            run.send(message, size)

    def _send_now(self, message: Message) -> None:
        if self.run is not None:
            self.run.send(message, 0)
