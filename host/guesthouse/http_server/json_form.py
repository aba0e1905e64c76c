"""The JSON form of the protocol: a Request to `http-server:distro:sys` whose body names the action. Pure.

The body is one of `{"WebSocketPush": {...}}`, `{"WebSocketClose": 7}`, `{"Bind": {...}}` and so on; the
answer is `{"Ok": null}` or `{"Err": "<error>"}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from guesthouse.address import Address, ProcessId
from guesthouse.http_server.channels import MAX_CHANNEL_ID
from guesthouse.http_server.closes import NORMAL
from guesthouse.message import LazyLoadBlob, WsMessageType

_TYPES: Final = {message_type.json_name: int(message_type) for message_type in WsMessageType}
_CLOSE: Final = int(WsMessageType.CLOSE)
_BIND_ERRORS: Final = {"bad-path": "BadPath", "too-many": "TooManyBindings", "not-supported": "NotSupported"}


class JsonError(Exception):
    """The request is answered with `{"Err": <text>}`."""


_MALFORMED: Final = "MalformedRequest"


class Doer(Protocol):
    """What the requests are carried out by."""

    def push_unpaid(self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes) -> str | None:
        """Push; returns None or the error."""

    def bind_ws_path(
        self, owner: ProcessId, path: str, *, authenticated: bool, secure: bool, extension: bool
    ) -> str | None:
        """Bind; returns None or the name of a `bind-error`."""

    def unbind_ws_path(self, owner: ProcessId, path: str) -> None:
        """Unbind."""

    def bind_http_path(
        self,
        owner: ProcessId,
        path: str,
        *,
        authenticated: bool,
        local_only: bool,
        secure: bool,
        static: LazyLoadBlob | None,
    ) -> str | None:
        """Bind; returns None or the name of a `bind-error`."""

    def unbind_http_path(self, owner: ProcessId, path: str) -> None:
        """Unbind."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, with its fields checked as they are taken."""

    doer: Doer
    owner: ProcessId
    content: object
    blob: LazyLoadBlob | None

    def channel_id(self, value: object) -> int:
        if type(value) is not int or not 0 <= value <= MAX_CHANNEL_ID:
            raise JsonError(_MALFORMED)
        return value

    def field(self, name: str) -> object:
        if not isinstance(self.content, dict):
            raise JsonError(_MALFORMED)
        return self.content.get(name)

    def flag(self, name: str) -> bool:
        value = self.field(name)
        if value is not None and type(value) is not bool:
            raise JsonError(_MALFORMED)
        return bool(value)

    def path(self) -> str:
        """The path, with the leading slash that older guests leave out."""
        value = self.field("path")
        if not isinstance(value, str):
            raise JsonError(_MALFORMED)
        return "/" + value.removeprefix("/").removesuffix("/")

    def needed_blob(self) -> LazyLoadBlob:
        if self.blob is None:
            raise JsonError("NoBlob")
        return self.blob


def carry_out(doer: Doer, node: str, source: Address, body: bytes, blob: LazyLoadBlob | None) -> bytes:
    """Carry out one request of the process `source`; returns the body of the response."""
    try:
        name, content = _named(body)
        action = _ACTIONS.get(name)
        if action is None:
            raise JsonError(_MALFORMED)
        if source.node != node:
            raise JsonError("InvalidSourceProcess")
        action(_Asked(doer, source.process, content, blob))
    except JsonError as error:
        return json.dumps({"Err": str(error)}).encode()
    return b'{"Ok": null}'


def _named(body: bytes) -> tuple[str, object]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise JsonError(_MALFORMED) from None
    if not isinstance(parsed, dict) or len(parsed) != 1:
        raise JsonError(_MALFORMED)
    return next(iter(parsed.items()))


def _push(asked: _Asked) -> None:
    channel_id = asked.channel_id(asked.field("channel_id"))
    message_type = asked.field("message_type")
    if not isinstance(message_type, str) or message_type not in _TYPES:
        raise JsonError(_MALFORMED)
    number = _TYPES[message_type]
    payload = asked.blob.bytes if asked.blob is not None else b""
    if asked.blob is None and number != _CLOSE:
        raise JsonError("NoBlob")
    _raise(asked.doer.push_unpaid(asked.owner, channel_id, number, payload))


def _close(asked: _Asked) -> None:
    payload = NORMAL.code.to_bytes(2, "big")
    _raise(asked.doer.push_unpaid(asked.owner, asked.channel_id(asked.content), _CLOSE, payload))


def _ws_bind(asked: _Asked, *, secure: bool = False) -> None:
    if asked.flag("encrypted"):
        raise JsonError("NotSupported")
    problem = asked.doer.bind_ws_path(
        asked.owner,
        asked.path(),
        authenticated=asked.flag("authenticated") or secure,
        secure=secure,
        extension=asked.flag("extension"),
    )
    _raise(problem and _BIND_ERRORS[problem])


def _ws_unbind(asked: _Asked) -> None:
    asked.doer.unbind_ws_path(asked.owner, asked.path())


def _bind(asked: _Asked, *, secure: bool = False) -> None:
    problem = asked.doer.bind_http_path(
        asked.owner,
        asked.path(),
        authenticated=asked.flag("authenticated") or secure,
        local_only=asked.flag("local_only"),
        secure=secure,
        static=asked.needed_blob() if asked.flag("cache") else None,
    )
    _raise(problem and _BIND_ERRORS[problem])


def _unbind(asked: _Asked) -> None:
    asked.doer.unbind_http_path(asked.owner, asked.path())


def _not_supported(asked: _Asked) -> None:
    raise JsonError("NotSupported")


def _raise(problem: str | None) -> None:
    if problem:
        raise JsonError(problem)


_ACTIONS: Final[dict[str, Callable[[_Asked], None]]] = {
    "WebSocketPush": _push,
    "WebSocketClose": _close,
    "WebSocketBind": _ws_bind,
    "WebSocketSecureBind": lambda asked: _ws_bind(asked, secure=True),
    "WebSocketUnbind": _ws_unbind,
    "WebSocketExtPushOutgoing": _not_supported,
    "Bind": _bind,
    "SecureBind": lambda asked: _bind(asked, secure=True),
    "Unbind": _unbind,
}
