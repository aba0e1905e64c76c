"""Requests with a JSON body to `http-server:distro:sys`, as the fake host carries them out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from guesthouse_sdk._native import http_server, types
from guesthouse_sdk._native.http_server import HttpBinding, PushError, WsBinding
from guesthouse_sdk._native.types import Err, WsMessageType
from guesthouse_sdk.testing._bindings import Bindings
from guesthouse_sdk.testing._channels import ChannelTable

_PUSH_ERRORS: Final = {
    PushError.CHANNEL_NOT_FOUND: "WsChannelNotFound",
    PushError.CHANNEL_FULL: "WsChannelFull",
    PushError.PING_PONG_TOO_LONG: "WsPingPongTooLong",
    PushError.NOT_UTF8: "WsTextNotUtf8",
    PushError.TOO_BIG: "WsMessageTooBig",
    PushError.BAD_CLOSE: "WsBadClose",
}
_BIND_ERRORS: Final = {
    http_server.BindError_BadPath: "BadPath",
    http_server.BindError_TooMany: "TooManyBindings",
    http_server.BindError_NoSubdomain: "NoSubdomain",
    http_server.BindError_BadSubprotocol: "BadSubprotocol",
    http_server.BindError_NoUi: "NoUi",
}


class JsonRequests:
    """The JSON form of the HTTP server. `carry_out` returns the body of the response."""

    def __init__(self, channels: ChannelTable, ws: Bindings[WsBinding], http: Bindings[HttpBinding]) -> None:
        self._channels = channels
        self._ws = ws
        self._http = http
        self.watched = False
        """Whether the run of the process is told who is away."""
        self._calls: dict[str, Callable[[Any, types.LazyLoadBlob | None], str | None]] = {
            "WebSocketPush": self._push,
            "WebSocketClose": self._close,
            "WebSocketBind": self._bind_ws,
            "WebSocketUnbind": self._unbind_ws,
            "Bind": self._bind_http,
            "Unbind": self._unbind_http,
        }

    def carry_out(self, body: bytes, blob: types.LazyLoadBlob | None) -> bytes:
        """Do what the body says; returns `{"Ok": …}` or `{"Err": …}`."""
        try:
            ((name, argument),) = json.loads(body).items()
            if name == "WebSocketPresence":
                self.watched = argument.get("wanted", True) is True
                away = [
                    channel.id for channel in self._channels.all.values() if channel.open and channel.away
                ]
                return json.dumps({"Ok": away}).encode()
            error = self._calls[name](argument, blob)
        except (ValueError, KeyError, TypeError, AttributeError):
            error = "MalformedRequest"
        except Err as refused:
            error = _BIND_ERRORS[type(refused.value)]
        return json.dumps({"Ok": None} if error is None else {"Err": error}).encode()

    def _push(self, argument: Any, blob: types.LazyLoadBlob | None) -> str | None:
        message_type = WsMessageType[argument["message_type"].upper()]
        if blob is None:
            return "NoBlob"
        refused = self._channels.push(argument["channel_id"], message_type, blob.bytes)
        return None if refused is None else _PUSH_ERRORS[refused]

    def _close(self, argument: Any, blob: types.LazyLoadBlob | None) -> str | None:
        if self._channels.find(argument) is None:
            return "WsChannelNotFound"
        self._channels.close(argument, None, "")
        return None

    def _bind_ws(self, argument: Any, blob: types.LazyLoadBlob | None) -> None:
        self._ws.bind(argument["path"], _ws_binding(argument))

    def _unbind_ws(self, argument: Any, blob: types.LazyLoadBlob | None) -> None:
        self._ws.unbind(argument["path"])

    def _bind_http(self, argument: Any, blob: types.LazyLoadBlob | None) -> None:
        binding = HttpBinding(
            _authenticated(argument),
            bool(argument.get("local_only")),
            bool(argument.get("secure")),
            argument.get("response_seconds"),
        )
        self._http.bind(argument["path"], binding)

    def _unbind_http(self, argument: Any, blob: types.LazyLoadBlob | None) -> None:
        self._http.unbind(argument["path"])


def _ws_binding(argument: Any) -> WsBinding:
    secure, extension = bool(argument.get("secure")), bool(argument.get("extension"))
    return WsBinding(_authenticated(argument), secure, extension, argument.get("subprotocols") or [])


def _authenticated(argument: Any) -> bool:
    """Unless it is denied."""
    return argument.get("authenticated") is not False
