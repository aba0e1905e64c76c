"""What the HTTP server does for processes: pushes, closes, bindings, responses.

Nothing here blocks. Workers are not trusted: their checks are repeated, and what fails is dropped and logged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.messages import HttpResponse, LazyLoadBlob, Pairs, WsMessageType
from guesthouse.http_server.api.json_api import Sent, carry_out, json_answer
from guesthouse.http_server.channel.channel import Channel, Notify
from guesthouse.http_server.channel.extension import FRAMING, Dialect, ExtensionPush
from guesthouse.http_server.channel.framing import GATHER_FROM, SharedFrames, long_header
from guesthouse.http_server.channel.outbox import Policy
from guesthouse.http_server.close_codes import (
    MAX_CONTROL,
    PROCESS_GONE,
    UNBOUND,
    CloseReason,
    is_sendable_code,
)
from guesthouse.http_server.context import Context
from guesthouse.http_server.routing.paths import BadPath, PathPattern
from guesthouse.http_server.sessions.session import Phase
from guesthouse.http_server.state.channels import ChannelRecord
from guesthouse.http_server.state.pending_responses import PendingResponses
from guesthouse.http_server.state.refusal_counts import DROPPED, RefusedBy
from guesthouse.http_server.state.traffic import Traffic
from guesthouse.link.calls import (
    AwaitRoom,
    BindHttpPath,
    BindWsPath,
    CallHandlers,
    ServeUi,
    SetChannelPolicy,
    UnbindHttpPath,
    UnbindWsPath,
)

_TEXT: Final = int(WsMessageType.TEXT)
_BINARY: Final = int(WsMessageType.BINARY)
_PING: Final = int(WsMessageType.PING)
_CLOSE: Final = int(WsMessageType.CLOSE)


class PushProblem(StrEnum):
    """Why a push failed, by its name in the JSON API."""

    NOT_FOUND = "WsChannelNotFound"
    CONTROL_TOO_LONG = "WsPingPongTooLong"
    NOT_UTF8 = "WsTextNotUtf8"
    TOO_BIG = "WsMessageTooBig"
    BAD_CLOSE = "WsBadClose"
    FULL = "WsChannelFull"
    BAD_TYPE = "MalformedRequest"


_COUNTED_AT_ONCE: Final = 500

_WAITED: Final = {"channel-full": PushProblem.FULL, "channel-not-found": PushProblem.NOT_FOUND}


class HttpServerActions:
    """A `ports.HttpServerPort`, and what carries out the host calls of `http-server`."""

    def __init__(self, context: Context, exchanges: PendingResponses) -> None:
        self._context = context
        self._exchanges = exchanges
        self._channels = context.channels
        self._max_payload = context.settings.connections.message_bytes

    # Channels.

    def push(self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes) -> None:
        """See `HttpServerPort.push`."""
        connection = self._channels.get(channel_id)
        if connection is None or (connection.owner is not owner and connection.owner != owner):
            self._dropped(owner, channel_id, PushProblem.NOT_FOUND)
            return
        size = len(payload)
        plain = message_type == _BINARY or (message_type == _TEXT and payload.isascii())
        if not plain or size > self._max_payload:
            problem = payload_problem(message_type, payload, self._max_payload)
            if problem is not None:
                self._dropped(owner, channel_id, problem)
                return
            if message_type == _CLOSE:
                connection.end(close_of(payload), Notify.GONE)
                return
        if size > GATHER_FROM:
            pushed = _push_large(connection, message_type, payload)
        else:
            pushed = connection.outgoing.push(size, connection.framed(message_type, payload))
        if not pushed:
            self._dropped(owner, channel_id, PushProblem.FULL)

    def push_many(
        self, owner: ProcessId, channel_ids: Sequence[int], message_type: int, payload: bytes
    ) -> None:
        """See `HttpServerPort.push_many`."""
        problem = payload_problem(message_type, payload, self._max_payload)
        shared = SharedFrames(message_type, payload)
        find, frame_of, size = self._channels.get, shared.of, len(payload)
        for channel_id in channel_ids:
            connection = find(channel_id)
            if connection is None or (connection.owner is not owner and connection.owner != owner):
                self._dropped(owner, channel_id, PushProblem.NOT_FOUND)
            elif problem is not None:
                self._dropped(owner, channel_id, problem)
            elif message_type == _CLOSE:
                connection.end(close_of(payload), Notify.GONE)
            elif not connection.outgoing.push(size, frame_of(connection)):
                self._dropped(owner, channel_id, PushProblem.FULL)

    def push_unpaid(
        self, owner: ProcessId, channel_ids: Sequence[int], message_type: int, payload: bytes
    ) -> list[tuple[int, PushProblem]]:
        """Push for a message to `http-server:distro:sys`, which no worker has checked. Returns the channels that were
        refused, and why.
        """
        problem = payload_problem(message_type, payload, self._max_payload)
        shared = SharedFrames(message_type, payload)
        refused: list[tuple[int, PushProblem]] = []
        for channel_id in channel_ids:
            connection = self._channels.owned(owner, channel_id)
            if connection is None:
                refused.append((channel_id, PushProblem.NOT_FOUND))
            elif problem is not None:
                refused.append((channel_id, problem))
            elif message_type == _CLOSE:
                connection.end(close_of(payload), Notify.GONE)
            elif not connection.outgoing.push_unpaid(len(payload), shared.of(connection)):
                refused.append((channel_id, PushProblem.FULL))
        return refused

    def may_wait(self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes) -> bool:
        """Whether a push to a channel must wait for room, and may by its policy."""
        connection = self._channels.owned(owner, channel_id)
        if connection is None or message_type == _CLOSE:
            return False
        problem = payload_problem(message_type, payload, self._max_payload)
        return problem is None and connection.outgoing.may_wait(len(payload))

    def push_when_room(
        self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes, request_id: int
    ) -> None:
        """Push once there is room, after `may_wait`, and answer the request. Pushes nothing if that timed out."""
        connection, router = self._channels.owned(owner, channel_id), self._context.router
        if connection is None:
            return

        def go_on(refusal: str | None) -> None:
            body = json_answer(_WAITED.get(refusal) if refusal else None)
            if router.answer(request_id, owner, body, None) and refusal is None:
                connection.outgoing.push_now(connection.framed(message_type, payload))

        connection.outgoing.push_when_room(len(payload), go_on)

    def channels_on(self, owner: ProcessId, path: str) -> list[int]:
        """Open channels of a process with that path, as requested or as bound."""
        return [each.channel_id for each in self._channels.of(owner) if path in (each.path, each.bound_path)]

    def extension_problem(self, owner: ProcessId, channel_id: int, size: int) -> PushProblem | None:
        """Why a blob of that size cannot be pushed to an extension, or None."""
        connection = self._channels.owned(owner, channel_id)
        if connection is None:
            return PushProblem.NOT_FOUND
        if size > self._max_payload:
            return PushProblem.TOO_BIG
        return None if connection.outgoing.has_room(size + FRAMING) else PushProblem.FULL

    def push_to_extension(self, owner: ProcessId, channel_id: int, push: ExtensionPush) -> None:
        """Push to an extension, after `extension_problem` found none. A client of another path gets the same format,
        but its messages are ordinary ones.
        """
        connection = self._channels.owned(owner, channel_id)
        if connection is None:
            return
        if connection.extension is not None:
            connection.extension.push(push)
        else:
            payload = push.pack(Dialect())
            connection.outgoing.push_unpaid(len(payload), connection.framed(_BINARY, payload))

    def set_channel_policy(self, owner: ProcessId, call: SetChannelPolicy) -> str | None:
        """Say what a full outbox means; returns None, `channel-not-found` or `no-such-policy`."""
        connection = self._channels.owned(owner, call.channel_id)
        if connection is None:
            return "channel-not-found"
        if call.policy not in tuple(Policy):
            return "no-such-policy"
        connection.outgoing.set_policy(Policy(call.policy))
        return None

    def watch_presence(self, owner: ProcessId, *, wanted: bool) -> list[int]:
        """Tell the present run of a process, or no longer, when clients of its resumable channels are away and back.
        Returns the channels of those that are away now.
        """
        watching = self._context.watching
        if wanted:
            watching.add(owner)
        else:
            watching.discard(owner)
        return [channel.channel_id for channel in self._channels.of(owner) if channel.record().away]

    def when_room(self, owner: ProcessId, call: AwaitRoom, reply: Callable[[str | None], None]) -> None:
        """Reply None once a payload of that size can be pushed, or a `push-error`."""
        connection = self._channels.owned(owner, call.channel_id)
        if connection is None:
            reply("channel-not-found")
        else:
            connection.outgoing.when_room(call.size, reply)

    def close_channel(self, owner: ProcessId, channel_id: int, code: int, reason: str) -> None:
        """See `HttpServerPort.close_channel`."""
        payload = code.to_bytes(2, "big") + reason.encode(errors="replace") if 0 <= code < 65536 else b"\0"
        self.push(owner, channel_id, _CLOSE, payload)

    def open_channels(self, owner: ProcessId | None = None) -> Sequence[ChannelRecord]:
        """See `HttpServerPort.open_channels`."""
        chosen = self._channels if owner is None else self._channels.of(owner)
        return [connection.record() for connection in chosen]

    def open_channel(self, channel_id: int) -> ChannelRecord | None:
        """One of them, whosever it is."""
        connection = self._channels.get(channel_id)
        return None if connection is None else connection.record()

    def close_from_outside(self, channel_id: int, close: CloseReason) -> None:
        """Close a channel, of which its process is told."""
        connection = self._channels.get(channel_id)
        if connection is not None:
            connection.end(close)

    def ended_sessions(self) -> Mapping[ProcessId, int]:
        """Channels that were closed while their client was away and may still fetch the end, by process."""
        sessions = self._context.sessions
        return Counter(channel.owner for channel in sessions if channel.session.phase is Phase.OVER)

    def channels_by_token(self) -> Iterator[tuple[str, ChannelRecord]]:
        """The open channels that were opened by a token, with its family."""
        for connection in tuple(self._channels):
            if connection.token_family:
                yield connection.token_family, connection.record()

    async def traffic(self) -> dict[ProcessId, Traffic]:
        """What the channels of each process carry and have carried, looked at a part in each iteration of the loop."""
        traffic = self._context.closed_channels.traffic()
        channels = tuple(self._channels)
        for start in range(0, len(channels), _COUNTED_AT_ONCE):
            for channel in channels[start : start + _COUNTED_AT_ONCE]:
                traffic.setdefault(channel.owner, Traffic()).add_open(channel.record())
            await asyncio.sleep(0)
        return traffic

    @property
    def connections(self) -> int:
        """Open connections, of HTTP and WebSocket."""
        return self._context.connection_limits.open

    @property
    def away_bytes(self) -> int:
        """What is kept for the clients of resumable channels that have no socket."""
        return self._context.sessions.away_bytes

    @property
    def awaited_responses(self) -> int:
        """HTTP requests that processes have not answered yet."""
        return len(self._exchanges)

    def refusals(self) -> dict[tuple[str, str, str], int]:
        """How often clients were refused since the start, by what refused, code and reason."""
        dropped = self._context.connection_limits.dropped
        return {**self._context.refusals.counts, (RefusedBy.HTTP, "", DROPPED): dropped}

    @property
    def sessions_given_up(self) -> Mapping[str, int]:
        """Resumable channels that were closed while their clients were away, by the limit that was reached."""
        return self._context.sessions.given_up

    def reopen(self, owner: ProcessId) -> None:
        """See `HttpServerPort.reopen`."""
        process = self._context.router.find(owner)
        self._context.watching.discard(owner)
        if process is not None:
            for connection in self._channels.of(owner):
                connection.reopen(process)
            self._changed(owner)

    def _changed(self, owner: ProcessId) -> None:
        """Tell other nodes of a process and what it binds."""
        relays = self._context.relays
        if relays is not None:
            relays.process_changed(owner)

    def run_ended(self, owner: ProcessId, kept: Container[int]) -> None:
        """See `HttpServerPort.run_ended`."""
        self._exchanges.fail(owner, kept)

    def process_gone(self, owner: ProcessId, reason: str) -> None:
        """See `HttpServerPort.process_gone`."""
        self._context.bindings.drop(owner)
        self._context.watching.discard(owner)
        self._exchanges.fail(owner)
        close = PROCESS_GONE.because(reason) if reason else PROCESS_GONE
        for connection in self._channels.of(owner):
            connection.end(close, Notify.NOTHING)
        self._context.closed_channels.forget(owner)
        if self._context.relays is not None:
            self._context.relays.process_gone(owner)

    def _dropped(self, owner: ProcessId, channel_id: int, problem: PushProblem) -> None:
        if problem is PushProblem.NOT_FOUND and self._channels.was_closed(channel_id):
            return  # the client left while the push was on its way
        context = self._context
        context.client_faults.log(str(owner), f"a push was dropped: {problem}", context.monotonic())

    # HTTP.

    def http_response(
        self, owner: ProcessId, http_id: int, status: int, headers: Pairs, mime: str | None, body: bytes
    ) -> None:
        """See `HttpServerPort.http_response`."""
        if not self._exchanges.answer(owner, http_id, HttpResponse(status, headers, body, mime)):
            context = self._context
            context.client_faults.log(str(owner), "answered no open HTTP request", context.monotonic())

    def hand_on_http(self, owner: ProcessId, http_id: int) -> int:
        """See `HttpServerPort.hand_on_http`."""
        return self._exchanges.hand_on(owner, http_id, self._context.router.expect)

    # Bindings.

    def bind_ws_path(self, owner: ProcessId, call: BindWsPath) -> str | None:
        """Accept WebSockets; returns None or the name of a `bind-error` case."""
        refusal = self._context.bindings.bind_ws(owner, call)
        self._changed(owner)
        return refusal

    def unbind_ws_path(self, owner: ProcessId, call: UnbindWsPath) -> None:
        """Unbind; open channels of the path get 1001."""
        try:
            bound = PathPattern.parse(call.path).text
        except BadPath:
            return
        self._context.bindings.unbind_ws(owner, call.path)
        self._changed(owner)
        for connection in self._of_path(owner, bound):
            connection.end(UNBOUND)

    def bind_http_path(self, owner: ProcessId, call: BindHttpPath) -> str | None:
        """Take HTTP requests, or serve content; returns None or the name of a `bind-error` case."""
        refusal = self._context.bindings.bind_http(owner, call)
        self._changed(owner)
        return refusal

    def bind_ui(self, owner: ProcessId, call: ServeUi) -> str | None:
        """Serve the files of the package's `ui` folder; returns None or the name of a `bind-error` case."""
        if owner not in self._context.ui_folders:
            return "no-ui"
        refusal = self._context.bindings.bind_ui(owner, call)
        self._changed(owner)
        return refusal

    def unbind_http_path(self, owner: ProcessId, call: UnbindHttpPath) -> None:
        """Unbind."""
        self._context.bindings.unbind_http(owner, call.path)
        self._changed(owner)

    def register(self, calls: CallHandlers) -> None:
        """Carry out these host calls."""
        calls.at_once(BindWsPath, self.bind_ws_path)
        calls.at_once(UnbindWsPath, self.unbind_ws_path)
        calls.at_once(BindHttpPath, self.bind_http_path)
        calls.at_once(UnbindHttpPath, self.unbind_http_path)
        calls.at_once(ServeUi, self.bind_ui)
        calls.at_once(SetChannelPolicy, self.set_channel_policy)
        calls.later(AwaitRoom, lambda process, call, reply: self.when_room(process.id, call, reply))

    def _of_path(self, owner: ProcessId, bound: str) -> list[Channel]:
        return [connection for connection in self._channels.of(owner) if connection.bound_path == bound]

    # The JSON form.

    def request(
        self, source: Address, body: bytes, blob: LazyLoadBlob | None, leave_waiting: Callable[[], int]
    ) -> bytes | None:
        """See `HttpServerPort.request`."""
        return carry_out(self, self._context.router.node, Sent(source, body, blob, leave_waiting))


