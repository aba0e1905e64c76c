"""Converts link messages to results of `receive`: one function for each kind of message.

Each also sets the current message's blob, and what `send-response` will answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from guesthouse.core.messages import WsMessageType
from guesthouse.link.schema import ExitRequest, Message, OnExit, Pair
from guesthouse.link.to_worker import Close, Http, Open, Push, Request, Response, SendFailure, ToProcess
from guesthouse.link.trace_schema import Trace
from guesthouse.link.traced import TRACED
from guesthouse.wasm.values import Err, FirstOf, Form, Ok, Utf8, is_utf8
from guesthouse.worker.batch import Batch
from guesthouse.worker.shared_push import SharedPush

_NOT_AUTHORISED: Final = FirstOf((("not-authorised", None), ("no-such-process", None), ("timeout", None)))
"""A kind of failure that a component's own type may not have."""

_TEXT: Final = int(WsMessageType.TEXT)
_BINARY: Final = int(WsMessageType.BINARY)
MESSAGE_TYPE_NAMES: Final = tuple(kind.name.lower() for kind in WsMessageType)
"""The cases of `ws-message-type` by number."""


PUSH: Final = Form(("ok", "http-server", "web-socket-push"), ("channel-id", "message-type"))
"""The result of `receive` for nearly all messages."""


class Recipient(Protocol):
    """What conversion sets of the guest that takes a message; see `Guest`."""

    blob: tuple[str | None, bytes | memoryview | None]
    last_blob: tuple[str | None, bytes | memoryview | None]
    shared: SharedPush | None
    channel_id: int
    claims: dict[int, str]
    http_claims: str | None
    inbox: deque[ToProcess | SharedPush]
    batch: Batch | None

    def ask_for_batch(self) -> None:
        """More than one message waits: the next ones should be in a batch."""

    def take_up(self, mime: str | None = None, payload: bytes | None = None, *, channel_id: int = 0) -> None:
        """Set the blob of the current message, and its channel."""

    def expect_answer(self, request_id: int) -> None:
        """The current message is a request of another process; id 0 expects no answer."""

    def expect_http_answer(self, http_id: int) -> None:
        """The current message is an HTTP request."""

    def begin_trace(self, trace: Trace) -> None:
        """The current message is of a trace."""


RecipientT = TypeVar("RecipientT", bound=Recipient)
RecipientT_contra = TypeVar("RecipientT_contra", bound=Recipient, contravariant=True)
Convert: TypeAlias = Callable[[RecipientT, Any], Any]


class MessageEncoding(Struct, Generic[RecipientT_contra], frozen=True):
    """How messages are converted to the results of an interface's calls, by their types."""

    received: dict[type[Message], Callable[[RecipientT_contra, Any], Any]]
    """What `receive` returns."""
    awaited: dict[type[Message], Callable[[RecipientT_contra, Any], Any]]
    """What `send-and-await-response` returns."""


def _http_server(request: Any) -> Ok:
    return Ok(("http-server", request))


def _open(guest: Recipient, opened: Open) -> Ok:
    guest.take_up(channel_id=opened.channel_id)
    event = {
        "path": opened.path,
        "channel-id": opened.channel_id,
        "source-socket-addr": opened.source_addr,
        "forwarded-for": opened.forwarded_for,
        "url-params": list(opened.url_params),
        "query-params": list(opened.query_params),
        "resumed": opened.resumed,
        "subprotocol": opened.subprotocol,
    }
    return _http_server(("web-socket-open", event))


def _push(guest: Recipient, push: Push) -> tuple[Form, int, str]:
    guest.blob = guest.last_blob = (None, push.payload)
    channel_id = guest.channel_id = push.channel_id
    if guest.batch is not None:
        guest.batch.open(push)
    elif guest.inbox:
        guest.ask_for_batch()
    return PUSH, channel_id, MESSAGE_TYPE_NAMES[push.message_type]


def _shared_push(guest: Recipient, push: SharedPush) -> tuple[Form, int, str]:
    """Left to the host: no batch begins with it, and none goes on behind it."""
    _take_shared(guest, push)
    return PUSH, push.channel_id, MESSAGE_TYPE_NAMES[push.message_type]


def _take_shared(guest: Recipient, push: SharedPush) -> None:
    guest.shared = push
    guest.blob = guest.last_blob = (None, push.payload)
    guest.channel_id = push.channel_id


def _ws_push(guest: Recipient, push: Push) -> tuple[int, Utf8 | None, bytes | None]:
    payload = push.payload
    guest.blob = guest.last_blob = (None, payload)
    channel_id = guest.channel_id = push.channel_id
    if guest.batch is not None:
        guest.batch.open(push)
    elif guest.inbox:
        guest.ask_for_batch()
    return (channel_id, Utf8(payload), None) if push.message_type == _TEXT else (channel_id, None, payload)


def _shared_ws_push(guest: Recipient, push: SharedPush) -> tuple[int, Utf8 | None, memoryview | None]:
    _take_shared(guest, push)
    payload, channel_id = push.payload, push.channel_id
    return (channel_id, Utf8(payload), None) if push.message_type == _TEXT else (channel_id, None, payload)


