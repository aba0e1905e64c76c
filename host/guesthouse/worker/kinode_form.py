"""Link operations in the form of Kinode's `process/standard`, for guests that were written for the Kinode OS.

The differences from the contract's own form (`messages.py`): a message is a pair of source and message; an event
of the HTTP server is a request from it whose body is JSON; of a failure to send there are two kinds.
One record serves all versions of the interface: fields that a version does not have are left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from guesthouse.address import HTTP_SERVER
from guesthouse.link.ops import ToWorker
from guesthouse.message import WsMessageType
from guesthouse.worker.boundary.values import Err, Ok
from guesthouse.worker.kinode_errors import known_error
from guesthouse.worker.messages import Dialect, address_value, request_value, response_value

if TYPE_CHECKING:
    from guesthouse.worker.guest import Guest

HTTP_SECONDS: Final = 15
"""What an HTTP request says in `expects-response`, as the reference does."""

_OLDER_NAME: Final = "http_server:"
_WITH_REASON: Final = 3
_CLOSE_FRAME: Final = int(WsMessageType.CLOSE)
_TYPES: Final = tuple(kind.json_name for kind in WsMessageType)
_HTTP_SERVER: Final = str(HTTP_SERVER)


def spelled(guest: Guest, text: str) -> dict[str, Any]:
    """An address, with the name that the guest itself uses for a runtime module: guests of each era compare
    sources with the name of theirs.
    """
    node, _, process = text.partition("@")
    older = guest.spellings.get(process)
    return address_value(text if older is None else f"{node}@{older}")


def _event(guest: Guest, body: bytes, expects_response: int | None = None) -> Ok:
    request = request_value(body, inherit=False, expects_response=expects_response, metadata=None)
    return Ok((spelled(guest, f"{guest.node}@{_HTTP_SERVER}"), ("request", request)))


def _open(guest: Guest, operation: list[Any]) -> Ok:
    _, _, channel_id, path, source_addr, forwarded_for, url_params, query_params, resumed, *last = operation
    guest.set_blob(None, None)
    guest.current_request = 0
    event = {
        "path": path,
        "channel_id": channel_id,
        "source_socket_addr": source_addr,
        "forwarded_for": forwarded_for,
    }
    more = {
        "url_params": dict(url_params),
        "query_params": dict(query_params),
        "resumed": resumed,
        "subprotocol": last[2],
    }
    event |= {name: value for name, value in more.items() if value}
    return _event(guest, _json({"WebSocketOpen": event}))


def _push(guest: Guest, operation: list[Any]) -> Ok:
    _, _, channel_id, message_type, payload = operation
    guest.set_blob(None, payload)
    guest.current_request = 0
    body = b'{"WebSocketPush":{"channel_id":%d,"message_type":"%s"}}'
    return _event(guest, body % (channel_id, _TYPES[message_type].encode()))


def _close(guest: Guest, operation: list[Any]) -> Ok:
    """A close frame of the client comes as a push of its own, with the reason as blob, and the end after it."""
    channel_id = operation[2]
    if len(operation) > _WITH_REASON:
        guest.closed_channel = channel_id
        return _push(guest, [*operation[:3], _CLOSE_FRAME, operation[_WITH_REASON]])
    return closed(guest, channel_id)


def closed(guest: Guest, channel_id: int) -> Ok:
    """What a guest receives of the end of a channel."""
    guest.closed_channel = 0
    guest.set_blob(None, None)
    guest.current_request = 0
    return _event(guest, b'{"WebSocketClose":%d}' % channel_id)


def _http(guest: Guest, operation: list[Any]) -> Ok:
    (_, _, http_id, method, url, bound_path, headers, url_params, query_params, source_addr, mime, body) = (
        operation
    )
    guest.set_blob(mime, body)
    guest.expect_http_answer(http_id)
    event = {
        "source_socket_addr": source_addr,
        "method": method,
        "url": _bare_url(url),
        "bound_path": f"/{guest.our.process}{bound_path}".rstrip("/"),
        "headers": _joined(headers),
        "url_params": dict(url_params),
        "query_params": dict(query_params),
    }
    return _event(guest, _json({"Http": event}), HTTP_SECONDS)


def _request(guest: Guest, operation: list[Any]) -> Ok:
    (_, _, request_id, source, body, inherit, expects_response, metadata, mime, blob, *rights) = operation
    guest.set_blob(mime, blob)
    guest.expect_answer(request_id)
    request = request_value(body, inherit, expects_response, metadata, *rights)
    return Ok((spelled(guest, source), ("request", request)))


def _response(guest: Guest, operation: list[Any]) -> Ok:
    (_, _, source, body, inherit, metadata, context, mime, blob, _, *rights) = operation
    guest.set_blob(mime, blob)
    guest.current_request = 0
    node, _, process = source.partition("@")
    if node == guest.node:
        older = guest.spellings.get(_HTTP_SERVER, "").startswith(_OLDER_NAME)
        body = known_error(process, body, older=older)
    response = response_value(body, inherit, metadata, *rights)
    return Ok((spelled(guest, source), ("response", (response, context))))


def _send_failure(guest: Guest, operation: list[Any]) -> Err:
    guest.set_blob(None, None)
    guest.current_request = 0
    return Err((_send_error(guest, operation), operation[8]))


def _awaited_failure(guest: Guest, operation: list[Any]) -> Err:
    return Err(_send_error(guest, operation))


def _send_error(guest: Guest, operation: list[Any]) -> dict[str, Any]:
    """What is not `offline` is `timeout`, which the interface says of whatever fails on one's own node."""
    (_, _, kind, target, body, inherit, expects_response, metadata, _, mime, blob, _, *last) = operation
    return {
        "kind": kind if kind == "offline" else "timeout",
        "target": address_value(target),
        "message": ("request", request_value(body, inherit, expects_response, metadata, *last[:1])),
        "lazy-load-blob": None if blob is None else {"mime": mime, "bytes": blob},
    }


def _bare_url(url: str) -> str:
    """A URL as the reference writes it: without port, query and the slash at its end. Libraries compare its path with
    what was bound.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{parts.path.rstrip('/')}"


def _joined(headers: list[Any]) -> dict[str, str]:
    """Headers as an object; those of one name are joined as RFC 9110, section 5.3, and RFC 6265 join them."""
    joined: dict[str, str] = {}
    for name, value in headers:
        if name in joined:
            value = joined[name] + ("; " if name.lower() == "cookie" else ", ") + value
        joined[name] = value
    return joined


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


STANDARD: Final = Dialect(
    received={
        ToWorker.OPEN: _open,
        ToWorker.PUSH: _push,
        ToWorker.CLOSE: _close,
        ToWorker.HTTP: _http,
        ToWorker.REQUEST: _request,
        ToWorker.RESPONSE: _response,
        ToWorker.SEND_FAILURE: _send_failure,
    },
    awaited={ToWorker.RESPONSE: _response, ToWorker.SEND_FAILURE: _awaited_failure},
)
"""The form of `process/standard`."""
