"""`guesthouse:process/http-server`: pushing to channels, closing them, binding paths.

Capability: to bind, `"messaging"` of `http-server:distro:sys`, which the node checks; to push, owning the channel.
Errors: as the contract's; a refused push reached nobody.
Traps: nothing.
Blocks: binding, unbinding and setting a policy, until the node has done it; a push that waits for room; a push to an
extension.
"""

from __future__ import annotations

import json
from typing import Any, Final

from msgspec.structs import replace

from guesthouse.core.address import HTTP_SERVER
from guesthouse.core.messages import WsMessageType
from guesthouse.link.calls import AwaitRoom, BindHttpPath
from guesthouse.link.credit import PUSH_OVERHEAD, push_cost
from guesthouse.link.lane import LEAST
from guesthouse.link.schema import MOST_CHANNELS
from guesthouse.link.to_node import CloseChannel, Push, PushMany, Send
from guesthouse.wasm.engine.host_functions import Beyond, HostFunction
from guesthouse.wasm.values import OK, Err, check_utf8
from guesthouse.worker.calls import by_node, extension_push
from guesthouse.worker.calls.http_response import answer_http
from guesthouse.worker.calls.limits import message_bytes, operation_bytes
from guesthouse.worker.capability_errors import as_result
from guesthouse.worker.guest import Answerable, Guest

INTERFACE: Final = "guesthouse:process/http-server"
MAX_CONTROL_PAYLOAD: Final = 125
"""Bytes in a ping, pong or close (RFC 6455, section 5.5)."""
_MAX_REASON: Final = 123
_NORMAL_CLOSURE: Final = 1000
_TYPES: Final = {kind.name.lower(): int(kind) for kind in WsMessageType}
_TEXT: Final = int(WsMessageType.TEXT)
_CLOSE: Final = int(WsMessageType.CLOSE)
_ONLY_INTEGERS: Final = {int}

_NOT_FOUND: Final = Err("channel-not-found")
_FULL: Final = Err("channel-full")
_TOO_BIG: Final = Err("too-big")
_NOT_UTF8: Final = Err("not-utf8")
_CONTROL_TOO_LONG: Final = Err("ping-pong-too-long")
_UNREACHABLE: Final = Err("node-unreachable")
_BAD_CLOSE: Final = Err("bad-close")


def send_ws_push(guest: Guest, node: str, channel_id: int, message_type: str, blob: dict[str, Any]) -> Any:
    """Push a message of any type to one channel."""
    kind, payload = _TYPES[message_type], blob["bytes"]
    refusal = _unfit(guest, kind, payload)
    if node != guest.node:
        return refusal or _push_afar(guest, node, channel_id, kind, bytes(payload))
    return refusal if refusal is not None else _push(guest, channel_id, kind, payload)


def send_ws_text(guest: Guest, channel_id: int, text: bytes | memoryview) -> Any:
    """Push a text message to one channel; `text` is UTF-8."""
    if len(text) > guest.limits.message_bytes:
        return _TOO_BIG
    return _push(guest, channel_id, _TEXT, text)


def send_ws_push_many(guest: Guest, channel_ids: list[int], message_type: str, blob: dict[str, Any]) -> Any:
    """Push one message of any type to many channels."""
    kind, payload = _TYPES[message_type], blob["bytes"]
    refusal = _unfit(guest, kind, payload)
    if refusal is not None:
        return [(channel_id, refusal.value) for channel_id in channel_ids]
    return _push_many(guest, channel_ids, kind, payload)


def send_ws_text_many(guest: Guest, channel_ids: list[int], text: bytes) -> Any:
    """Push one text message to many channels; `text` is UTF-8."""
    if len(text) > guest.limits.message_bytes:
        return [(channel_id, _TOO_BIG.value) for channel_id in channel_ids]
    return _push_many(guest, channel_ids, _TEXT, text)


def send_ws_push_to_path(guest: Guest, path: str, message_type: str, blob: dict[str, Any]) -> Any:
    """Push one message of any type to all channels of a path."""
    return send_ws_push_many(guest, _channels_on(guest, path), message_type, blob)


def send_ws_text_to_path(guest: Guest, path: str, text: str) -> Any:
    """Push one text message to all channels of a path."""
    return send_ws_text_many(guest, _channels_on(guest, path), text.encode())


