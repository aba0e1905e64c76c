"""What a worker tells the node, carried out: each operation checked, then handed to its part.

The worker says for which run it speaks by a handle; only handles of runs that the node gave to this
very worker are taken. Everything else ends the worker, not the node and not another worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from guesthouse.address import HTTP_SERVER, ProcessId
from guesthouse.capabilities import KERNEL, SPAWN, Capability, of_node
from guesthouse.kernel import kept_capabilities
from guesthouse.kernel.kept_capabilities import as_pair
from guesthouse.kernel.mailbox import Operation
from guesthouse.kernel.process import Process, Run
from guesthouse.kernel.restarts import CAUSES
from guesthouse.kernel.router import Router
from guesthouse.kernel.state import TOO_BIG, State
from guesthouse.link.checks import check, check_call
from guesthouse.link.frames import LinkError
from guesthouse.link.ops import PROTOCOL_VERSION, Call, ToNode, ToWorker
from guesthouse.link.usage import Usage
from guesthouse.message import LazyLoadBlob
from guesthouse.ports import HttpServerPort, LogPort

MAX_CALLS: Final = 4
"""Calls of one run that may wait for the node. A guest blocks on each, so a correct worker makes one."""

NOT_AUTHORISED: Final = "not-authorised"
_BINDS: Final = frozenset((Call.BIND_WS, Call.BIND_HTTP, Call.SERVE_UI))
_STREAMS: Final = frozenset(("print", "stdout", "stderr", "host"))
_LEVELS: Final = frozenset(("error", "warning", "info", "debug"))


class RunEvents(Protocol):
    """Who is told that runs begin and end."""

    def run_started(self, process: Process) -> None:
        """The worker says that it runs."""

    def run_ended(self, process: Process, cause: str, detail: str) -> None:
        """The worker says that it is no more."""


class SpawnerPort(Protocol):
    """What starts children."""

    def spawn(self, parent: Process, arguments: list[Any], reply: Callable[[Any], None]) -> None:
        """Start a child of `parent`, which may; `reply` gets the call's reply."""

    def on_exit_changed(self, process: Process) -> None:
        """A process says that something else happens when it ends."""


class Operations:
    """Carries out what one worker says. `handle` is the link's `on_operation`.

    Args:
        runs: the worker's runs by handle.
        on_ready: called when the worker says that it takes processes.
        spawner: carries out the call `spawn`.
    """

    def __init__(
        self,
        runs: dict[int, Process],
        router: Router,
        http: HttpServerPort,
        state: State,
        log: LogPort,
        events: RunEvents,
        on_ready: Callable[[], None],
        spawner: SpawnerPort,
    ) -> None:
        self._runs = runs
        self._router = router
        self._http = http
        self._state = state
        self._log = log
        self._events = events
        self._on_ready = on_ready
        self._spawner = spawner
        self._binding = of_node(router.node, HTTP_SERVER)
        self._spawning = of_node(router.node, KERNEL, SPAWN)
        self._handlers: dict[int, Callable[[Process, Operation], None]] = {
            ToNode.STARTED: self._started,
            ToNode.EXITED: self._exited,
            ToNode.CONSUMED: self._consumed,
            ToNode.PUSH: self._push,
            ToNode.PUSH_MANY: self._push_many,
            ToNode.CLOSE_CHANNEL: self._close_channel,
            ToNode.HTTP_RESPONSE: self._http_response,
            ToNode.SEND: router.send,
            ToNode.RESPOND: router.respond,
            ToNode.CALL: self._call,
            ToNode.ON_EXIT: self._on_exit,
            ToNode.LOG: self._log_line,
        }

    def handle(self, operation: Operation) -> None:
        """Carry out one operation.

        Raises:
            LinkError: no correct worker sends it.
        """
        check(operation)
        handler = self._handlers.get(operation[0])
        if handler is None:
            self._of_worker(operation)
            return
        process = self._runs.get(operation[1])
        if process is None:
            raise LinkError(f"a worker speaks for run {operation[1]}, which it was not given")
        handler(process, operation)

    def _of_worker(self, operation: Operation) -> None:
        if operation[0] == ToNode.PONG:
            return  # that it was heard is all
        if operation[0] == ToNode.USAGE:
            for handle, fields in operation[1].items():
                process = self._runs.get(handle)
                if process is not None:
                    process.usage = Usage(*fields)
            return
        if operation[1] != PROTOCOL_VERSION:
            raise LinkError(
                f"a worker speaks version {operation[1]} of the link, not {PROTOCOL_VERSION}: install guesthouse anew"
            )
        self._on_ready()

    def _started(self, process: Process, _: Operation) -> None:
        self._events.run_started(process)

    def _exited(self, process: Process, operation: Operation) -> None:
        _, handle, cause, detail = operation
        if cause not in CAUSES:
            raise LinkError(f"a worker gives {cause[:40]!a} as the cause of an end")
        del self._runs[handle]
        self._events.run_ended(process, cause, detail)

    def _consumed(self, process: Process, operation: Operation) -> None:
        process.consumed(operation[2])

    def _push(self, process: Process, operation: Operation) -> None:
        self._http.push(process.id, operation[2], operation[3], operation[4])

    def _push_many(self, process: Process, operation: Operation) -> None:
        self._http.push_many(process.id, operation[2], operation[3], operation[4])

    def _close_channel(self, process: Process, operation: Operation) -> None:
        self._http.close_channel(process.id, operation[2], operation[3], operation[4])

    def _http_response(self, process: Process, operation: Operation) -> None:
        _, _, http_id, status, headers, mime, body = operation
        pairs = tuple((name, value) for name, value in headers)
        self._http.http_response(process.id, http_id, status, pairs, mime, body)

    def _on_exit(self, process: Process, operation: Operation) -> None:
        process.on_exit = operation[2]
        self._spawner.on_exit_changed(process)

    def _log_line(self, process: Process, operation: Operation) -> None:
        _, _, stream, level, text = operation
        if stream not in _STREAMS or level not in _LEVELS:
            raise LinkError("a worker logs to a stream or at a level that does not exist")
        self._log.write(str(process.id), level, text, stream=stream)

    def _call(self, process: Process, operation: Operation) -> None:
        _, handle, call_id, name, arguments = operation
        check_call(name, arguments)
        run = process.run
        if run is None or run.handle != handle or run.calls >= MAX_CALLS:
            raise LinkError("a worker makes a call while others of the same run wait")
        run.calls += 1

        def reply(value: Any) -> None:
            run.calls -= 1
            _reply(run, call_id, value)

        lacking = self._lacking(process, name, arguments)
        if lacking is not None:
            reply([TOO_BIG if name == Call.SET_STATE else NOT_AUTHORISED, *as_pair(lacking)])
        elif name == Call.SPAWN:
            self._spawner.spawn(process, arguments, reply)
        elif name == Call.AWAIT_ROOM:
            channel_id, size = arguments
            self._http.when_room(process.id, channel_id, size, reply)
        elif name in _STATE_CALLS:
            _STATE_CALLS[name](self._state, process, arguments, reply)
        else:
            reply(_BINDING_CALLS[name](self._http, process.id, arguments))

    def _lacking(self, process: Process, name: str, arguments: list[Any]) -> Capability | None:
        """The capability that a process needs for a call and does not hold."""
        rights = self._router.rights
        if name in _BINDS:
            return rights.lacks(process, self._binding, f"its call of {name}")
        if name == Call.SPAWN:
            return rights.lacks(process, self._spawning, "spawning a process")
        return rights.lacks_to_keep(process, len(arguments[0])) if name == Call.SET_STATE else None


