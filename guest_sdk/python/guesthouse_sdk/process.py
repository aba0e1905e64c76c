"""The high-level form of a process: a class whose methods are called for events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, ClassVar, Final

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import MESSAGE, checked_bytes, checked_text
from guesthouse_sdk._closing import NOBODY, closing
from guesthouse_sdk._json import written
from guesthouse_sdk._paths import params_of
from guesthouse_sdk._payload import latest, lose_latest
from guesthouse_sdk._process_messages import ProcessMessages
from guesthouse_sdk._process_routes import NO_ROUTE, ProcessRoutes
from guesthouse_sdk._process_tasks import ProcessTasks, Tasks
from guesthouse_sdk._process_timers import ProcessTimers
from guesthouse_sdk._wit import Err, refusal, types
from guesthouse_sdk.address import Address, ProcessId
from guesthouse_sdk.channel import Channel
from guesthouse_sdk.channel_requests import LATER, ChannelRequest, RequestRefused
from guesthouse_sdk.errors import BadBody, ChannelNotFound, PushError, SendError
from guesthouse_sdk.http_response import HttpResponse
from guesthouse_sdk.http_server import ChannelPolicy, push_to_many, send_http_response
from guesthouse_sdk.log import log_exception
from guesthouse_sdk.message import (
    Http,
    IncomingRequest,
    IncomingResponse,
    WebSocketOpen,
    http_from_wit,
    incoming_request_from_wit,
    incoming_response_from_wit,
    web_socket_open_from_wit,
)
from guesthouse_sdk.messaging import Response, received, send_error
from guesthouse_sdk.presence import presence_in, watch_presence
from guesthouse_sdk.system import Verbosity, print_to_log
from guesthouse_sdk.typed import BadMessage

_KERNEL: Final = ProcessId("kernel", "distro", "sys")
_HANDOVER: Final = b'{"handover": '
_FAILED: Final = "the process failed to answer"
_FAILED_TO_OPEN: Final = "the process failed to open the channel"
_BINARY: Final = types.WsMessageType.BINARY


class Process(ProcessTimers, ProcessRoutes, ProcessMessages, ProcessTasks):
    """Base class of a process. Override what you need; no method needs `super()`.

    An uncaught exception is logged with its traceback, or in one line if it is that a client has left, and that message
    is not handled further. Only one from `on_start` ends the process.

    Attributes:
        our: this process's address.
        channels: the open channels; do not modify it. It has each channel
            from just before `on_open` until just before `on_close`, or until this process closes it.
            After a restart it has the channels that stayed open.
        when_full: what happens to what is sent to a client that reads too slowly. By default it is refused
            with `ChannelFull`. With `ChannelPolicy.WAIT` `channel.send` waits, and all that the process does with it;
            `broadcast` is refused all the same.
    """

    when_full: ClassVar[ChannelPolicy] = ChannelPolicy.REFUSE

    our: Address
    channels: set[Channel]
    _by_id: dict[int, Channel]
    _watchers: tuple[Callable[[Channel], None], ...] = ()
    _answers: bool
    _is_plain: bool
    _away: set[int]

    def on_start(self) -> None:
        """The process starts: load state, bind paths."""

    def on_open(self, channel: Channel) -> Any:
        """A client opened a channel. An exception closes it with 1011."""

    def on_resume(self, channel: Channel) -> Any:
        """A channel was open before this process was restarted. Calls `on_open` by default. An exception closes it
        with 1011.
        """
        return self.on_open(channel)

    def on_message(self, channel: Channel, message: Any) -> Any:
        """A client sent a text message (str) or a binary one (bytes); or, in a process that has `messages`, an
        object of that type.
        """

    def on_channel_request(self, channel: Channel, request: ChannelRequest) -> object:
        """A client made a request over its channel, by `request()` of a client library. A process
        without this method gets such messages at `on_message`.

        Returns:
            The body of the answer, which `json` encodes; or `LATER`, to answer by
            `channel.send(request.answer(…))`, or never.

        Raises:
            RequestRefused: the client gets its text as the error. Any other exception is logged, and
                the client gets *the process failed to answer*.
        """
        return LATER

    def on_close(self, channel: Channel) -> None:
        """The client of a channel has left."""

    def on_away(self, channel: Channel) -> None:
        """The client of a resumable channel has lost its connection, and may come back: what is sent to it waits. Then
        `on_back` or `on_close` follows. After a restart it comes right after the `on_resume` of who is away.
        """

    def on_back(self, channel: Channel) -> None:
        """The client of a channel that was away has come back."""

    def on_http(self, request: Http) -> HttpResponse | str | bytes | None:
        """A client requests a path bound by `bind_http_path`. Return None if
        you have answered with `send_http_response`.
        """
        return HttpResponse("not found\n", 404)

    def on_request(self, source: Address, request: IncomingRequest) -> Response | None:
        """Another process sent a request; `get_blob` has the payload. The return value is sent."""
        print_to_log(f"a request from {source} was dropped: the process has no on_request", Verbosity.WARNING)
        return None

    def on_response(self, source: Address, response: IncomingResponse) -> None:
        """Another process answered a `Request().expects_response(…).send()`."""

    def on_handover(self) -> None:
        """Another version will replace this one: store what it needs, and return. It is the last call. Only
        if the manifest has `handover = true`; see `docs/upgrades.md` for the time limit.
        """

    def on_send_error(self, error: SendError) -> None:
        """A request of this process was not delivered or not answered."""
        print_to_log(str(error), Verbosity.WARNING)

    def broadcast(
        self, message: str | bytes, to: Iterable[Channel] | None = None
    ) -> dict[Channel, PushError]:
        """Send one message to all channels, or to some; it is passed to the host once.

        Returns:
            The channels that refused it, and why: usually `ChannelFull`. Close them, or let them miss
            the message.
        """
        channels = {channel.id: channel for channel in (self.channels if to is None else to)}
        if not channels:
            return {}
        if isinstance(message, str):
            text = checked_text(message, "a message")
            refused = push_to_many(
                list(channels), lambda part: _wit.http_server.send_ws_text_many(part, text)
            )
        else:
            blob = types.LazyLoadBlob(None, checked_bytes(message, "a message", MESSAGE))
            refused = push_to_many(
                list(channels), lambda part: _wit.http_server.send_ws_push_many(part, _BINARY, blob)
            )
        return {channels[channel_id]: error for channel_id, error in refused.items()}

    def broadcast_json(self, value: object, to: Iterable[Channel] | None = None) -> dict[Channel, PushError]:
        """Send a value to channels as one text message in JSON, as `broadcast` and `Channel.send_json` do.

        Raises:
            TypeError: JSON cannot express it.
            ValueError: it has NaN, an infinity or itself in it.
        """
        return self.broadcast(written(value), to)

    def run(self, our: Address) -> None:
        """Handle messages forever. Called by the SDK."""
        self.our = our
        self.channels = set()
        self._by_id = {}
        self._answers = type(self).on_channel_request is not Process.on_channel_request
        self._is_plain = self._decoder is None and not self._is_async
        if self._is_async:
            self._tasks = Tasks()
            self._watch(self._tasks.cancel)
        self._away = set[int]()
        closing.keeper = _Kept(self)
        try:
            self._bind_routes()
            self.on_start()
            if type(self).on_away is not Process.on_away or type(self).on_back is not Process.on_back:
                self._away = watch_presence(our)
            while True:
                self._handle_next()
        finally:
            closing.keeper = NOBODY

    def _handle_next(self) -> None:
        received.is_text = False
        if latest.payload is not None:
            lose_latest()
        pushed = _wit.messaging.receive_ws_push()
        if pushed is not None:
            self._handle_push(*pushed)
            return
        try:
            raw = _wit.messaging.receive()
        except Err as failure:
            self._handle_failure(refusal(failure))
            return
        try:
            self._handle(raw)
        except Exception as error:
            log_exception(_METHODS[type(raw.value if type(raw) is types.Message_HttpServer else raw)], error)
            if _is_http(raw):
                send_http_response(500, body=f"{_FAILED}\n")

    def _handle(self, raw: types.Message) -> None:
        if type(raw) is types.Message_HttpServer:
            self._handle_event(raw.value)
        elif type(raw) is types.Message_Request:
            request = incoming_request_from_wit(raw.value)
            if request.source == Address(self.our.node, _KERNEL) and request.body.startswith(_HANDOVER):
                self.on_handover()
                return
            presence = presence_in(self.our, request)
            if presence is not None:
                self._handle_presence(presence[0], away=presence[1])
                return
            if self._takes(request):
                return
            response = self.on_request(request.source, request)
            if response is not None:
                response.send()
        elif type(raw) is types.Message_Response:
            answer = incoming_response_from_wit(raw.value)
            if not self._takes(answer) and not self._resumes(answer):
                self.on_response(answer.source, answer)

    def _handle_event(self, event: types.HttpServerRequest) -> None:
        if type(event) is types.HttpServerRequest_WebSocketOpen:
            self._handle_open(event.value)
        elif type(event) is types.HttpServerRequest_WebSocketClose:
            channel = self._forget(event.value)
            if channel is not None:
                self.on_close(channel)
        elif type(event) is types.HttpServerRequest_Http:
            self._handle_http(event.value)

    def _handle_push(self, channel_id: int, text: str | None, data: bytes | None) -> None:
        channel = self._by_id.get(channel_id)
        if channel is None:  # closed by us while this message was under way
            return
        message: str | bytes
        if text is None:
            message = data or b""
        else:
            received.is_text = True
            message = text
        try:
            if self._answers and (request := ChannelRequest.read(message)) is not None:
                self._answer(channel, request)
            elif self._is_plain:
                self.on_message(channel, message)
            else:
                self._handle_otherwise(channel, message)
        except Exception as error:
            log_exception("on_message", error)

    def _handle_otherwise(self, channel: Channel, message: str | bytes) -> None:
        """A message for a process that has typed messages, or asynchronous handlers."""
        decoded: Any
        try:
            decoded = message if self._decoder is None else self._decoder.decode(message)
        except BadMessage as error:
            self.on_bad_message(channel, error)
            return
        if self._tasks is None:
            self.on_message(channel, decoded)
        else:
            self._tasks.run(channel, "on_message", partial(self.on_message, channel, decoded), len(message))

    def _answer(self, channel: Channel, request: ChannelRequest) -> None:
        try:
            body = self.on_channel_request(channel, request)
            if body is LATER:
                return
            answer = request.answer(body)
        except RequestRefused as refused:
            answer = request.refusal(str(refused))
        except Exception as error:
            log_exception("on_channel_request", error)
            answer = request.refusal(_FAILED)
        for text in (answer, request.refusal(_FAILED)):  # which may be smaller
            try:
                channel.send(text)
                return
            except ChannelNotFound:
                return
            except PushError as error:
                log_exception("the answer to a request", error)

    def _handle_open(self, raw: types.WebSocketOpen) -> None:
        channel = Channel(web_socket_open_from_wit(raw), self)
        self._by_id[channel.id] = channel
        self.channels.add(channel)
        if self.when_full is not ChannelPolicy.REFUSE:
            channel._follow(self.when_full)
        name = "on_resume" if raw.resumed else "on_open"
        opening = partial(self.on_resume if raw.resumed else self.on_open, channel)
        if self._tasks is not None:
            self._tasks.run(channel, name, opening, 0, partial(channel.close, 1011, _FAILED_TO_OPEN))
        else:
            try:
                opening()
            except Exception as error:  # a client whose opening failed would wait for ever
                log_exception(name, error)
                channel.close(1011, _FAILED_TO_OPEN)
        if channel.id in self._away:
            self._away.remove(channel.id)
            self._handle_presence(channel.id, away=True)

    def _handle_presence(self, channel_id: int, *, away: bool) -> None:
        channel = self._by_id.get(channel_id)
        if channel is not None and channel.away != away:  # else closed by us, or known from the start
            channel.away = away
            (self.on_away if away else self.on_back)(channel)

    def _handle_http(self, raw: types.IncomingHttpRequest) -> None:
        request = http_from_wit(raw)
        try:
            answer = self._route(request)
            if answer is NO_ROUTE:
                answer = self.on_http(request)
        except BadBody as problem:
            answer = HttpResponse(f"{problem}\n", 400)
        if answer is None:
            return
        if not isinstance(answer, HttpResponse):
            answer = HttpResponse(answer)
        send_http_response(answer.status, answer.headers, answer.body, answer.mime)

    def _handle_failure(self, failure: types.SendFailure) -> None:
        try:
            error = send_error(failure.error, failure.context)
            if not self._takes(error) and not self._resumes(error):
                self.on_send_error(error)
        except Exception as problem:
            log_exception("on_send_error", problem)

    def _forget(self, channel_id: int) -> Channel | None:
        channel = self._by_id.pop(channel_id, None)
        if channel is not None:
            self.channels.discard(channel)
            for closed in self._watchers:
                closed(channel)
        return channel

    def _watch(self, closed: Callable[[Channel], None]) -> None:
        """Call `closed` with each channel that leaves `channels`. Subclasses do not call `super().__init__()`."""
        self._watchers = (*self._watchers, closed)


class _Kept:
    """Keeps a process's channels up to date when it closes some."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def has(self, channel_id: int) -> bool:
        return channel_id in self._process._by_id

    def closed(self, channel_id: int) -> None:
        self._process._forget(channel_id)

    def closed_on(self, path: str, but: Collection[int]) -> None:
        for channel in list(self._process._by_id.values()):
            if channel.id not in but and _is_on(channel.opened, path):
                self._process._forget(channel.id)


_METHODS: Final[dict[type, str]] = {
    types.HttpServerRequest_WebSocketOpen: "on_open",
    types.HttpServerRequest_WebSocketClose: "on_close",
    types.HttpServerRequest_Http: "on_http",
    types.Message_Request: "on_request",
    types.Message_Response: "on_response",
}


def _is_on(opened: WebSocketOpen, path: str) -> bool:
    """Whether that is a channel's path, as requested or as bound."""
    return path == opened.path or params_of(path, opened.path) == dict(opened.url_params)


def _is_http(raw: types.Message) -> bool:
    return type(raw) is types.Message_HttpServer and type(raw.value) is types.HttpServerRequest_Http
