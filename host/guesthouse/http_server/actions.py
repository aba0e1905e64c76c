"""What the kernel asks of the HTTP server for a process: pushes, closings, bindings, answers.

Nothing here blocks or waits. Workers are not trusted: what one should have checked is checked again,
and what fails is dropped and logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from guesthouse.address import Address, ProcessId
from guesthouse.http_server.channels import ChannelRecord
from guesthouse.http_server.closes import MAX_CONTROL, PROCESS_GONE, UNBOUND, Close, is_sendable_code
from guesthouse.http_server.connection import Told, WebSocketConnection
from guesthouse.http_server.context import Context
from guesthouse.http_server.exchanges import Exchanges
from guesthouse.http_server.framing import SharedFrames, encode
from guesthouse.http_server.json_form import carry_out
from guesthouse.http_server.paths import BadPath, PathPattern
from guesthouse.message import HttpResponse, LazyLoadBlob, Pairs, WsMessageType

NOT_SUPPORTED: Final = "not-supported"
"""The answer to a binding that this node does not offer yet: `secure` and `extension`."""

_TEXT: Final = int(WsMessageType.TEXT)
_PING: Final = int(WsMessageType.PING)
_CLOSE: Final = int(WsMessageType.CLOSE)


class PushProblem(StrEnum):
    """Why a push reaches nobody, named as the JSON form names it."""

    NOT_FOUND = "WsChannelNotFound"
    CONTROL_TOO_LONG = "WsPingPongTooLong"
    NOT_UTF8 = "WsTextNotUtf8"
    TOO_BIG = "WsMessageTooBig"
    BAD_CLOSE = "WsBadClose"
    FULL = "WsChannelFull"
    BAD_TYPE = "MalformedRequest"


class Actions:
    """A `ports.HttpServerPort`."""

    def __init__(self, context: Context, exchanges: Exchanges) -> None:
        self._context = context
        self._exchanges = exchanges
        self._channels = context.channels
        self._max_payload = context.settings.connections.message_bytes

    # Channels.

    def push(self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes) -> None:
        """See `HttpServerPort.push`."""
        connection = self._channels.get(channel_id)
        if connection is None or connection.owner != owner:
            self._dropped(owner, channel_id, PushProblem.NOT_FOUND)
            return
        problem = payload_problem(message_type, payload, self._max_payload)
        if problem is not None:
            self._dropped(owner, channel_id, problem)
        elif message_type == _CLOSE:
            connection.end(close_of(payload), Told.GONE)
        elif not connection.push(len(payload), encode(message_type, payload, connection.window_bits)):
            self._dropped(owner, channel_id, PushProblem.FULL)

    def push_many(
        self, owner: ProcessId, channel_ids: Sequence[int], message_type: int, payload: bytes
    ) -> None:
        """See `HttpServerPort.push_many`."""
        problem = payload_problem(message_type, payload, self._max_payload)
        shared = SharedFrames(message_type, payload)
        for channel_id in channel_ids:
            connection = self._channels.owned(owner, channel_id)
            if connection is None:
                self._dropped(owner, channel_id, PushProblem.NOT_FOUND)
            elif problem is not None:
                self._dropped(owner, channel_id, problem)
            elif message_type == _CLOSE:
                connection.end(close_of(payload), Told.GONE)
            elif not connection.push(len(payload), shared.encode(connection.window_bits)):
                self._dropped(owner, channel_id, PushProblem.FULL)

    def push_unpaid(
        self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes
    ) -> PushProblem | None:
        """A push by a message to `http-server:distro:sys`, which no worker has checked."""
        connection = self._channels.owned(owner, channel_id)
        if connection is None:
            return PushProblem.NOT_FOUND
        problem = payload_problem(message_type, payload, self._max_payload)
        if problem is not None:
            return problem
        if message_type == _CLOSE:
            connection.end(close_of(payload), Told.GONE)
            return None
        sent = connection.push_unpaid(len(payload), encode(message_type, payload, connection.window_bits))
        return None if sent else PushProblem.FULL

    def close_channel(self, owner: ProcessId, channel_id: int, code: int, reason: str) -> None:
        """See `HttpServerPort.close_channel`."""
        payload = code.to_bytes(2, "big") + reason.encode(errors="replace") if 0 <= code < 65536 else b"\0"
        self.push(owner, channel_id, _CLOSE, payload)

    def open_channels(self, owner: ProcessId | None = None) -> Sequence[ChannelRecord]:
        """See `HttpServerPort.open_channels`."""
        chosen = self._channels if owner is None else self._channels.of(owner)
        return [connection.record() for connection in chosen]

    def reopen(self, owner: ProcessId) -> None:
        """See `HttpServerPort.reopen`."""
        process = self._context.router.find(owner)
        if process is not None:
            for connection in self._channels.of(owner):
                connection.reopen(process)

    def process_gone(self, owner: ProcessId, reason: str) -> None:
        """See `HttpServerPort.process_gone`."""
        self._context.bindings.drop(owner)
        self._exchanges.fail(owner)
        close = PROCESS_GONE.because(reason) if reason else PROCESS_GONE
        for connection in self._channels.of(owner):
            connection.end(close, Told.NOTHING)

    def _dropped(self, owner: ProcessId, channel_id: int, problem: PushProblem) -> None:
        if problem is PushProblem.NOT_FOUND and self._channels.was_closed(channel_id):
            return  # the client left while the push was on its way
        context = self._context
        context.complaints.complain(str(owner), f"a push was dropped: {problem}", context.monotonic())

    # HTTP.

    def http_response(
        self, owner: ProcessId, http_id: int, status: int, headers: Pairs, mime: str | None, body: bytes
    ) -> None:
        """See `HttpServerPort.http_response`."""
        if not self._exchanges.answer(owner, http_id, HttpResponse(status, headers, body, mime)):
            context = self._context
            context.complaints.complain(str(owner), "answered no open HTTP request", context.monotonic())

    # Bindings.

    def bind_ws_path(
        self, owner: ProcessId, path: str, *, authenticated: bool, secure: bool, extension: bool
    ) -> str | None:
        """See `HttpServerPort.bind_ws_path`."""
        if secure or extension:
            return NOT_SUPPORTED
        return self._context.bindings.bind_ws(owner, path, authenticated=authenticated)

    def unbind_ws_path(self, owner: ProcessId, path: str) -> None:
        """See `HttpServerPort.unbind_ws_path`."""
        try:
            bound = PathPattern.parse(path).text
        except BadPath:
            return
        self._context.bindings.unbind_ws(owner, path)
        for connection in self._of_path(owner, bound):
            connection.end(UNBOUND)

    def bind_http_path(
        self,
        owner: ProcessId,
        path: str,
        *,
        authenticated: bool,
        local_only: bool,
        secure: bool,
        static: LazyLoadBlob | None,
    ) -> str | None:
        """See `HttpServerPort.bind_http_path`."""
        if secure:
            return NOT_SUPPORTED
        return self._context.bindings.bind_http(
            owner, path, authenticated=authenticated, local_only=local_only, static=static
        )

    def unbind_http_path(self, owner: ProcessId, path: str) -> None:
        """See `HttpServerPort.unbind_http_path`."""
        self._context.bindings.unbind_http(owner, path)

    def _of_path(self, owner: ProcessId, bound: str) -> list[WebSocketConnection]:
        return [connection for connection in self._channels.of(owner) if connection.bound_path == bound]

    # The JSON form.

    def request(self, source: Address, body: bytes, blob: LazyLoadBlob | None) -> bytes:
        """See `HttpServerPort.request`."""
        return carry_out(self, self._context.router.node, source, body, blob)


def payload_problem(message_type: int, payload: bytes, max_size: int) -> PushProblem | None:
    """What is wrong with a message for a client, whoever it goes to."""
    if message_type == _TEXT:
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


def close_of(payload: bytes) -> Close | None:
    """The code and reason in a checked payload; None when it is empty (RFC 6455, section 5.5.1)."""
    return Close(int.from_bytes(payload[:2], "big"), payload[2:].decode()) if payload else None
