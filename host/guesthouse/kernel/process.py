"""One process of this node: its mailbox, and the run that it is in.

A process outlives its runs. Whoever sends to it need not know whether it runs now: what is posted
while it starts or waits to be started again is kept by the mailbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

from guesthouse.address import ProcessId
from guesthouse.capabilities import Holdings
from guesthouse.kernel.mailbox import Mailbox, Operation
from guesthouse.link.ops import ToWorker
from guesthouse.link.usage import NOTHING, Usage
from guesthouse.message import IncomingHttpRequest, Pairs, WebSocketOpen
from guesthouse.ports import Feeder

OnExit: TypeAlias = str | list[Any]
"""`none`, `restart`, or a list of `[target, body, expects_response, mime, blob]`."""


class ProcessState(StrEnum):
    """Where a process is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """It ended and will be started again."""
    GONE = "gone"


@dataclass(slots=True)
class Run:
    """One run of a process, on one worker. `send` is the link's, and takes an operation and its size."""

    handle: int
    worker: str
    began: float
    send: Callable[[Operation, int], None]
    calls: int = 0
    """Calls of this run that the node has not answered."""
    flowing: bool = False
    """Whether messages are handed to it: from STARTED until it is told to stop."""


class Process:
    """A process of this node. Implements `guesthouse.ports.ProcessPort`."""

    def __init__(
        self,
        process_id: ProcessId,
        component: Path,
        *,
        public: bool,
        on_exit: OnExit,
        mailbox_bytes: int,
        holdings: Holdings | None = None,
    ) -> None:
        self.id = process_id
        self.holdings = Holdings("") if holdings is None else holdings
        """The capabilities that it holds."""
        self.component = component
        """The compiled component that its next run uses."""
        self.public = public
        self.on_exit = on_exit
        self.state = ProcessState.STARTING
        self.run: Run | None = None
        self.runs = 0
        self.started_at: float | None = None
        """When its run started, by the monotonic clock."""
        self.usage = NOTHING
        """What its run uses."""
        self._used_before = NOTHING
        self.mailbox = Mailbox(mailbox_bytes)
        self._twice_full = 2 * mailbox_bytes
        self._announced: list[Operation] | None = None

    @property
    def gone(self) -> bool:
        """Whether it ended and will not return."""
        return self.state is ProcessState.GONE

    def used(self) -> Usage:
        """What it uses, with what its earlier runs used."""
        return self.usage.after(self._used_before)

    # --- what the HTTP server posts

    def post_open(self, event: WebSocketOpen, credit: int) -> None:
        """See `ProcessPort`. During `begin_run` the channel is announced to the new run."""
        operation: Operation = [
            int(ToWorker.OPEN),
            0,
            event.channel_id,
            event.path,
            event.source_socket_addr,
            event.forwarded_for,
            _lists(event.url_params),
            _lists(event.query_params),
            event.resumed,
            credit,
            event.bound_path,
            event.subprotocol,
        ]
        if self._announced is not None:
            self._announced.append(operation)
            return
        self.mailbox.post_open(operation)
        self._forward()

    def post_push(self, channel_id: int, message_type: int, payload: bytes, feeder: Feeder) -> None:
        """See `ProcessPort`."""
        operation = [_PUSH, 0, channel_id, message_type, payload]
        run, size = self.run, len(payload)
        if run is not None and run.flowing and self.mailbox.pass_push(operation, size, feeder):
            operation[1] = run.handle
            run.send(operation, size)
        else:
            self.mailbox.post_push(operation, size, feeder)
            self._forward()

    def post_close(self, channel_id: int, reason: bytes | None = None) -> None:
        """See `ProcessPort`."""
        said = [] if reason is None else [reason]
        self.mailbox.post_close([int(ToWorker.CLOSE), 0, channel_id, *said])
        self._forward()

    def post_channel_gone(self, channel_id: int) -> None:
        """See `ProcessPort`."""
        if self.mailbox.forget_channel(channel_id):
            self._send_now([int(ToWorker.CHANNEL_GONE), channel_id])

    def post_http(self, http_id: int, request: IncomingHttpRequest, mime: str | None, body: bytes) -> bool:
        """See `ProcessPort`."""
        if self.gone or self.mailbox.refuses():
            return False
        operation: Operation = [
            int(ToWorker.HTTP),
            0,
            http_id,
            request.method,
            request.url,
            request.bound_path,
            _lists(request.headers),
            _lists(request.url_params),
            _lists(request.query_params),
            request.source_socket_addr,
            mime,
            body,
        ]
        head = sum(len(name) + len(value) for name, value in request.headers) + len(request.url)
        self._post(operation, len(body) + head)
        return True

    def grant_credit(self, channel_id: int, size: int) -> None:
        """See `ProcessPort`."""
        if not self.mailbox.add_credit(channel_id, size):
            self._send_now([_CREDIT, channel_id, size])

    # --- what the router posts

    def post_request(self, operation: Operation, size: int) -> None:
        """Hand over a REQUEST."""
        self._post(operation, size)

    def post_answer(self, operation: Operation, size: int) -> bool:
        """Hand over a RESPONSE or SEND_FAILURE. Returns False when the mailbox is twice over its limit:
        a process that asks and never receives.
        """
        if self.mailbox.size >= self._twice_full:
            return False
        self._post(operation, size)
        return True

    def is_run(self, handle: int) -> bool:
        """Whether the run of that handle is the present one."""
        return self.run is not None and self.run.handle == handle

    def answer_await(self, handle: int, operation: Operation, size: int) -> None:
        """Answer what the run of that handle blocks on. Nothing happens when that run is over."""
        run = self.run
        if run is not None and run.handle == handle:
            operation[1] = handle
            run.send(operation, size)

    # --- its runs

    def begin_run(self, run: Run, reopen: Callable[[ProcessId], None]) -> None:
        """It is being started: tell the run of all open channels, which `reopen` posts, before all else."""
        announced: list[Operation] = []
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
        """The worker says that the run started: messages flow."""
        if self.run is not None:
            self.run.flowing = True
            self.state = ProcessState.RUNNING
            self.started_at = time.monotonic()
            self._forward()

    def hold_messages(self) -> None:
        """Hand nothing more to this run: it was told to stop."""
        if self.run is not None:
            self.run.flowing = False

    def send_last(self, operation: Operation) -> None:
        """Hand this run, and no other, one message more, and then nothing."""
        self.hold_messages()
        if self.run is not None:
            operation[1] = self.run.handle
            self.mailbox.send_last(operation)
            self.run.send(operation, 0)

    def end_run(self, *, worker_lost: bool = False) -> str | None:
        """The run is over. Returns the message that is not delivered again, in words."""
        self.run = None
        self.started_at = None
        self._used_before, self.usage = self.used(), NOTHING
        self.state = ProcessState.WAITING
        return self.mailbox.end_run(worker_lost=worker_lost)

    def end(self) -> None:
        """It will not return."""
        self.state = ProcessState.GONE
        self.mailbox.clear()

    def consumed(self, count: int) -> None:
        """The guest took `count` more messages.

        Raises:
            LinkError: not so many were sent.
        """
        self.mailbox.consumed(count)
        self._forward()

    def _post(self, operation: Operation, size: int) -> None:
        if not self.gone:
            self.mailbox.post(operation, size)
            self._forward()

    def _forward(self) -> None:
        run = self.run
        if run is None or not run.flowing:
            return
        for operation, size in self.mailbox.take():
            operation[1] = run.handle
            run.send(operation, size)

    def _send_now(self, operation: Operation) -> None:
        if self.run is not None:
            self.run.send(operation, 0)


def _lists(pairs: Pairs) -> Sequence[list[str]]:
    return [list(pair) for pair in pairs]


_PUSH = int(ToWorker.PUSH)
_CREDIT = int(ToWorker.CREDIT)
