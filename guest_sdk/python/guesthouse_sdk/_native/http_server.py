"""The values and calls of `wit/http-server.wit`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from guesthouse_sdk._native import types
from guesthouse_sdk._native.running import host


class PushError(Enum):
    CHANNEL_NOT_FOUND = 0
    CHANNEL_FULL = 1
    PING_PONG_TOO_LONG = 2
    NOT_UTF8 = 3
    TOO_BIG = 4
    NODE_UNREACHABLE = 5


@dataclass
class WsBinding:
    authenticated: bool


@dataclass
class HttpBinding:
    authenticated: bool
    local_only: bool


class BindError(Enum):
    BAD_PATH = 0
    TOO_MANY = 1


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


def close_channel(channel_id: int, code: int | None, reason: str) -> None:
    host().close_channel(channel_id, code, reason)


def bind_ws_path(path: str, binding: WsBinding) -> None:
    host().bind_ws_path(path, binding)


def unbind_ws_path(path: str) -> None:
    host().unbind_ws_path(path)


def bind_http_path(path: str, binding: HttpBinding) -> None:
    host().bind_http_path(path, binding)


def bind_http_static_path(path: str, binding: HttpBinding, content: types.LazyLoadBlob) -> None:
    host().bind_http_static_path(path, binding, content)


def unbind_http_path(path: str) -> None:
    host().unbind_http_path(path)


def send_http_response(status: int, headers: list[tuple[str, str]], body: types.LazyLoadBlob | None) -> None:
    host().send_http_response(status, headers, body)
