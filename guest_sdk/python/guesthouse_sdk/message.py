"""Messages and payloads: plain values."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from guesthouse_sdk import _wit
from guesthouse_sdk._checks import checked_bytes, checked_text
from guesthouse_sdk._json import read
from guesthouse_sdk._payload import Payload
from guesthouse_sdk._wit import types
from guesthouse_sdk.address import Address, address_from_wit
from guesthouse_sdk.capabilities import Capability, capabilities_from_wit
from guesthouse_sdk.errors import BadBody, NotUtf8

Pairs: TypeAlias = tuple[tuple[str, str], ...]


class WsMessageType(StrEnum):
    """The kinds of WebSocket message. As JSON each is its name, such as `"Text"`."""

    Text = "Text"
    Binary = "Binary"
    Ping = "Ping"
    Pong = "Pong"
    Close = "Close"
    TEXT = Text
    BINARY = Binary
    PING = Ping
    PONG = Pong
    CLOSE = Close


class LazyLoadBlob:
    """A message's payload: `LazyLoadBlob(mime, bytes)`.

    It keeps its original form, str or bytes, and converts on demand: text
    from a client to clients is never encoded.
    """

    __slots__ = ("_bytes", "_text", "mime")

    def __init__(self, mime: str | None = None, bytes: bytes | bytearray | memoryview = b"") -> None:  # noqa: A002 - the protocol's name
        self.mime = mime
        self._bytes: builtins.bytes | None = checked_bytes(bytes, "the payload of a blob")
        self._text: str | None = None

    @classmethod
    def from_text(cls, text: str, mime: str | None = None) -> LazyLoadBlob:
        """A payload of text.

        Raises:
            ValueError: the text has a lone surrogate, which UTF-8 cannot encode.
        """
        blob = cls.__new__(cls)
        blob.mime = mime
        blob._bytes = None
        blob._text = checked_text(text, "the text of a blob")
        return blob

    @property
    def bytes(self) -> bytes:
        """The payload."""
        if self._bytes is None:
            self._bytes = (self._text or "").encode()
        return self._bytes

    @property
    def text(self) -> str:
        """The payload as text.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
        """
        if self._text is None:
            self._text = self.bytes.decode()
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LazyLoadBlob):
            return NotImplemented
        return self.mime == other.mime and self.bytes == other.bytes

    def __hash__(self) -> int:
        return hash((self.mime, self.bytes))

    def __repr__(self) -> str:
        payload = self.bytes
        shown = repr(payload) if len(payload) <= 40 else f"{payload[:40]!r}… ({len(payload)} bytes)"
        return f"LazyLoadBlob({self.mime!r}, {shown})"


@dataclass(frozen=True, slots=True)
class WebSocketOpen:
    """A client opened a channel to this process.

    `path` is the bound path without the process id, `/` for a registered channel. `resumed`: the
    channel was open already when this process was restarted. `claims` is what the service that issued the client's
    token says of it; None if it says nothing.
    """

    channel_id: int
    path: str = "/"
    source_socket_addr: str | None = None
    forwarded_for: str | None = None
    url_params: Mapping[str, str] = field(default_factory=dict)
    query_params: Mapping[str, str] = field(default_factory=dict)
    resumed: bool = False
    subprotocol: str | None = None
    claims: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class WebSocketPush:
    """A client sent a message; `get_blob()` has the payload."""

    channel_id: int
    message_type: WsMessageType


@dataclass(frozen=True, slots=True)
class WebSocketClose:
    """The client of a channel has left."""

    channel_id: int


class _WithPayload:
    """Has a payload, which is no field: `asdict` and `==` are of the rest."""

    __slots__ = ("_payload",)
    _payload: Payload


@dataclass(frozen=True, slots=True)
class Http(_WithPayload):
    """An HTTP request to a path that this process bound. Its body can be read as long as it is handled, also after
    requests to other processes. `claims` is as in `WebSocketOpen`, if the path is bound as `authenticated`.
    """

    method: str
    url: str
    bound_path: str
    headers: Pairs = ()
    url_params: Mapping[str, str] = field(default_factory=dict)
    query_params: Mapping[str, str] = field(default_factory=dict)
    source_socket_addr: str | None = None
    claims: Mapping[str, Any] | None = None

    def bytes(self) -> builtins.bytes:
        """The body; empty if the request was not received."""
        return self._payload.bytes() if hasattr(self, "_payload") else b""

    def text(self) -> str:
        """The body as text.

        Raises:
            BadBody: it is not UTF-8.
        """
        try:
            return self.bytes().decode()
        except UnicodeDecodeError as error:
            raise BadBody(f"the body is not UTF-8: {error}") from None

    def json(self) -> Any:
        """The body as JSON, whatever its content type is.

        Raises:
            BadBody: it is not JSON.
        """
        return read(self.text(), BadBody)

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case of letters."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


HttpServerRequest: TypeAlias = WebSocketOpen | WebSocketPush | WebSocketClose | Http
"""Events of `http-server:distro:sys`."""


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A request from another process. The host sets `source`."""

    source: Address
    body: bytes
    expects_response: int | None = None
    metadata: str | None = None
    inherit: bool = False
    capabilities: tuple[Capability, ...] = ()
    """The capabilities that came with it; `save_capabilities` keeps them."""

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            BadJson: it is not JSON.
        """
        return read(self.body)


@dataclass(frozen=True, slots=True)
class IncomingResponse:
    """The answer to a request of this process, with its context."""

    source: Address
    body: bytes
    context: bytes | None = None
    metadata: str | None = None
    inherit: bool = False
    capabilities: tuple[Capability, ...] = ()

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            BadJson: it is not JSON.
        """
        return read(self.body)


