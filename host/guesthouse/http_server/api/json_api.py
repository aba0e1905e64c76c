"""The JSON API: requests to `http-server:distro:sys` whose body names the action. Pure.

The body is one of `{"WebSocketPush": {...}}`, `{"WebSocketClose": 7}`, `{"Bind": {...}}` and so on; the
answer is `{"Ok": null}` or `{"Err": "<error>"}`. Fields that no action has are ignored, since newer guests may
send them; a field of the wrong type is `MalformedRequest`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final, Protocol

from msgspec import Struct

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.json_text import read_json
from guesthouse.core.messages import LazyLoadBlob, WsMessageType
from guesthouse.http_server.channel.extension import KINDS, ExtensionPush
from guesthouse.http_server.close_codes import NORMAL
from guesthouse.http_server.state.channels import MAX_CHANNEL_ID
from guesthouse.link.calls import (
    BindHttpPath,
    BindWsPath,
    ServeUi,
    SetChannelPolicy,
    UnbindHttpPath,
    UnbindWsPath,
)

_TYPES: Final = {message_type.json_name: int(message_type) for message_type in WsMessageType}
_CLOSE: Final = int(WsMessageType.CLOSE)
_BIND_ERRORS: Final = {
    "bad-path": "BadPath",
    "too-many": "TooManyBindings",
    "no-subdomain": "NoSubdomain",
    "bad-subprotocol": "BadSubprotocol",
    "no-ui": "NoUi",
}


class Deferred(Enum):
    """The type of `DEFERRED`."""

    DEFERRED = auto()


DEFERRED: Final = Deferred.DEFERRED
"""Returned by an action whose response comes later."""

_MANY_SECONDS: Final = 10**6


class JsonError(Exception):
    """The request is answered with `{"Err": <text>}`."""


_MALFORMED: Final = "MalformedRequest"
_NOT_FOUND: Final = "WsChannelNotFound"


class JsonActions(Protocol):
    """Implementation of the actions."""

    def push_unpaid(
        self, owner: ProcessId, channel_ids: Sequence[int], message_type: int, payload: bytes
    ) -> Sequence[tuple[int, str]]:
        """Push; returns the channels that were refused, and the errors."""

    def may_wait(self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes) -> bool:
        """Whether a push to a channel must wait for room, and may by its policy."""

    def push_when_room(
        self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes, request_id: int
    ) -> None:
        """Push once there is room, after `may_wait`, and answer the request."""

    def channels_on(self, owner: ProcessId, path: str) -> Sequence[int]:
        """The open channels of a path."""

    def extension_problem(self, owner: ProcessId, channel_id: int, size: int) -> str | None:
        """Why a blob of that size cannot be pushed to an extension, or None."""

    def push_to_extension(self, owner: ProcessId, channel_id: int, push: ExtensionPush) -> None:
        """Push to an extension, after `extension_problem` found none."""

    def set_channel_policy(self, owner: ProcessId, call: SetChannelPolicy) -> str | None:
        """Set; returns None or what is wrong."""

    def watch_presence(self, owner: ProcessId, *, wanted: bool) -> Sequence[int]:
        """Tell who is away from now on, or no longer; returns who is away now."""

    def bind_ws_path(self, owner: ProcessId, call: BindWsPath) -> str | None:
        """Bind; returns None or the name of a `bind-error`."""

    def unbind_ws_path(self, owner: ProcessId, call: UnbindWsPath) -> None:
        """Unbind."""

    def bind_http_path(self, owner: ProcessId, call: BindHttpPath) -> str | None:
        """Bind; returns None or the name of a `bind-error`."""

    def bind_ui(self, owner: ProcessId, call: ServeUi) -> str | None:
        """Bind; returns None or the name of a `bind-error`."""

    def unbind_http_path(self, owner: ProcessId, call: UnbindHttpPath) -> None:
        """Unbind."""


class Sent(Struct, frozen=True):
    """A request of a process. `leave_waiting` as in `ports.HttpServerPort.request`."""

    source: Address
    body: bytes
    blob: LazyLoadBlob | None
    leave_waiting: Callable[[], int]


class _Asked(Struct, frozen=True):
    """A request whose fields are validated when they are read."""

    actions: JsonActions
    owner: ProcessId
    content: object
    blob: LazyLoadBlob | None
    leave_waiting: Callable[[], int]

    def channel_id(self, value: object) -> int:
        if type(value) is not int or not 0 <= value <= MAX_CHANNEL_ID:
            raise JsonError(_MALFORMED)
        return value

    def field(self, name: str) -> object:
        if not isinstance(self.content, dict):
            raise JsonError(_MALFORMED)
        return self.content.get(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """An optional list of strings."""
        value = self.field(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise JsonError(_MALFORMED)
        return tuple(value)

    def seconds(self, name: str) -> float | None:
        """An optional time in seconds."""
        value = self.field(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MANY_SECONDS:
            raise JsonError(_MALFORMED)
        return float(value)

    def message_type(self) -> int:
        """The message type's number."""
        value = self.field("message_type")
        if not isinstance(value, str) or value not in _TYPES:
            raise JsonError(_MALFORMED)
        return _TYPES[value]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """An optional boolean."""
        value = self.field(name)
        if value is None:
            return default
        if type(value) is not bool:
            raise JsonError(_MALFORMED)
        return value

    def authenticated(self) -> bool:
        """Whether clients must be logged in; the default."""
        return self.flag("authenticated", default=True)

    def path(self) -> str:
        """The path, with a leading slash, which older guests leave out."""
        value = self.field("path")
        if not isinstance(value, str):
            raise JsonError(_MALFORMED)
        return "/" + value.removeprefix("/").removesuffix("/")

    def needed_blob(self) -> LazyLoadBlob:
        if self.blob is None:
            raise JsonError("NoBlob")
        return self.blob


