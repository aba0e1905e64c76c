"""Converts link messages to those of Kinode's `process/standard`, for guests built for the Kinode OS.

Differences from the contract's encoding (`contract_messages.py`): a message is a pair of source and message; an
event of the HTTP server is a request from it with a JSON body; there are only two kinds of send errors.
One record serves all versions of the interface: fields that a version does not have are left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from guesthouse.core.address import HTTP_SERVER
from guesthouse.core.messages import Pairs, WsMessageType
from guesthouse.link.to_worker import Close, Http, Open, Push, Request, Response, SendFailure
from guesthouse.wasm.values import Err, Ok
from guesthouse.worker.contract_messages import (
    MessageEncoding,
    address_value,
    blob_value,
    request_value,
    response_value,
    with_traced,
)
from guesthouse.worker.kinode_errors import known_error
from guesthouse.worker.shared_push import SharedPush

if TYPE_CHECKING:
    from guesthouse.worker.guest import Guest

HTTP_SECONDS: Final = 15
"""`expects-response` of an HTTP request, as in the reference implementation."""

_OLDER_NAME: Final = "http_server:"
_CLOSE_FRAME: Final = int(WsMessageType.CLOSE)
_TYPES: Final = tuple(kind.json_name for kind in WsMessageType)
_HTTP_SERVER: Final = str(HTTP_SERVER)


def spelled(guest: Guest, text: str) -> dict[str, Any]:
    """An address, with the name that the guest itself uses for a runtime module: older guests compare
    sources with older names.
    """
    node, _, process = text.partition("@")
    older = guest.spellings.get(process)
    return address_value(text if older is None else f"{node}@{older}")


def _event(guest: Guest, body: bytes, expects_response: int | None = None) -> Ok:
    source = f"{guest.node}@{_HTTP_SERVER}"
    request = request_value(Request(guest.handle, 0, source, body, expects_response=expects_response))
    return Ok((spelled(guest, source), ("request", request)))


def _open(guest: Guest, opened: Open) -> Ok:
    guest.take_up(channel_id=opened.channel_id)
    event = {
        "path": opened.path,
        "channel_id": opened.channel_id,
        "source_socket_addr": opened.source_addr,
        "forwarded_for": opened.forwarded_for,
    }
    more = {
        "url_params": dict(opened.url_params),
        "query_params": dict(opened.query_params),
        "resumed": opened.resumed,
        "subprotocol": opened.subprotocol,
        "claims": _claims(opened.claims),
    }
    event |= {name: value for name, value in more.items() if value}
    return _event(guest, _json({"WebSocketOpen": event}))


def _push(guest: Guest, push: Push) -> Ok:
    guest.take_up(None, push.payload, channel_id=push.channel_id)
    body = b'{"WebSocketPush":{"channel_id":%d,"message_type":"%s"}}'
    return _event(guest, body % (push.channel_id, _TYPES[push.message_type].encode()))


def _close(guest: Guest, closing: Close) -> Ok:
    """A client's close frame is a push with the reason as blob, followed by the end of the channel."""
    if closing.reason is not None:
        guest.closed_channel = closing.channel_id
        return _push(guest, Push(closing.handle, closing.channel_id, _CLOSE_FRAME, closing.reason))
    return closed(guest, closing.channel_id)


def closed(guest: Guest, channel_id: int) -> Ok:
    """The message for the end of a channel."""
    guest.closed_channel = 0
    guest.claims.pop(channel_id, None)
    guest.take_up(channel_id=channel_id)
    return _event(guest, b'{"WebSocketClose":%d}' % channel_id)


def _http(guest: Guest, request: Http) -> Ok:
    guest.take_up(request.mime, request.body)
    guest.expect_http_answer(request.http_id)
    guest.http_claims = request.claims
    event = {
        "source_socket_addr": request.source_addr,
        "method": request.method,
        "url": _bare_url(request.url),
        "bound_path": f"/{guest.our.process}{request.bound_path}".rstrip("/"),
        "headers": _joined(request.headers),
        "url_params": dict(request.url_params),
        "query_params": dict(request.query_params),
    }
    if request.claims is not None:
        event["claims"] = _claims(request.claims)
    return _event(guest, _json({"Http": event}), HTTP_SECONDS)


def _request(guest: Guest, request: Request) -> Ok:
    guest.take_up(request.mime, request.blob)
    guest.expect_answer(request.request_id)
    return Ok((spelled(guest, request.source), ("request", request_value(request))))


def _response(guest: Guest, response: Response) -> Ok:
    guest.take_up(response.mime, response.blob)
    node, _, process = response.source.partition("@")
    if node == guest.node:
        older = guest.spellings.get(_HTTP_SERVER, "").startswith(_OLDER_NAME)
        response = replace(response, body=known_error(process, response.body, older=older))
    message = ("response", (response_value(response), response.context))
    return Ok((spelled(guest, response.source), message))


def _send_failure(guest: Guest, failure: SendFailure) -> Err:
    guest.take_up()
    return Err((_send_error(guest, failure), failure.context))


def _awaited_failure(guest: Guest, failure: SendFailure) -> Err:
    return Err(_send_error(guest, failure))


def _send_error(guest: Guest, failure: SendFailure) -> dict[str, Any]:
    """Everything except `offline` is `timeout`."""
    return {
        "kind": failure.kind if failure.kind == "offline" else "timeout",
        "target": address_value(failure.target),
        "message": ("request", request_value(failure)),
        "lazy-load-blob": blob_value(failure.mime, failure.blob),
    }


def _claims(text: str | None) -> Any:
    """Custom claims as a value. Older guests pass over a member of an event that they do not know."""
    return None if text is None else json.loads(text)


def _bare_url(url: str) -> str:
    """A URL as in the reference implementation, without port, query and trailing slash. Libraries compare its path with
    the bound one.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{parts.path.rstrip('/')}"


def _joined(headers: Pairs) -> dict[str, str]:
    """Headers as an object; those of the same name are joined by RFC 9110, section 5.3, and RFC 6265."""
    joined: dict[str, str] = {}
    for name, value in headers:
        if name in joined:
            value = joined[name] + ("; " if name.lower() == "cookie" else ", ") + value
        joined[name] = value
    return joined


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


STANDARD: Final[MessageEncoding[Guest]] = MessageEncoding(
    received=with_traced(
        {
            Open: _open,
            Push: _push,
            SharedPush: lambda guest, push: _push(guest, push.owned()),
            Close: _close,
            Http: _http,
            Request: _request,
            Response: _response,
            SendFailure: _send_failure,
        }
    ),
    awaited={Response: _response, SendFailure: _awaited_failure},
)
"""The encoding of `process/standard`."""