def _push_large(connection: Channel, message_type: int, payload: bytes) -> bool:
    """Push a large payload, beside its header if the frame is no other than that."""
    outgoing, size = connection.outgoing, len(payload)
    if connection.cipher is None and not connection.window_bits and outgoing.gathers:
        return outgoing.push_beside(size, long_header(message_type, size), payload)
    return outgoing.push(size, connection.framed(message_type, payload))


def payload_problem(message_type: int, payload: bytes, max_size: int) -> PushProblem | None:
    """Check a message for clients; returns None if it is valid."""
    if message_type == _TEXT and not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            return PushProblem.NOT_UTF8
    elif message_type >= _PING:
        return _control_problem(message_type, payload)
    elif message_type < 0:
        return PushProblem.BAD_TYPE
    return PushProblem.TOO_BIG if len(payload) > max_size else None


def _control_problem(message_type: int, payload: bytes) -> PushProblem | None:
    if message_type > _CLOSE:
        return PushProblem.BAD_TYPE
    if len(payload) > MAX_CONTROL:
        return PushProblem.CONTROL_TOO_LONG
    if message_type != _CLOSE or not payload:
        return None
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return PushProblem.BAD_CLOSE
    valid = len(payload) >= 2 and is_sendable_code(int.from_bytes(payload[:2], "big"))
    return None if valid else PushProblem.BAD_CLOSE


def close_of(payload: bytes) -> CloseReason | None:
    """Parse a checked close payload; None when it is empty (RFC 6455, section 5.5.1)."""
    return CloseReason(int.from_bytes(payload[:2], "big"), payload[2:].decode()) if payload else None