def _reply(run: Run, call_id: int, value: Any) -> None:
    size = len(value) if type(value) is bytes else 0
    run.send([int(ToWorker.REPLY), run.handle, call_id, value], size)


def _bind_ws(http: HttpServerPort, owner: ProcessId, arguments: list[Any]) -> str | None:
    path, authenticated, secure, extension, subprotocols = arguments
    return http.bind_ws_path(
        owner,
        path,
        authenticated=authenticated,
        secure=secure,
        extension=extension,
        subprotocols=subprotocols,
    )


def _bind_http(http: HttpServerPort, owner: ProcessId, arguments: list[Any]) -> str | None:
    path, authenticated, local_only, secure, response_seconds, mime, content = arguments
    return http.bind_http_path(
        owner,
        path,
        authenticated=authenticated,
        local_only=local_only,
        secure=secure,
        static=None if content is None else LazyLoadBlob(mime, content),
        response_seconds=response_seconds,
    )


def _serve_ui(http: HttpServerPort, owner: ProcessId, arguments: list[Any]) -> str | None:
    path, authenticated, local_only, secure = arguments
    return http.bind_ui(owner, path, authenticated=authenticated, local_only=local_only, secure=secure)


def _set_policy(http: HttpServerPort, owner: ProcessId, arguments: list[Any]) -> str | None:
    channel_id, policy = arguments
    return http.set_channel_policy(owner, channel_id, policy)


def _unbind_ws(http: HttpServerPort, owner: ProcessId, arguments: list[Any]) -> None:
    http.unbind_ws_path(owner, arguments[0])


def _unbind_http(http: HttpServerPort, owner: ProcessId, arguments: list[Any]) -> None:
    http.unbind_http_path(owner, arguments[0])


_BINDING_CALLS: Final[dict[str, Callable[[HttpServerPort, ProcessId, list[Any]], str | None]]] = {
    Call.BIND_WS: _bind_ws,
    Call.UNBIND_WS: _unbind_ws,
    Call.BIND_HTTP: _bind_http,
    Call.UNBIND_HTTP: _unbind_http,
    Call.SERVE_UI: _serve_ui,
    Call.SET_CHANNEL_POLICY: _set_policy,
}

_Answer = Callable[[Any], None]


def _set_state(state: State, owner: Process, arguments: list[Any], answer: _Answer) -> None:
    """Store as much as its capability says."""
    state.set(owner.id, arguments[0], answer, owner.holdings.state_bytes())


_STATE_CALLS: Final[dict[str, Callable[[State, Process, list[Any], _Answer], None]]] = {
    Call.GET_STATE: lambda state, owner, _, answer: state.get(owner.id, answer),
    Call.SET_STATE: _set_state,
    Call.SAVE_CAPABILITIES: kept_capabilities.save,
    Call.DROP_CAPABILITIES: kept_capabilities.drop,
    Call.OUR_CAPABILITIES: kept_capabilities.ours,
    Call.CLEAR_STATE: lambda state, owner, _, answer: state.clear(owner.id, answer),
}
