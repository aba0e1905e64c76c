"""The fake host's guest side: the calls of the contract, as the node answers them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from guesthouse_sdk._native import types
from guesthouse_sdk._native.http_server import (
    BindError_NoUi,
    ChannelPolicy,
    CloseError,
    HttpBinding,
    PushError,
    WsBinding,
)
from guesthouse_sdk._native.system import Verbosity
from guesthouse_sdk._native.types import Err, WsMessageType
from guesthouse_sdk.address import Address, address_to_wit
from guesthouse_sdk.testing._bindings import Bindings
from guesthouse_sdk.testing._channels import ChannelTable
from guesthouse_sdk.testing._exchanges import FakeExchange, FakeHttpExchange, LogLine
from guesthouse_sdk.testing._json_requests import JsonRequests
from guesthouse_sdk.testing._limits import FakeLimits
from guesthouse_sdk.testing._others import FakeOthers, Outcome
from guesthouse_sdk.testing._tracing import FakeTracing

_U32: Final = 1 << 32


@dataclass(frozen=True)
class _Posted:
    message: types.Message | types.SendFailure
    blob: types.LazyLoadBlob | None
    exchange: FakeHttpExchange | FakeExchange | None


class FakeCalls(FakeOthers):
    """Everything a process can call. Public names are the contract's; what they raise is `Err`."""

    def __init__(self, our: Address, limits: FakeLimits) -> None:
        super().__init__(our, limits)
        self.log: list[LogLine] = []
        self.tracing = FakeTracing()
        self.state: bytes | None = None
        self.table = ChannelTable(limits.message_bytes)
        self.ws_bindings: Bindings[WsBinding] = Bindings(self._has_room_to_bind)
        self.http_bindings: Bindings[HttpBinding] = Bindings(self._has_room_to_bind)
        self.ui_bindings: Bindings[HttpBinding] = Bindings(self._has_room_to_bind)
        self.has_ui = False
        """Whether the package has a `ui` folder."""
        self.static: dict[str, types.LazyLoadBlob] = {}
        self.on_exit: types.OnExit = types.OnExit_Restart()
        self.wait_for_message: Callable[[], None] = _nobody
        self.json_requests = JsonRequests(self.table, self.ws_bindings, self.http_bindings)
        self._mailbox: deque[_Posted] = deque()
        self.new_run()

    def new_run(self) -> None:
        """The process starts: it knows no payload, no request, and is told anew of its channels."""
        self._blob: types.LazyLoadBlob | None = None
        self._last_blob: types.LazyLoadBlob | None = None
        self._to_answer: FakeHttpExchange | FakeExchange | None = None
        self._http_claims: str | None = None
        self.json_requests.watched = False
        for channel in reversed(self.table.all.values()):
            if channel.known:
                opened = types.WebSocketOpen(**{**vars(channel.opened), "resumed": True})
                channel.policy = ChannelPolicy.REFUSE
                event = types.HttpServerRequest_WebSocketOpen(opened)
                self._mailbox.appendleft(_Posted(types.Message_HttpServer(event), None, None))

    def post_event(self, event: types.HttpServerRequest, payload: bytes | None) -> None:
        """Put an event of the HTTP server into the mailbox."""
        blob = None if payload is None else types.LazyLoadBlob(None, payload)
        self.post(types.Message_HttpServer(event), blob)

    def post(
        self,
        message: types.Message | types.SendFailure,
        blob: types.LazyLoadBlob | None,
        exchange: FakeHttpExchange | FakeExchange | None = None,
    ) -> None:
        """Put a message into the mailbox."""
        self._mailbox.append(_Posted(message, blob, exchange))

    def post_request(self, source: Address, body: bytes) -> None:
        """See `FakeOthers`."""
        request = types.Request(False, None, body, None, [])
        self.post(types.Message_Request(types.IncomingRequest(self.raw_address(source), request)), None)

    def answer_http_server(self, body: bytes, blob: types.LazyLoadBlob | None) -> bytes:
        """See `FakeOthers`."""
        return self.json_requests.carry_out(body, blob)

    # messaging

    def receive(self) -> types.Message:
        self._next()
        return self._take()

    def receive_ws_push(self) -> tuple[int, str | None, bytes | None] | None:
        posted = self._next()
        push = _push_of(posted.message)
        if push is None or posted.blob is None:
            return None
        self._take()
        payload = posted.blob.bytes
        return (
            (push.channel_id, payload.decode(), None)
            if push.message_type is WsMessageType.TEXT
            else (push.channel_id, None, payload)
        )

    def _next(self) -> _Posted:
        while not self._mailbox:
            self.wait_for_message()
        return self._mailbox[0]

    def _take(self) -> types.Message:
        posted = self._mailbox.popleft()
        self._take_blob(posted.blob)
        if isinstance(posted.message, types.SendFailure):
            raise Err(posted.message)
        if isinstance(posted.message, types.Message_Request):
            self.receive_capabilities(posted.message.value.request.capabilities)
        self._note_exchange(posted.exchange)
        if isinstance(posted.message, types.Message_HttpServer):
            self._note_event(posted.message.value)
        return posted.message

    def get_blob(self) -> types.LazyLoadBlob | None:
        return self._blob

    def get_blob_text(self) -> str | None:
        try:
            return None if self._blob is None else self._blob.bytes.decode()
        except UnicodeDecodeError:
            return None

    def has_blob(self) -> bool:
        return self._blob is not None

    def last_blob(self) -> types.LazyLoadBlob | None:
        return self._last_blob

    def send_request(
        self,
        target: types.Address,
        request: types.Request,
        context: bytes | None,
        lazy_load_blob: types.LazyLoadBlob | None,
    ) -> None:
        def done(outcome: Outcome) -> None:
            if isinstance(outcome, types.SendError):
                self.post(types.SendFailure(outcome, context), None)
            elif request.expects_response is not None or outcome[0].response.body.startswith(b'{"Err"'):
                self.post(types.Message_Response(outcome[0]), outcome[1])

        self.ask(target, request, context, self._sent_with(request, lazy_load_blob), done)

    def send_response(self, response: types.Response, lazy_load_blob: types.LazyLoadBlob | None) -> None:
        exchange, self._to_answer = self._to_answer, None
        if exchange is None:
            self._write("warning", "a response was dropped: no request wants one")
            return
        if isinstance(exchange, FakeExchange):
            exchange.capabilities = self.handed_on(response.capabilities)
        exchange.answer_response(response, lazy_load_blob or (self._blob if response.inherit else None))

    def send_and_await_response(
        self,
        target: types.Address,
        request: types.Request,
        lazy_load_blob: types.LazyLoadBlob | None,
    ) -> types.Message:
        outcomes: list[Outcome] = []
        self.ask(target, request, None, self._sent_with(request, lazy_load_blob), outcomes.append)
        while not outcomes:  # it waits for a timer, and time passes
            self.timers.fire_next()
        (outcome,) = outcomes
        if isinstance(outcome, types.SendError):
            raise Err(outcome)
        self._take_blob(outcome[1])
        return types.Message_Response(outcome[0])

    # http-server

    def send_ws_push(
        self,
        node: str,
        channel_id: int,
        message_type: WsMessageType,
        blob: types.LazyLoadBlob,
    ) -> None:
        if node != self.our_address.node:
            raise Err(PushError.NODE_UNREACHABLE)
        refused = self.table.push(_u32(channel_id), message_type, blob.bytes)
        if refused is not None:
            raise Err(refused)

    def send_ws_text(self, channel_id: int, text: str) -> None:
        blob = types.LazyLoadBlob(None, text.encode())
        self.send_ws_push(self.our_address.node, channel_id, WsMessageType.TEXT, blob)

    def send_ws_push_many(
        self, channel_ids: list[int], message_type: WsMessageType, blob: types.LazyLoadBlob
    ) -> list[tuple[int, PushError]]:
        outcomes = ((id_, self.table.push(_u32(id_), message_type, blob.bytes)) for id_ in channel_ids)
        return [(channel_id, refused) for channel_id, refused in outcomes if refused is not None]

    def send_ws_text_many(self, channel_ids: list[int], text: str) -> list[tuple[int, PushError]]:
        return self.send_ws_push_many(
            channel_ids, WsMessageType.TEXT, types.LazyLoadBlob(None, text.encode())
        )

    def send_ws_push_to_path(
        self, path: str, message_type: WsMessageType, blob: types.LazyLoadBlob
    ) -> list[tuple[int, PushError]]:
        return self.send_ws_push_many(self.table.on(path), message_type, blob)

    def send_ws_text_to_path(self, path: str, text: str) -> list[tuple[int, PushError]]:
        return self.send_ws_text_many(self.table.on(path), text)

    def send_ws_push_waiting(
        self, channel_id: int, message_type: WsMessageType, blob: types.LazyLoadBlob
    ) -> None:
        """While a process waits, its fake clients cannot but read."""
        channel = self.table.find(_u32(channel_id))
        refused = self.table.push(channel_id, message_type, blob.bytes)
        if refused is PushError.CHANNEL_FULL and channel is not None and channel.policy is ChannelPolicy.WAIT:
            channel.read()
            refused = self.table.push(channel_id, message_type, blob.bytes)
        if refused is not None:
            raise Err(refused)

    def send_ws_extension_push(
        self, channel_id: int, blob: types.LazyLoadBlob, response_seconds: int | None
    ) -> types.LazyLoadBlob | None:
        channel = self.table.find(_u32(channel_id))
        if channel is None or channel.extension is None:
            raise Err(PushError.CHANNEL_NOT_FOUND)
        answer = channel.extension(blob.bytes)
        return None if answer is None or response_seconds is None else types.LazyLoadBlob(None, answer)

    def set_channel_policy(self, channel_id: int, policy: ChannelPolicy) -> None:
        channel = self.table.find(_u32(channel_id))
        if channel is None:
            raise Err(PushError.CHANNEL_NOT_FOUND)
        channel.policy = policy

    def close_channel(self, channel_id: int, code: int | None, reason: str) -> None:
        self.table.close(_u32(channel_id), code, reason)

    def close_channels(
        self, channel_ids: list[int], code: int | None, reason: str
    ) -> list[tuple[int, CloseError]]:
        refused: list[tuple[int, CloseError]] = []
        for channel_id in channel_ids:
            try:
                self.close_channel(channel_id, code, reason)
            except Err as error:
                refused.append((channel_id, error.value))
        return refused

    def channel_claims(self, channel_id: int) -> str | None:
        channel = self.table.all.get(_u32(channel_id))
        return channel.claims if channel is not None and channel.known else None

    def http_request_claims(self) -> str | None:
        return self._http_claims

    def bind_ws_path(self, path: str, binding: WsBinding) -> None:
        self.check_may_bind()
        self.ws_bindings.bind(path, binding)

    def unbind_ws_path(self, path: str) -> None:
        self.ws_bindings.unbind(path)
        for channel in self.table.all.values():
            if channel.open and channel.bound_path == path:
                channel.closed = (1001, "the path is no longer bound")
                self.post_event(types.HttpServerRequest_WebSocketClose(channel.id), None)

    def bind_http_path(self, path: str, binding: HttpBinding) -> None:
        self.check_may_bind()
        self.http_bindings.bind(path, binding)
        self.static.pop(path, None)

    def bind_http_static_path(self, path: str, binding: HttpBinding, content: types.LazyLoadBlob) -> None:
        self.check_may_bind()
        self.http_bindings.bind(path, binding)
        self.static[path] = content

    def serve_ui(self, path: str, binding: HttpBinding) -> None:
        self.check_may_bind()
        if not self.has_ui:
            raise Err(BindError_NoUi())
        self.ui_bindings.bind(path, binding)

    def unbind_http_path(self, path: str) -> None:
        self.http_bindings.unbind(path)
        self.ui_bindings.unbind(path)
        self.static.pop(path, None)

    def send_http_response(
        self, status: int, headers: list[tuple[str, str]], body: types.LazyLoadBlob | None
    ) -> None:
        exchange = self._to_answer
        if not isinstance(exchange, FakeHttpExchange):
            self._write("warning", "an HTTP response was dropped: no HTTP request waits for one")
            return
        self._to_answer = None
        exchange.answer(status, headers, body)

    # system

    def our(self) -> types.Address:
        return address_to_wit(self.our_address)

    def print(self, verbosity: Verbosity, text: str) -> None:
        self._write(verbosity.name.lower(), text)

    def get_state(self) -> bytes | None:
        return self.state

    def set_state(self, state: bytes) -> None:
        self.check_may_keep(len(state))
        self.state = state

    def clear_state(self) -> None:
        self.state = None

    def get_on_exit(self) -> types.OnExit:
        return self.on_exit

    def set_on_exit(self, on_exit: types.OnExit) -> None:
        self.on_exit = on_exit

    def _has_room_to_bind(self) -> bool:
        return sum(map(len, self._bound())) < self.limits.bindings

    def _bound(self) -> list[dict[str, Any]]:
        return [self.ws_bindings.bound, self.http_bindings.bound, self.ui_bindings.bound]

    def _sent_with(
        self, request: types.Request, blob: types.LazyLoadBlob | None
    ) -> types.LazyLoadBlob | None:
        return self._blob if blob is None and request.inherit else blob

    def _take_blob(self, blob: types.LazyLoadBlob | None) -> None:
        self._blob = blob
        if blob is not None:
            self._last_blob = blob

    def _note_exchange(self, exchange: FakeHttpExchange | FakeExchange | None) -> None:
        if isinstance(exchange, FakeHttpExchange) or (exchange is not None and exchange.expects_response):
            self._to_answer = exchange
        if isinstance(exchange, FakeHttpExchange):
            self._http_claims = exchange.claims

    def _note_event(self, event: types.HttpServerRequest) -> None:
        if isinstance(event, types.HttpServerRequest_WebSocketOpen):
            channel = self.table.all[event.value.channel_id]
            channel.known = channel.closed is None
        elif isinstance(event, types.HttpServerRequest_WebSocketClose):
            self.table.all[event.value].known = False

    def _write(self, level: str, text: str) -> None:
        self.log.append(LogLine(level, text))


def _push_of(message: types.Message | types.SendFailure) -> types.WebSocketPush | None:
    """The text or binary message of a client that this is."""
    event = message.value if isinstance(message, types.Message_HttpServer) else None
    if not isinstance(event, types.HttpServerRequest_WebSocketPush):
        return None
    return event.value if event.value.message_type in (WsMessageType.TEXT, WsMessageType.BINARY) else None


def _u32(value: int) -> int:
    if not 0 <= value < _U32:
        raise OverflowError(f"{value} is no channel id: it does not fit 32 bits")
    return value


def _nobody() -> None:
    raise RuntimeError("receive() was called while no process runs: host.run(main)")
