"""Errors for what the HTTP server refuses."""

from __future__ import annotations

from typing import Final

from guesthouse_sdk import _wit
from guesthouse_sdk.capabilities import capability_from_wit
from guesthouse_sdk.errors import (
    BadClose,
    BadCloseCode,
    BadPath,
    BadSubprotocol,
    BindError,
    BindNotAuthorised,
    ChannelFull,
    ChannelNotFound,
    CloseError,
    CloseReasonTooLong,
    MessageTooBig,
    NodeUnreachable,
    NoSubdomain,
    NotUtf8,
    NoUi,
    PingPongTooLong,
    PushError,
    TooManyBindings,
)

_RawPushError = _wit.http_server.PushError
_RawCloseError = _wit.http_server.CloseError

_PUSH_ERRORS: Final[dict[_RawPushError, tuple[type[PushError], str]]] = {
    _RawPushError.CHANNEL_NOT_FOUND: (ChannelNotFound, "there is none, or it is not this process's"),
    _RawPushError.CHANNEL_FULL: (ChannelFull, "its client reads too slowly: wait, drop or close"),
    _RawPushError.PING_PONG_TOO_LONG: (PingPongTooLong, "a ping, pong or close carries at most 125 bytes"),
    _RawPushError.NOT_UTF8: (NotUtf8, "a text message must be UTF-8"),
    _RawPushError.TOO_BIG: (MessageTooBig, "the message is larger than the node allows"),
    _RawPushError.NODE_UNREACHABLE: (NodeUnreachable, "the node named cannot be reached from here"),
    _RawPushError.BAD_CLOSE: (BadClose, "a close carries nothing, or a code that may be sent and text"),
}
_BIND_ERRORS: Final[dict[type[_wit.http_server.BindError], tuple[type[BindError], str]]] = {
    _wit.http_server.BindError_BadPath: (
        BadPath,
        "write an absolute path without empty, '.' or '..' segments",
    ),
    _wit.http_server.BindError_TooMany: (
        TooManyBindings,
        "the process has as many bindings as the node allows",
    ),
    _wit.http_server.BindError_NoSubdomain: (
        NoSubdomain,
        "rename the package so that it has a sub-domain of its own",
    ),
    _wit.http_server.BindError_BadSubprotocol: (
        BadSubprotocol,
        "a subprotocol is a word without spaces; give 16 at most",
    ),
    _wit.http_server.BindError_NoUi: (NoUi, "give `ui` in package.toml"),
    _wit.http_server.BindError_NotAuthorised: (BindNotAuthorised, "this process may not use the HTTP server"),
}
_CLOSE_ERRORS: Final[dict[_RawCloseError, tuple[type[CloseError], str]]] = {
    _RawCloseError.CHANNEL_NOT_FOUND: (ChannelNotFound, "there is none, or it is not this process's"),
    _RawCloseError.BAD_CODE: (BadCloseCode, "give 1000 to 1003, 1007 to 1014, or 3000 to 4999"),
    _RawCloseError.REASON_TOO_LONG: (CloseReasonTooLong, "the reason may have at most 123 bytes"),
}


def push_error(channel_id: int, raw: _RawPushError) -> PushError:
    """The error for a refused push."""
    error, remedy = _PUSH_ERRORS[raw]
    return error(channel_id, f"channel {channel_id} got no message: {remedy}")


def close_error(channel_id: int, raw: _RawCloseError) -> CloseError:
    """The error for a channel that was not closed."""
    error, remedy = _CLOSE_ERRORS[raw]
    return error(channel_id, f"channel {channel_id} was not closed: {remedy}")


def bind_error(path: str, raw: _wit.http_server.BindError) -> BindError:
    """The error for a path that was not bound."""
    kind, remedy = _BIND_ERRORS[type(raw)]
    error = kind(path, f"{path!r} was not bound: {remedy}")
    if isinstance(error, BindNotAuthorised) and isinstance(raw, _wit.http_server.BindError_NotAuthorised):
        error.missing = capability_from_wit(raw.value)
    return error
