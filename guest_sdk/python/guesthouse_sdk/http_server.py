"""Channels, paths and HTTP answers: the API of `http-server:distro:sys`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TypeAlias

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import (
    MAX_HEADERS,
    MAX_SUBPROTOCOLS,
    U16_MAX,
    U32_MAX,
    checked_int,
    checked_list,
    checked_text,
    in_parts,
)
from guesthouse_sdk._closing import closing
from guesthouse_sdk._refusals import bind_error, close_error, push_error
from guesthouse_sdk._wit import Err, refusal
from guesthouse_sdk.errors import ChannelNotFound, CloseError, PushError
from guesthouse_sdk.message import (
    LazyLoadBlob,
    WsMessageType,
    blob_from_wit,
    blob_to_wit,
    message_type_to_wit,
    text_of,
)
from guesthouse_sdk.system import our

_RawPolicy = _wit.http_server.ChannelPolicy
_RawCloseError = _wit.http_server.CloseError
_REASON = "the reason for closing a channel"

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]


class ChannelPolicy(Enum):
    """What happens to a push when the outbox of its channel is full."""

    REFUSE = _RawPolicy.REFUSE
    """`ChannelFull` is raised. The default."""
    WAIT = _RawPolicy.WAIT
    """`send_ws_push_waiting` waits for room; other pushes are refused."""
    DROP_OLDEST = _RawPolicy.DROP_OLDEST
    """The oldest messages are dropped to make room."""
    CLOSE = _RawPolicy.CLOSE
    """The channel is closed with 1013."""


def send_ws_push(node: str, channel_id: int, message_type: WsMessageType, blob: LazyLoadBlob) -> None:
    """Push a message to a channel of this process.

    Args:
        node: the channel's node, usually `our.node`.
        channel_id: the channel, from its `WebSocketOpen`.
        message_type: usually `WsMessageType.Text` or `WsMessageType.Binary`. A Close closes the channel
            with the code and reason in the payload (RFC 6455, section 5.5.1).
        blob: the payload.

    Raises:
        PushError: the message reached nobody; the subclass says why.
    """
    try:
        if message_type is WsMessageType.Text and node == our().node:
            _wit.http_server.send_ws_text(_checked_id(channel_id), text_of(blob, channel_id))
        else:
            kind = message_type_to_wit(message_type)
            node = checked_text(node, "a node")
            _wit.http_server.send_ws_push(node, _checked_id(channel_id), kind, blob_to_wit(blob))
            if message_type is WsMessageType.Close and node == our().node:
                closing.keeper.closed(channel_id)
    except Err as failure:
        raise push_error(channel_id, refusal(failure)) from None


def send_ws_push_many(
    channel_ids: Iterable[int], message_type: WsMessageType, blob: LazyLoadBlob
) -> dict[int, PushError]:
    """Push one message to many channels on this node; the payload is passed to the host once.

    Returns:
        The channels that refused it, and why.

    Raises:
        NotUtf8: a text message is not UTF-8; it reached nobody.
    """
    channels = [_checked_id(channel_id) for channel_id in channel_ids]
    if not channels:
        return {}
    if message_type is WsMessageType.Text:
        text = text_of(blob, channels[0])
        return push_to_many(channels, lambda part: _wit.http_server.send_ws_text_many(part, text))
    kind, raw = message_type_to_wit(message_type), blob_to_wit(blob)
    refused = push_to_many(channels, lambda part: _wit.http_server.send_ws_push_many(part, kind, raw))
    if message_type is WsMessageType.Close:
        for channel_id in channels:
            if channel_id not in refused:
                closing.keeper.closed(channel_id)
    return refused


def send_ws_push_to_path(path: str, message_type: WsMessageType, blob: LazyLoadBlob) -> dict[int, PushError]:
    """`send_ws_push_many` to all open channels of a path, as bound or as requested.

    Returns:
        The channels that refused it, and why.
    """
    path = _checked_path(path)
    if message_type is WsMessageType.Text:
        refused = _wit.http_server.send_ws_text_to_path(path, text_of(blob, 0))
    else:
        kind = message_type_to_wit(message_type)
        refused = _wit.http_server.send_ws_push_to_path(path, kind, blob_to_wit(blob))
        if message_type is WsMessageType.Close:
            closing.keeper.closed_on(path, {channel_id for channel_id, _ in refused})
    return {channel_id: push_error(channel_id, reason) for channel_id, reason in refused}


def send_ws_push_waiting(channel_id: int, message_type: WsMessageType, blob: LazyLoadBlob) -> None:
    """Push a message to a channel on this node; under `ChannelPolicy.WAIT`, once its outbox has room. Other
    messages of the process wait meanwhile.

    Raises:
        PushError: the message reached nobody; `ChannelNotFound` also when the channel is closed meanwhile.
    """
    kind = message_type_to_wit(message_type)
    try:
        _wit.http_server.send_ws_push_waiting(_checked_id(channel_id), kind, blob_to_wit(blob))
        if message_type is WsMessageType.Close:
            closing.keeper.closed(channel_id)
    except Err as failure:
        raise push_error(channel_id, refusal(failure)) from None


def send_ws_extension_push(
    channel_id: int, blob: LazyLoadBlob, response_seconds: int | None = None
) -> LazyLoadBlob | None:
    """Push a message in the extension framing to a channel that an extension opened.

    Args:
        channel_id: the channel, on a path bound with `extension=True`.
        blob: the payload.
        response_seconds: how long to wait for the extension's answer; None not to wait. Any answer
            then arrives at `on_request`.

    Returns:
        The answer; None when it did not come in time, or was not expected.

    Raises:
        PushError: the message reached nobody; the subclass says why.
    """
    if response_seconds is not None:
        checked_int(response_seconds, "the seconds for a response", 1, U32_MAX)
    try:
        answer = _wit.http_server.send_ws_extension_push(
            _checked_id(channel_id), blob_to_wit(blob), response_seconds
        )
    except Err as failure:
        raise push_error(channel_id, refusal(failure)) from None
    return blob_from_wit(answer)


def set_channel_policy(channel_id: int, policy: ChannelPolicy) -> None:
    """Set what happens to pushes to a channel when its outbox is full, for this run of the
    process.

    Raises:
        ChannelNotFound: there is none, or it is not this process's.
    """
    try:
        _wit.http_server.set_channel_policy(_checked_id(channel_id), policy.value)
    except Err as failure:
        raise push_error(channel_id, refusal(failure)) from None


def close_channel(channel_id: int, code: int | None = None, reason: str = "") -> None:
    """Close a channel of this process. No `WebSocketClose` follows; a `Process` forgets the channel.

    Raises:
        CloseError: it was not closed; the subclass says why.
    """
    if code is not None and not 0 <= code <= U16_MAX:
        raise close_error(channel_id, _RawCloseError.BAD_CODE)
    try:
        _wit.http_server.close_channel(_checked_id(channel_id), code, checked_text(reason, _REASON))
    except Err as failure:
        raise close_error(channel_id, refusal(failure)) from None
    closing.keeper.closed(channel_id)


def close_channels(
    channel_ids: Iterable[int], code: int | None = None, reason: str = ""
) -> dict[int, CloseError]:
    """Close many channels of this process as `close_channel` does.

    Returns:
        The channels that were not closed, and why.
    """
    channels, text = [_checked_id(channel_id) for channel_id in channel_ids], checked_text(reason, _REASON)
    if code is not None and not 0 <= code <= U16_MAX:
        return {channel_id: close_error(channel_id, _RawCloseError.BAD_CODE) for channel_id in channels}
    refused = {
        channel_id: close_error(channel_id, raw)
        for part in in_parts(list(dict.fromkeys(channels)))
        for channel_id, raw in _wit.http_server.close_channels(part, code, text)
    }
    for channel_id in channels:
        if channel_id not in refused:
            closing.keeper.closed(channel_id)
    return refused


def bind_ws_path(
    path: str,
    *,
    authenticated: bool = True,
    secure: bool = False,
    extension: bool = False,
    subprotocols: Iterable[str] = (),
) -> None:
    """Accept WebSockets on `/<process-id><path>`.

    Args:
        path: such as `/`, `/rooms/:room` or `/files/*path`; the values of `:room` (one segment) and `*path` (the
            rest, at least one) are in `url_params`.
        authenticated: only clients with the node's auth cookie may open it.
        secure: only on the package's own host, for clients who logged in for it.
        extension: for native programs on the node's machine, which may use the extension framing.
        subprotocols: the supported ones, in order of preference.

    Raises:
        BindError: it was not bound; the subclass says why.
    """
    spoken = checked_list(
        (checked_text(name, "a subprotocol") for name in subprotocols), "subprotocols", MAX_SUBPROTOCOLS
    )
    binding = _wit.http_server.WsBinding(bool(authenticated), bool(secure), bool(extension), spoken)
    try:
        _wit.http_server.bind_ws_path(_checked_path(path), binding)
    except Err as failure:
        raise bind_error(path, refusal(failure)) from None


def unbind_ws_path(path: str) -> None:
    """Stop accepting WebSockets on the path; its open channels are closed with 1001."""
    _wit.http_server.unbind_ws_path(_checked_path(path))


def bind_http_path(
    path: str,
    *,
    authenticated: bool = True,
    local_only: bool = False,
    secure: bool = False,
    response_seconds: int | None = None,
) -> None:
    """Get the HTTP requests to `/<process-id><path>`.

    Args:
        path: as for `bind_ws_path`.
        authenticated: only clients with the node's auth cookie may ask.
        local_only: only from the node's own machine, with the secret of the node's home or a login.
        secure: only on the package's own host, for clients who logged in for it.
        response_seconds: for the process to answer; None for the node's default.

    Raises:
        BindError: it was not bound; the subclass says why.
    """
    try:
        _wit.http_server.bind_http_path(
            _checked_path(path), _http_binding(authenticated, local_only, secure, response_seconds)
        )
    except Err as failure:
        raise bind_error(path, refusal(failure)) from None


def bind_http_static_path(
    path: str,
    content: LazyLoadBlob,
    *,
    authenticated: bool = True,
    local_only: bool = False,
    secure: bool = False,
) -> None:
    """Let the host serve this content on `/<process-id><path>`, without asking the process.

    Raises:
        BindError: it was not bound; the subclass says why.
    """
    binding = _http_binding(authenticated, local_only, secure)
    try:
        _wit.http_server.bind_http_static_path(_checked_path(path), binding, blob_to_wit(content))
    except Err as failure:
        raise bind_error(path, refusal(failure)) from None


def serve_ui(
    path: str = "/", *, authenticated: bool = True, local_only: bool = False, secure: bool = False
) -> None:
    """Let the host serve the files of the package's `ui` folder under `/<process-id><path>`.

    Raises:
        BindError: it was not bound; the subclass says why.
    """
    binding = _http_binding(authenticated, local_only, secure)
    try:
        _wit.http_server.serve_ui(_checked_path(path), binding)
    except Err as failure:
        raise bind_error(path, refusal(failure)) from None


def unbind_http_path(path: str) -> None:
    """Stop serving the path."""
    _wit.http_server.unbind_http_path(_checked_path(path))


def send_http_response(
    status: int, headers: Headers = (), body: bytes | str = b"", mime: str | None = None
) -> None:
    """Answer the HTTP request received last.

    Args:
        status: such as 200.
        headers: names and values; pass pairs to repeat a name.
        body: the content; a str is sent as UTF-8.
        mime: the content type; for a str without one, `text/plain; charset=utf-8`.
    """
    checked_int(status, "an HTTP status", 100, 999)
    pairs = [
        (checked_text(name, "the name of a header"), checked_text(value, f"the header {name}"))
        for name, value in (headers.items() if isinstance(headers, Mapping) else headers)
    ]
    checked_list(pairs, "headers", MAX_HEADERS)
    if isinstance(body, str):
        blob = LazyLoadBlob.from_text(body, mime or "text/plain; charset=utf-8")
    else:
        blob = LazyLoadBlob(mime, body)
    has_content = bool(body) or mime is not None
    _wit.http_server.send_http_response(status, pairs, blob_to_wit(blob) if has_content else None)


def push_to_many(
    channels: list[int], push: Callable[[list[int]], list[tuple[int, _wit.http_server.PushError]]]
) -> dict[int, PushError]:
    """Push to any number of channels, in as many calls as needed.

    Returns:
        The channels that refused it, and why.
    """
    return {
        channel_id: push_error(channel_id, raw)
        for part in in_parts(channels)
        for channel_id, raw in push(part)
    }


def _http_binding(
    authenticated: bool, local_only: bool, secure: bool, response_seconds: int | None = None
) -> _wit.http_server.HttpBinding:
    if response_seconds is not None:
        checked_int(response_seconds, "the seconds for a response", 1, U32_MAX)
    return _wit.http_server.HttpBinding(bool(authenticated), bool(local_only), bool(secure), response_seconds)


def _checked_path(path: str) -> str:
    return checked_text(path, "a path")


def _checked_id(channel_id: int) -> int:
    if type(channel_id) is int and 0 <= channel_id <= U32_MAX:
        return channel_id
    if not isinstance(channel_id, int):
        raise TypeError(f"a channel id must be an int, not {type(channel_id).__name__}")
    raise ChannelNotFound(channel_id, f"channel {channel_id} does not exist: ids have 32 bits")
