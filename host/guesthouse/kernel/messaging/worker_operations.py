"""Dispatches the messages of a worker.

Each message names its run by a handle, which must be of a run that the node gave to this worker. Anything else is a
protocol violation that ends this worker only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, get_args

from guesthouse.core.capabilities import Capability, of_node
from guesthouse.core.exit_cause import CAUSES
from guesthouse.core.ports import HttpServerPort, LogPort
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.process.process import Process, Run
from guesthouse.kernel.storage.capability_store import as_pair
from guesthouse.link import to_node, to_worker
from guesthouse.link.calls import CallDenied, CallHandlers, HostCall, Outcome, Stored
from guesthouse.link.frames import LinkError
from guesthouse.link.pieces import Assembly
from guesthouse.link.schema import PROTOCOL_VERSION, Message

MAX_CALLS: Final = 4
"""Calls of one run that may wait for the node. A guest blocks on each, so a correct worker makes one."""

NOT_AUTHORISED: Final = "not-authorised"
_OF_TRACES: Final = (*get_args(to_node.Traced), to_node.TraceReport)


class RunEvents(Protocol):
    """Who is told that runs begin and end."""

    def run_started(self, process: Process) -> None:
        """The worker says that it runs."""

    def run_ended(self, process: Process, cause: str, detail: str) -> None:
        """The worker says that it is no more."""


class WorkerOperations:
    """Carries out what one worker says. `handle` is the link's `on_message`.

    Args:
        runs: the worker's runs by handle.
        on_ready: called when the worker says that it takes processes.
        on_pong: called when it says that it is alive; False when nobody asked.
        calls: carries out the calls that the node must answer.
        on_exit_changed: called when a process says that something else happens when it ends.
        traced: the handlers of messages of traces (`kernel/tracing`).
    """

    def __init__(
        self,
        runs: dict[int, Process],
        router: Router,
        http: HttpServerPort,
        calls: CallHandlers,
        log: LogPort,
        events: RunEvents,
        on_ready: Callable[[], None],
        on_pong: Callable[[], bool],
        on_exit_changed: Callable[[Process], None],
        traced: Mapping[type[Message], Callable[[Process, Any], None]] | None = None,
    ) -> None:
        self._runs = runs
        self._router = router
        self._http = http
        self._calls = calls
        self._log = log
        self._events = events
        self._on_ready = on_ready
        self._on_pong = on_pong
        self._on_exit_changed = on_exit_changed
        self._handlers: dict[type[Message], Callable[[Process, Any], None]] = {
            to_node.Started: self._started,
            to_node.Exited: self._exited,
            to_node.Consumed: self._consumed,
            to_node.Push: self._push,
            to_node.PushMany: self._push_many,
            to_node.CloseChannel: self._close_channel,
            to_node.HttpResponse: self._http_response,
            to_node.Send: router.send,
            to_node.Respond: router.respond,
            to_node.Call: self._call,
            to_node.SetOnExit: self._on_exit,
            to_node.LogLine: self._log_line,
            to_node.Piece: self._piece,
            to_node.Whole: self._whole,
            **(dict.fromkeys(_OF_TRACES, _refuse) if traced is None else traced),
        }
        self._assembly: Assembly[to_node.Piece] = Assembly()

    def handle(self, message: to_node.ToNode) -> None:
        """Carry out one message.

        Raises:
            LinkError: no correct worker sends it.
        """
        # By type: to ask msgspec's structs whether they are instances of others takes longer than all else here.
        carry_out = self._handlers.get(type(message))
        if carry_out is None:
            self._of_worker(message)  # type: ignore[arg-type] # all others have a handler
            return
        handle: int = message.handle  # type: ignore[union-attr]
        process = self._runs.get(handle)
        if process is None:
            raise LinkError(f"a worker speaks for run {handle}, which it was not given")
        carry_out(process, message)

    def unsendable(self, message: Message, error: Exception) -> None:
        """A message to the worker could not be written. What comes from outside is looked at where it comes in, so
        this is a fault of the node's; it costs this message and none beside it.
        """
        process = self._runs.get(getattr(message, "handle", 0))
        source = "node" if process is None else str(process.id)
        kind = type(message).__name__
        self._log.write(source, "error", f"a {kind} cannot be written for its worker and is dropped: {error}")
        if process is not None and isinstance(message, to_worker.ToProcess):
            process.withdraw(message)
            if isinstance(message, to_worker.Request):
                self._router.undelivered(message.request_id)
            elif isinstance(message, to_worker.Http):
                self._http.http_response(process.id, message.http_id, _FAILED_STATUS, (), None, b"")

    def _of_worker(
        self, message: to_node.Ready | to_node.Pong | to_node.UsageUpdate | to_node.AtRest
    ) -> None:
        if isinstance(message, to_node.Pong):
            if not self._on_pong():
                raise LinkError("a worker answers what nobody asked")
        elif isinstance(message, to_node.UsageUpdate):
            for run in message.runs:
                process = self._runs.get(run.handle)
                if process is not None:
                    process.usage = run.used
        elif isinstance(message, to_node.AtRest):  # a node for tests takes them itself
            raise LinkError("a worker answers what nobody asked")
        elif message.version != PROTOCOL_VERSION:
            raise LinkError(
                f"a worker speaks version {message.version} of the link, not {PROTOCOL_VERSION}: "
                "install guesthouse anew"
            )
        else:
            self._on_ready()

    def _started(self, process: Process, _: to_node.Started) -> None:
        self._events.run_started(process)

    def _exited(self, process: Process, message: to_node.Exited) -> None:
        if message.cause not in CAUSES:
            raise LinkError(f"a worker gives {message.cause[:40]!a} as the cause of an end")
        del self._runs[message.handle]
        self._assembly.drop(message.handle)
        self._events.run_ended(process, message.cause, message.detail)

    def _piece(self, _: Process, piece: to_node.Piece) -> None:
        self._assembly.add(piece)

    def _whole(self, process: Process, whole: to_node.Whole) -> None:
        message = self._assembly.complete(whole.handle, whole.message)
        self._handlers[type(message)](process, message)

    def _consumed(self, process: Process, message: to_node.Consumed) -> None:
        process.consumed(message.count, in_hand=message.in_hand)

    def _push(self, process: Process, push: to_node.Push) -> None:
        self._http.push(process.id, push.channel_id, push.message_type, push.payload)

    def _push_many(self, process: Process, push: to_node.PushMany) -> None:
        self._http.push_many(process.id, push.channel_ids, push.message_type, push.payload)

    def _close_channel(self, process: Process, message: to_node.CloseChannel) -> None:
        self._http.close_channel(process.id, message.channel_id, message.code, message.reason)

    def _http_response(self, process: Process, response: to_node.HttpResponse) -> None:
        self._http.http_response(
            process.id, response.http_id, response.status, response.headers, response.mime, response.body
        )

    def _on_exit(self, process: Process, message: to_node.SetOnExit) -> None:
        process.on_exit = message.on_exit
        self._on_exit_changed(process)

    def _log_line(self, process: Process, line: to_node.LogLine) -> None:
        log_line(self._log, process, line)

    def _call(self, process: Process, message: to_node.Call) -> None:
        run, call = process.run, message.call
        if run is None or run.handle != message.handle or run.calls >= MAX_CALLS:
            raise LinkError("a worker makes a call while others of the same run wait")
        run.calls += 1

        def reply(outcome: Outcome) -> None:
            run.calls -= 1
            _reply(run, message.call_id, outcome)

        missing = self._missing(process, call)
        if missing is None:
            self._calls.carry_out(process, call, reply)
        else:
            reply(CallDenied(NOT_AUTHORISED, as_pair(missing)))

    def _missing(self, process: Process, call: HostCall) -> Capability | None:
        """The capability that a process needs for a call and does not hold."""
        kind = type(call)
        if kind.needs is None:
            return None
        capability = of_node(self._router.node, *kind.needs)
        what = kind.purpose or f"its call of {kind.__struct_config__.tag}"
        return self._router.rights.missing(process, capability, what)


_FAILED_STATUS: Final = 500


def log_line(log: LogPort, process: Process, line: to_node.LogLine) -> None:
    """Log what a worker says of a process."""
    log.write(str(process.id), line.level, line.text, stream=line.stream, channel_id=line.channel_id)


def _refuse(_: Process, message: Message) -> None:
    raise LinkError(f"a worker sends a {type(message).__name__}, and this node traces nothing")


def _reply(run: Run, call_id: int, outcome: Outcome) -> None:
    size = len(outcome.state) if isinstance(outcome, Stored) else 0
    run.send(to_worker.Reply(run.handle, call_id, outcome), size)