def carry_out(actions: JsonActions, node: str, sent: Sent) -> bytes | None:
    """Carry out one request of a process; returns the body of the response, or None when it comes later."""
    try:
        name, content = _named(sent.body)
        action = _ACTIONS.get(name)
        if action is None:
            raise JsonError(_MALFORMED)
        if sent.source.node != node:
            raise JsonError("InvalidSourceProcess")
        result = action(_Asked(actions, sent.source.process, content, sent.blob, sent.leave_waiting))
    except JsonError as error:
        return json_answer(str(error))
    return None if result is DEFERRED else json.dumps({"Ok": result}).encode()


def json_answer(error: str | None) -> bytes:
    """Encode a response: `Ok`, or the error."""
    return json.dumps({"Ok": None} if error is None else {"Err": error}).encode()


def _named(body: bytes) -> tuple[str, object]:
    try:
        parsed = read_json(body)
    except ValueError:
        raise JsonError(_MALFORMED) from None
    if not isinstance(parsed, dict) or len(parsed) != 1:
        raise JsonError(_MALFORMED)
    return next(iter(parsed.items()))


def _payload(asked: _Asked, message_type: int) -> bytes:
    if asked.blob is None and message_type != _CLOSE:
        raise JsonError("NoBlob")
    return b"" if asked.blob is None else asked.blob.bytes


def _push(asked: _Asked) -> Deferred | None:
    channel_id, number = asked.channel_id(asked.field("channel_id")), asked.message_type()
    actions, owner, payload = asked.actions, asked.owner, _payload(asked, number)
    request_id = asked.leave_waiting() if actions.may_wait(owner, channel_id, number, payload) else 0
    if request_id:
        actions.push_when_room(owner, channel_id, number, payload, request_id)
        return DEFERRED
    refused = actions.push_unpaid(owner, [channel_id], number, payload)
    if refused and not (number == _CLOSE and refused[0][1] == _NOT_FOUND):
        raise JsonError(refused[0][1])
    return None


def _push_many(asked: _Asked) -> list[tuple[int, str]]:
    channel_ids, number = asked.field("channel_ids"), asked.message_type()
    if not isinstance(channel_ids, list):
        raise JsonError(_MALFORMED)
    checked = [asked.channel_id(each) for each in channel_ids]
    return list(asked.actions.push_unpaid(asked.owner, checked, number, _payload(asked, number)))