Message: TypeAlias = HttpServerRequest | IncomingRequest | IncomingResponse
"""What `receive` returns."""

_TEXT: Final = types.WsMessageType.TEXT
_BINARY: Final = types.WsMessageType.BINARY
_FROM_WIT: Final = {
    types.WsMessageType.TEXT: WsMessageType.Text,
    types.WsMessageType.BINARY: WsMessageType.Binary,
    types.WsMessageType.PING: WsMessageType.Ping,
    types.WsMessageType.PONG: WsMessageType.Pong,
    types.WsMessageType.CLOSE: WsMessageType.Close,
}
_TO_WIT: Final = {ours: raw for raw, ours in _FROM_WIT.items()}


def message_type_to_wit(message_type: WsMessageType) -> types.WsMessageType:
    """The bindings' form of a message type."""
    return _TO_WIT[WsMessageType(message_type)]


def blob_from_wit(raw: types.LazyLoadBlob | None) -> LazyLoadBlob | None:
    """The SDK's form of a payload that the host handed over."""
    return None if raw is None else LazyLoadBlob(raw.mime, raw.bytes)


def blob_to_wit(blob: LazyLoadBlob) -> types.LazyLoadBlob:
    """The bindings' form of a payload."""
    mime = blob.mime
    if mime is not None:
        checked_text(mime, "the mime type of a blob")
    return types.LazyLoadBlob(mime, blob.bytes)


def optional_blob_to_wit(blob: LazyLoadBlob | None) -> types.LazyLoadBlob | None:
    """The bindings' form of a payload, or of none."""
    return None if blob is None else blob_to_wit(blob)


def text_of(blob: LazyLoadBlob, channel_id: int) -> str:
    """The text of a payload that is to be pushed as text.

    Raises:
        NotUtf8: it has none.
    """
    try:
        return blob.text
    except UnicodeDecodeError as error:
        raise NotUtf8(channel_id, f"a text message must be UTF-8, and this is not: {error}") from None


def message_from_wit(raw: types.Message) -> Message:
    """The SDK's form of a message that the host handed over."""
    if type(raw) is types.Message_HttpServer:
        return http_server_request_from_wit(raw.value)
    if type(raw) is types.Message_Request:
        return incoming_request_from_wit(raw.value)
    assert type(raw) is types.Message_Response, raw  # noqa: S101 - the variant has three cases
    return incoming_response_from_wit(raw.value)


def http_server_request_from_wit(raw: types.HttpServerRequest) -> HttpServerRequest:
    """The SDK's form of an event of the HTTP server."""
    value = raw.value
    if type(value) is types.WebSocketPush:
        raw_type = value.message_type
        if raw_type is _TEXT:
            return WebSocketPush(value.channel_id, WsMessageType.Text)
        if raw_type is _BINARY:
            return WebSocketPush(value.channel_id, WsMessageType.Binary)
        return WebSocketPush(value.channel_id, _FROM_WIT[raw_type])
    if type(value) is types.WebSocketOpen:
        return web_socket_open_from_wit(value)
    if type(value) is types.IncomingHttpRequest:
        return http_from_wit(value)
    assert type(value) is int, value  # noqa: S101 - the variant has four cases
    return WebSocketClose(value)


def web_socket_open_from_wit(raw: types.WebSocketOpen) -> WebSocketOpen:
    """The SDK's form of a channel's opening."""
    return WebSocketOpen(
        raw.channel_id,
        raw.path,
        raw.source_socket_addr,
        raw.forwarded_for,
        dict(raw.url_params),
        dict(raw.query_params),
        raw.resumed,
        raw.subprotocol,
        _claims(_wit.http_server.channel_claims(raw.channel_id)),
    )


def http_from_wit(raw: types.IncomingHttpRequest) -> Http:
    """The SDK's form of an HTTP request."""
    request = Http(
        raw.method,
        raw.url,
        raw.bound_path,
        tuple(raw.headers),
        dict(raw.url_params),
        dict(raw.query_params),
        raw.source_socket_addr,
        _claims(_wit.http_server.http_request_claims()),
    )
    object.__setattr__(request, "_payload", Payload())
    return request


def _claims(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else json.loads(text)


def incoming_request_from_wit(raw: types.IncomingRequest) -> IncomingRequest:
    """The SDK's form of a request."""
    request = raw.request
    return IncomingRequest(
        address_from_wit(raw.source),
        request.body,
        request.expects_response,
        request.metadata,
        request.inherit,
        capabilities_from_wit(request.capabilities) if request.capabilities else (),
    )


def incoming_response_from_wit(raw: types.IncomingResponse) -> IncomingResponse:
    """The SDK's form of a response."""
    response = raw.response
    return IncomingResponse(
        address_from_wit(raw.source),
        response.body,
        raw.context,
        response.metadata,
        response.inherit,
        capabilities_from_wit(response.capabilities) if response.capabilities else (),
    )