def send_ws_push_waiting(guest: Guest, channel_id: int, message_type: str, blob: dict[str, Any]) -> Any:
    """Push to one channel; under the policy `wait`, once its outbox has room."""
    pushed = send_ws_push(guest, guest.node, channel_id, message_type, blob)
    if pushed is not _FULL:
        return pushed
    kind, payload = _TYPES[message_type], blob["bytes"]

    def push_then(refusal: Any) -> Any:
        return _push(guest, channel_id, kind, payload) if refusal is None else Err(refusal)

    return guest.call_node(AwaitRoom(channel_id, len(payload)), push_then)


def send_ws_extension_push(
    guest: Guest, channel_id: int, blob: dict[str, Any], response_seconds: int | None
) -> Any:
    """Push to an extension, optionally waiting for its answer, by the equivalent JSON request."""
    return extension_push.send(guest, channel_id, blob, response_seconds)


def close_channel(guest: Guest, channel_id: int, code: int | None, reason: str) -> Any:
    """Close a channel of this process."""
    refused = close_channels(guest, [channel_id], code, reason)
    return Err(refused[0][1]) if refused else OK


def close_channels(
    guest: Guest, channel_ids: list[int], code: int | None, reason: str
) -> list[tuple[int, str]]:
    """Close many channels of this process."""
    if not set(map(type, channel_ids)) <= _ONLY_INTEGERS or type(reason) is not str:
        raise TypeError("channels are closed by their ids, with a text")
    code = _NORMAL_CLOSURE if code is None else code
    error = _close_error(code, reason)
    refused: list[tuple[int, str]] = []
    for channel_id in channel_ids:
        if channel_id not in guest.channels:
            refused.append((channel_id, "channel-not-found"))
        elif error is not None:
            refused.append((channel_id, error))
        else:
            guest.outgoing.add(CloseChannel(guest.handle, channel_id, code, reason))
            del guest.channels[channel_id]
            guest.paths.pop(channel_id, None)
            guest.claims.pop(channel_id, None)
    return refused


def bind_http_static_path(guest: Guest, path: str, binding: dict[str, Any], content: dict[str, Any]) -> Any:
    """Serve fixed content on a path of the process: `bind-http-path` with content."""
    call = by_node.made(BindHttpPath, {"path": path, **binding})
    return guest.call_node(replace(call, mime=content["mime"], content=content["bytes"]), as_result)


def send_http_response(
    guest: Guest, status: int, headers: list[tuple[str, str]], body: dict[str, Any] | None
) -> None:
    """Answer the HTTP request received last."""
    if guest.answerable is not Answerable.HTTP:
        guest.log.line("host", "warning", "an HTTP response was dropped: no HTTP request is waiting for one")
        return
    _, http_id = guest.take_answerable()
    mime, payload = (None, b"") if body is None else (body["mime"], body["bytes"])
    answer_http(guest, http_id, status, headers, mime, payload)


def channel_claims(guest: Guest, channel_id: int) -> str | None:
    """The custom claims of the token with which a channel was opened."""
    return guest.claims.get(channel_id)


def http_request_claims(guest: Guest) -> str | None:
    """The same of the HTTP request received last."""
    return guest.http_claims


def _unfit(guest: Guest, kind: int, payload: bytes | memoryview) -> Err | None:
    """Why a payload cannot be a message of that kind, or None."""
    if kind >= WsMessageType.PING:
        if len(payload) > MAX_CONTROL_PAYLOAD:
            return _CONTROL_TOO_LONG
        return _BAD_CLOSE if kind == _CLOSE and payload and not _is_close(bytes(payload)) else None
    if len(payload) > guest.limits.message_bytes:
        return _TOO_BIG
    if kind == _TEXT:
        try:
            check_utf8(payload)
        except UnicodeDecodeError:
            return _NOT_UTF8
    return None