def _push_path(asked: _Asked) -> list[tuple[int, str]]:
    number = asked.message_type()
    channel_ids = asked.actions.channels_on(asked.owner, asked.path())
    return list(asked.actions.push_unpaid(asked.owner, channel_ids, number, _payload(asked, number)))


def _close(asked: _Asked) -> None:
    """Close a channel. Succeeds for an unknown one, too."""
    payload = NORMAL.code.to_bytes(2, "big")
    asked.actions.push_unpaid(asked.owner, [asked.channel_id(asked.content)], _CLOSE, payload)


def _policy(asked: _Asked) -> None:
    channel_id, policy = asked.channel_id(asked.field("channel_id")), asked.field("policy")
    if not isinstance(policy, str):
        raise JsonError(_MALFORMED)
    problem = asked.actions.set_channel_policy(asked.owner, SetChannelPolicy(channel_id, policy))
    _raise(problem and {"channel-not-found": _NOT_FOUND}.get(problem, _MALFORMED))


def _presence(asked: _Asked) -> list[int]:
    return list(asked.actions.watch_presence(asked.owner, wanted=asked.flag("wanted", default=True)))


def _push_extension(asked: _Asked) -> Deferred | None:
    channel_id, kind = asked.channel_id(asked.field("channel_id")), asked.field("desired_reply_type")
    asked.message_type()
    if not isinstance(kind, str) or kind not in KINDS:
        raise JsonError(_MALFORMED)
    waits = kind == "Response"
    blob = asked.needed_blob().bytes
    _raise(asked.actions.extension_problem(asked.owner, channel_id, len(blob)))
    request_id = asked.leave_waiting() if waits else 0
    asked.actions.push_to_extension(asked.owner, channel_id, ExtensionPush(request_id, kind, blob))
    return DEFERRED if request_id else None


def _ws_bind(asked: _Asked, *, secure: bool = False) -> None:
    asked.flag("encrypted")  # of the clients' choice, in the register form; older guests say it here
    call = BindWsPath(
        asked.path(),
        asked.authenticated() or secure,
        secure,
        asked.flag("extension"),
        asked.texts("subprotocols"),
    )
    problem = asked.actions.bind_ws_path(asked.owner, call)
    _raise(problem and _BIND_ERRORS[problem])


def _ws_unbind(asked: _Asked) -> None:
    asked.actions.unbind_ws_path(asked.owner, UnbindWsPath(asked.path()))


def _bind(asked: _Asked, *, secure: bool = False) -> None:
    static = asked.needed_blob() if asked.flag("cache") else None
    call = BindHttpPath(
        asked.path(),
        asked.authenticated() or secure,
        asked.flag("local_only"),
        secure,
        asked.seconds("response_seconds"),
        None if static is None else static.mime,
        None if static is None else static.bytes,
    )
    problem = asked.actions.bind_http_path(asked.owner, call)
    _raise(problem and _BIND_ERRORS[problem])


def _unbind(asked: _Asked) -> None:
    asked.actions.unbind_http_path(asked.owner, UnbindHttpPath(asked.path()))


def _serve_ui(asked: _Asked) -> None:
    call = ServeUi(asked.path(), asked.authenticated(), asked.flag("local_only"), asked.flag("secure"))
    problem = asked.actions.bind_ui(asked.owner, call)
    _raise(problem and _BIND_ERRORS[problem])


def _raise(problem: str | None) -> None:
    if problem:
        raise JsonError(problem)


_ACTIONS: Final[dict[str, Callable[[_Asked], object]]] = {
    "WebSocketPush": _push,
    "WebSocketClose": _close,
    "WebSocketBind": _ws_bind,
    "WebSocketSecureBind": lambda asked: _ws_bind(asked, secure=True),
    "WebSocketUnbind": _ws_unbind,
    "WebSocketExtPushOutgoing": _push_extension,
    "WebSocketPolicy": _policy,
    "WebSocketPresence": _presence,
    "WebSocketPushMany": _push_many,
    "WebSocketPushPath": _push_path,
    "Bind": _bind,
    "SecureBind": lambda asked: _bind(asked, secure=True),
    "Unbind": _unbind,
    "ServeUi": _serve_ui,
}
