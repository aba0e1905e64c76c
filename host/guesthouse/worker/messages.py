"""Link operations to what `receive` returns: one function for each kind of message.

Each sets the blob of the message in hand and what `send-response` would answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from guesthouse.address import Address
from guesthouse.link.ops import ToWorker
from guesthouse.message import WsMessageType
from guesthouse.worker.boundary.values import Err, FirstOf, Form, Ok

if TYPE_CHECKING:
    from guesthouse.worker.guest import Guest

_NOT_AUTHORISED: Final = FirstOf((("not-authorised", None), ("no-such-process", None), ("timeout", None)))
"""A kind of failure that a component's own type may not have."""

MESSAGE_TYPE_NAMES: Final = tuple(kind.name.lower() for kind in WsMessageType)
"""The cases of `ws-message-type` by number."""


PUSH: Final = Form(("ok", "http-server", "web-socket-push"), ("channel-id", "message-type"))
"""What `receive` returns of nearly all messages."""


def _http_server(request: Any) -> Ok:
    return Ok(("http-server", request))


def _open(guest: Guest, operation: list[Any]) -> Ok:
    _, _, channel_id, path, source_addr, forwarded_for, url_params, query_params, resumed, *last = operation
    guest.set_blob(None, None)
    guest.current_request = 0
    event = {
        "path": path,
        "channel-id": channel_id,
        "source-socket-addr": source_addr,
        "forwarded-for": forwarded_for,
        "url-params": _pairs(url_params),
        "query-params": _pairs(query_params),
        "resumed": resumed,
        "subprotocol": last[2],
    }
    return _http_server(("web-socket-open", event))


def _push(guest: Guest, operation: list[Any]) -> tuple[Form, int, str]:
    _, _, channel_id, message_type, payload = operation
    guest.blob = guest.last_blob = (None, payload)
    guest.current_request = 0
    return PUSH, channel_id, MESSAGE_TYPE_NAMES[message_type]


def _close(guest: Guest, operation: list[Any]) -> Ok:
    guest.set_blob(None, None)
    guest.current_request = 0
    return _http_server(("web-socket-close", operation[2]))


def _http(guest: Guest, operation: list[Any]) -> Ok:
    (_, _, http_id, method, url, bound_path, headers, url_params, query_params, source_addr, mime, body) = (
        operation
    )
    guest.set_blob(mime, body)
    guest.expect_http_answer(http_id)
    event = {
        "source-socket-addr": source_addr,
        "method": method,
        "url": url,
        "bound-path": bound_path,
        "headers": _pairs(headers),
        "url-params": _pairs(url_params),
        "query-params": _pairs(query_params),
    }
    return _http_server(("http", event))


def _request(guest: Guest, operation: list[Any]) -> Ok:
    (_, _, request_id, source, body, inherit, expects_response, metadata, mime, blob, *rights) = operation
    guest.set_blob(mime, blob)
    guest.expect_answer(request_id)
    request = request_value(body, inherit, expects_response, metadata, *rights)
    return Ok(("request", {"source": address_value(source), "request": request}))


def _response(guest: Guest, operation: list[Any]) -> Ok:
    (_, _, source, body, inherit, metadata, context, mime, blob, _, *rights) = operation
    guest.set_blob(mime, blob)
    guest.current_request = 0
    response = response_value(body, inherit, metadata, *rights)
    return Ok(("response", {"source": address_value(source), "response": response, "context": context}))


def _send_failure(guest: Guest, operation: list[Any]) -> Err:
    guest.set_blob(None, None)
    guest.current_request = 0
    return Err({"error": send_error(operation), "context": operation[8]})


def send_error(operation: list[Any]) -> dict[str, Any]:
    """The `send-error` of a SEND_FAILURE."""
    (_, _, kind, target, body, inherit, expects_response, metadata, _, mime, blob, _, *last) = operation
    return {
        "kind": _NOT_AUTHORISED if kind == "not-authorised" else kind,
        "target": address_value(target),
        "request": request_value(body, inherit, expects_response, metadata, *last[:1]),
        "lazy-load-blob": None if blob is None else {"mime": mime, "bytes": blob},
        "missing": capability_values(last[1:])[0] if len(last) > 1 else None,
    }


def request_value(
    body: bytes,
    inherit: bool,
    expects_response: int | None,
    metadata: str | None,
    rights: list[list[str]] | tuple[()] = (),
) -> dict[str, Any]:
    """The contract's `request`."""
    return {
        "inherit": inherit,
        "expects-response": expects_response,
        "body": body,
        "metadata": metadata,
        "capabilities": capability_values(rights),
    }


def response_value(
    body: bytes, inherit: bool, metadata: str | None, rights: list[list[str]] | tuple[()] = ()
) -> dict[str, Any]:
    """The contract's `response`."""
    return {"inherit": inherit, "body": body, "metadata": metadata, "capabilities": capability_values(rights)}


def capability_values(rights: list[list[str]] | tuple[()]) -> list[Any]:
    """The contract's `capability` for each `[issuer, params]`."""
    return [{"issuer": address_value(issuer), "params": params} for issuer, params in rights]


def address_value(text: str) -> dict[str, Any]:
    """An address of the node's as the contract's record."""
    address = Address.parse(text)
    process = address.process
    return {
        "node": address.node,
        "process": {
            "process-name": process.process_name,
            "package-name": process.package_name,
            "publisher-node": process.publisher_node,
        },
    }


def _pairs(pairs: list[Any]) -> list[Any]:
    return [tuple(pair) for pair in pairs]


Convert: TypeAlias = Callable[["Guest", list[Any]], Any]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How operations become what an interface's calls return, by operation."""

    received: dict[int, Convert]
    """What `receive` returns."""
    awaited: dict[int, Convert]
    """What `send-and-await-response` returns."""


CONTRACT: Final = Dialect(
    received={
        ToWorker.OPEN: _open,
        ToWorker.PUSH: _push,
        ToWorker.CLOSE: _close,
        ToWorker.HTTP: _http,
        ToWorker.REQUEST: _request,
        ToWorker.RESPONSE: _response,
        ToWorker.SEND_FAILURE: _send_failure,
    },
    awaited={
        ToWorker.RESPONSE: _response,
        ToWorker.SEND_FAILURE: lambda guest, operation: Err(send_error(operation)),
    },
)
"""The form of `guesthouse:process/messaging`."""
