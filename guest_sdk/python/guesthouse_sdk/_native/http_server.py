"""The values and calls of `wit/http-server.wit`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from guesthouse_sdk._native import types
from guesthouse_sdk._native.running import host


class PushError(Enum):
    CHANNEL_NOT_FOUND = 0
    CHANNEL_FULL = 1
    PING_PONG_TOO_LONG = 2
    NOT_UTF8 = 3
    TOO_BIG = 4
    NODE_UNREACHABLE = 5
    BAD_CLOSE = 6


@dataclass
class WsBinding:
    authenticated: bool
    secure: bool
    extension: bool
    subprotocols: list[str]


@dataclass
class HttpBinding:
    authenticated: bool
    local_only: bool
    secure: bool
    response_seconds: int | None


@dataclass
class BindError_BadPath:  # noqa: N801 - the bindings' spelling
    pass


@dataclass
class BindError_TooMany:  # noqa: N801 - the bindings' spelling
    pass


@dataclass
class BindError_NoSubdomain:  # noqa: N801 - the bindings' spelling
    pass


@dataclass
class BindError_BadSubprotocol:  # noqa: N801 - the bindings' spelling
    pass


@dataclass
class BindError_NoUi:  # noqa: N801 - the bindings' spelling
    pass


@dataclass
class BindError_NotAuthorised:  # noqa: N801 - the bindings' spelling
    value: types.Capability


BindError: TypeAlias = (
    BindError_BadPath
    | BindError_TooMany
    | BindError_NoSubdomain
    | BindError_BadSubprotocol
    | BindError_NoUi
    | BindError_NotAuthorised
)


class ChannelPolicy(Enum):
    REFUSE = 0
    WAIT = 1
    DROP_OLDEST = 2
    CLOSE = 3


class CloseError(Enum):
    CHANNEL_NOT_FOUND = 0
    BAD_CODE = 1
    REASON_TOO_LONG = 2


def send_ws_push(
    node: str, channel_id: int, message_type: types.WsMessageType, blob: types.LazyLoadBlob
) -> None:
    host().send_ws_push(node, channel_id, message_type, blob)


def send_ws_text(channel_id: int, text: str) -> None:
    host().send_ws_text(channel_id, text)


def send_ws_push_many(
    channel_ids: list[int], message_type: types.WsMessageType, blob: types.LazyLoadBlob
) -> list[tuple[int, PushError]]:
    return host().send_ws_push_many(channel_ids, message_type, blob)


def send_ws_text_many(channel_ids: list[int], text: str) -> list[tuple[int, PushError]]:
    return host().send_ws_text_many(channel_ids, text)


def send_ws_push_to_path(
    path: str, message_type: types.WsMessageType, blob: types.LazyLoadBlob
) -> list[tuple[int, PushError]]:
    return host().send_ws_push_to_path(path, message_type, blob)


def send_ws_text_to_path(path: str, text: str) -> list[tuple[int, PushError]]:
    return host().send_ws_text_to_path(path, text)


def send_ws_push_waiting(
    channel_id: int, message_type: types.WsMessageType, blob: types.LazyLoadBlob
) -> None:
    host().send_ws_push_waiting(channel_id, message_type, blob)


def send_ws_extension_push(
    channel_id: int, blob: types.LazyLoadBlob, response_seconds: int | None
) -> types.LazyLoadBlob | None:
    return host().send_ws_extension_push(channel_id, blob, response_seconds)


def set_channel_policy(channel_id: int, policy: ChannelPolicy) -> None:
    host().set_channel_policy(channel_id, policy)


def close_channel(channel_id: int, code: int | None, reason: str) -> None:
    host().close_channel(channel_id, code, reason)


def close_channels(channel_ids: list[int], code: int | None, reason: str) -> list[tuple[int, CloseError]]:
    return host().close_channels(channel_ids, code, reason)


def channel_claims(channel_id: int) -> str | None:
    return host().channel_claims(channel_id)


def http_request_claims() -> str | None:
    return host().http_request_claims()


def bind_ws_path(path: str, binding: WsBinding) -> None:
    host().bind_ws_path(path, binding)


def unbind_ws_path(path: str) -> None:
    host().unbind_ws_path(path)


def bind_http_path(path: str, binding: HttpBinding) -> None:
    host().bind_http_path(path, binding)


def bind_http_static_path(path: str, binding: HttpBinding, content: types.LazyLoadBlob) -> None:
    host().bind_http_static_path(path, binding, content)


def serve_ui(path: str, binding: HttpBinding) -> None:
    host().serve_ui(path, binding)


def unbind_http_path(path: str) -> None:
    host().unbind_http_path(path)


def send_http_response(status: int, headers: list[tuple[str, str]], body: types.LazyLoadBlob | None) -> None:
    host().send_http_response(status, headers, body)