def _close(guest: Recipient, closed: Close) -> Ok:
    guest.take_up(channel_id=closed.channel_id)
    guest.claims.pop(closed.channel_id, None)
    return _http_server(("web-socket-close", closed.channel_id))


def _http(guest: Recipient, request: Http) -> Ok:
    guest.take_up(request.mime, request.body)
    guest.expect_http_answer(request.http_id)
    guest.http_claims = request.claims
    event = {
        "source-socket-addr": request.source_addr,
        "method": request.method,
        "url": request.url,
        "bound-path": request.bound_path,
        "headers": list(request.headers),
        "url-params": list(request.url_params),
        "query-params": list(request.query_params),
    }
    return _http_server(("http", event))


def _request(guest: Recipient, request: Request) -> Ok:
    guest.take_up(request.mime, request.blob)
    guest.expect_answer(request.request_id)
    return Ok(("request", {"source": address_value(request.source), "request": request_value(request)}))


def _response(guest: Recipient, response: Response) -> Ok:
    guest.take_up(response.mime, response.blob)
    value = {
        "source": address_value(response.source),
        "response": response_value(response),
        "context": response.context,
    }
    return Ok(("response", value))


def _send_failure(guest: Recipient, failure: SendFailure) -> Err:
    guest.take_up()
    return Err({"error": send_error(failure), "context": failure.context})


def send_error(failure: SendFailure) -> dict[str, Any]:
    """The `send-error` of a failed send."""
    missing = () if failure.missing is None else (failure.missing,)
    return {
        "kind": _NOT_AUTHORISED if failure.kind == "not-authorised" else failure.kind,
        "target": address_value(failure.target),
        "request": request_value(failure),
        "lazy-load-blob": blob_value(failure.mime, failure.blob),
        "missing": next(iter(capability_values(missing)), None),
    }


def blob_value(mime: str | None, payload: bytes | memoryview | None) -> dict[str, Any] | None:
    """The contract's `lazy-load-blob`."""
    return None if payload is None else {"mime": mime, "bytes": payload}


def request_value(request: Request | SendFailure) -> dict[str, Any]:
    """The contract's `request`."""
    return {
        "inherit": request.inherit,
        "expects-response": request.expects_response,
        "body": request.body,
        "metadata": request.metadata,
        "capabilities": capability_values(request.capabilities),
    }


def response_value(response: Response) -> dict[str, Any]:
    """The contract's `response`."""
    return {
        "inherit": response.inherit,
        "body": response.body,
        "metadata": response.metadata,
        "capabilities": capability_values(response.capabilities),
    }


def on_exit_value(on_exit: OnExit) -> Any:
    """The contract's `on-exit`."""
    if isinstance(on_exit, str):
        return on_exit
    return "requests", [(address_value(left.target), *_left(left)) for left in on_exit]


def _left(left: ExitRequest) -> tuple[dict[str, Any], dict[str, Any] | None]:
    request = Request(0, 0, left.target, left.body, expects_response=left.expects_response)
    return request_value(request), blob_value(left.mime, left.blob)


def capability_values(rights: Sequence[Pair]) -> list[dict[str, Any]]:
    """The contract's `capability` for each issuer and params."""
    return [{"issuer": address_value(issuer), "params": params} for issuer, params in rights]


def address_value(text: str) -> dict[str, Any]:
    """An address as the contract's record. It may be invalid: a guest gets back the target that it sent to."""
    node, _, process = text.partition("@")
    name, _, package = process.partition(":")
    package_name, _, publisher = package.partition(":")
    return {
        "node": node,
        "process": {"process-name": name, "package-name": package_name, "publisher-node": publisher},
    }


def with_traced(
    received: dict[type[Message], Convert[RecipientT]],
) -> dict[type[Message], Convert[RecipientT]]:
    """These, and for each kind of message the one of a trace, which begins it first."""
    return received | {TRACED[kind]: _traced(convert) for kind, convert in received.items() if kind in TRACED}


def _traced(convert: Convert[RecipientT]) -> Convert[RecipientT]:
    def begin_and_convert(guest: RecipientT, message: Any) -> Any:
        guest.begin_trace(message.trace)
        return convert(guest, message)

    return begin_and_convert


CONTRACT: Final[MessageEncoding[Recipient]] = MessageEncoding(
    received=with_traced(
        {
            Open: _open,
            Push: _push,
            SharedPush: _shared_push,
            Close: _close,
            Http: _http,
            Request: _request,
            Response: _response,
            SendFailure: _send_failure,
        }
    ),
    awaited={Response: _response, SendFailure: lambda guest, failure: Err(send_error(failure))},
)
"""The encoding of `guesthouse:process/messaging`."""

WS_PUSH: Final = MessageEncoding(
    received=with_traced({Push: _ws_push, SharedPush: _shared_ws_push}), awaited=CONTRACT.awaited
)
"""The encoding of `receive-ws-push`, which takes the messages of `is_ws_push` only."""


def is_ws_push(message: Any) -> bool:
    """Whether `receive-ws-push` takes a message: one of a client, of text or bytes."""
    if type(message) not in WS_PUSH.received:
        return False
    kind = message.message_type
    if kind == _TEXT:
        return type(message) is SharedPush or is_utf8(message.payload)
    return bool(kind == _BINARY)