def _push(guest: Guest, channel_id: int, kind: int, payload: bytes | memoryview) -> Any:
    """Push a payload, which may be a view of the guest's memory: it is copied before the guest runs on."""
    channels, size = guest.channels, len(payload)
    try:
        left = channels[channel_id] - size - PUSH_OVERHEAD  # `push_cost`, without a call
    except KeyError:
        return _NOT_FOUND
    if left < 0:
        return _FULL
    if type(channel_id) is not int or (type(payload) is not bytes and type(payload) is not memoryview):
        raise TypeError("a push takes a channel id and bytes")
    channels[channel_id] = left
    guest.outgoing.add(Push(guest.handle, channel_id, kind, payload), size)  # type: ignore[arg-type] # see `add`
    return OK


def _push_afar(guest: Guest, node: str, channel_id: int, kind: int, payload: bytes) -> Any:
    """A push to another node is a request to its HTTP server, which checks the capability."""
    if not guest.connected:
        return _UNREACHABLE
    push = {"channel_id": channel_id, "message_type": WsMessageType(kind).json_name}
    body = json.dumps({"WebSocketPush": push}, separators=(",", ":")).encode()
    target = f"{node}@{HTTP_SERVER}"
    guest.tell(Send(guest.handle, target, body, blob=payload))
    return OK


def _push_many(guest: Guest, channel_ids: list[int], kind: int, payload: bytes) -> list[tuple[int, str]]:
    if not set(map(type, channel_ids)) <= _ONLY_INTEGERS or type(payload) is not bytes:
        raise TypeError("a push to many takes channel ids and bytes")
    channels, cost = guest.channels, push_cost(len(payload))
    refused: list[tuple[int, str]] = []
    accepted: list[int] = []
    for channel_id in channel_ids:
        left = channels.get(channel_id, -1)
        if left < cost:
            refused.append((channel_id, "channel-full" if channel_id in channels else "channel-not-found"))
        else:
            channels[channel_id] = left - cost
            accepted.append(channel_id)
    for start in range(0, len(accepted), MOST_CHANNELS):
        some = accepted[start : start + MOST_CHANNELS]
        guest.outgoing.add(PushMany(guest.handle, some, kind, payload), len(payload) + 4 * len(some))
    return refused


def _is_close(payload: bytes) -> bool:
    """Whether it is a valid close payload (RFC 6455, section 5.5.1)."""
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return False
    return len(payload) >= 2 and _may_be_sent(int.from_bytes(payload[:2], "big"))


def _close_error(code: int, reason: str) -> str | None:
    if not _may_be_sent(code):
        return "bad-code"
    return "reason-too-long" if len(reason.encode()) > _MAX_REASON else None


def _may_be_sent(code: int) -> bool:
    """Whether an endpoint may send the close code (RFC 6455, section 7.4)."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


def _channels_on(guest: Guest, path: str) -> list[int]:
    return [channel_id for channel_id, paths in guest.paths.items() if path in paths]


CALLS: Final = {
    **by_node.functions(INTERFACE),
    "send-ws-push": HostFunction(
        send_ws_push, most=message_bytes, beyond=Beyond.MARK, views_from=LEAST + 1, frequent=True
    ),
    "send-ws-text": HostFunction(
        send_ws_text, utf8=True, most=message_bytes, beyond=Beyond.MARK, views_from=LEAST + 1, frequent=True
    ),
    "send-ws-push-many": HostFunction(send_ws_push_many, most=message_bytes, beyond=Beyond.MARK),
    "send-ws-text-many": HostFunction(send_ws_text_many, utf8=True, most=message_bytes, beyond=Beyond.MARK),
    "send-ws-push-to-path": HostFunction(send_ws_push_to_path, most=message_bytes, beyond=Beyond.MARK),
    "send-ws-text-to-path": HostFunction(send_ws_text_to_path, most=message_bytes, beyond=Beyond.MARK),
    "send-ws-push-waiting": HostFunction(
        send_ws_push_waiting, blocks=True, most=message_bytes, beyond=Beyond.MARK
    ),
    "send-ws-extension-push": HostFunction(
        send_ws_extension_push, blocks=True, most=message_bytes, beyond=Beyond.MARK
    ),
    "close-channel": HostFunction(close_channel),
    "close-channels": HostFunction(close_channels),
    "channel-claims": HostFunction(channel_claims),
    "http-request-claims": HostFunction(http_request_claims),
    "bind-http-static-path": HostFunction(bind_http_static_path, blocks=True, most=operation_bytes),
    "send-http-response": HostFunction(send_http_response, most=operation_bytes),
}
