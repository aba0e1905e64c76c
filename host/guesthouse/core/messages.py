"""Messages as the host handles them: frozen values without behaviour.

They mirror the contract's types in `wit/types.wit`. Payloads stay
`bytes` from the socket to the guest.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, TypeAlias

from msgspec import Struct, field

Pairs: TypeAlias = tuple[tuple[str, str], ...]


class WsMessageType(IntEnum):
    """The kinds of WebSocket message, numbered as in `wit/types.wit`."""

    TEXT = 0
    BINARY = 1
    PING = 2
    PONG = 3
    CLOSE = 4

    @property
    def json_name(self) -> str:
        """The name in the JSON form of the protocol, such as `Text`."""
        return self.name.capitalize()


class LazyLoadBlob(Struct, frozen=True):
    """A message's payload."""

    mime: str | None
    bytes: bytes


class Request(Struct, frozen=True):
    """A request. `expects_response` is in seconds."""

    body: bytes
    inherit: bool = False
    expects_response: int | None = None
    metadata: str | None = None


class Response(Struct, frozen=True):
    """The response to a request."""

    body: bytes
    inherit: bool = False
    metadata: str | None = None


SendErrorKind: TypeAlias = Literal["offline", "timeout", "no-such-process", "mailbox-full", "not-authorised"]


class WebSocketOpen(Struct, frozen=True):
    """A client opened a channel."""

    channel_id: int
    path: str
    source_socket_addr: str | None = None
    forwarded_for: str | None = None
    url_params: Pairs = ()
    query_params: Pairs = ()
    resumed: bool = False
    bound_path: str | None = None
    """The path as it was bound; None for a registered channel."""
    subprotocol: str | None = None
    """The subprotocol that was selected."""
    claims: str | None = None
    """Custom claims of the token with which it was opened, as a JSON object."""


class IncomingHttpRequest(Struct, frozen=True):
    """An HTTP request to a bound path; its body travels separately."""

    method: str
    url: str
    bound_path: str
    headers: Pairs = ()
    url_params: Pairs = ()
    query_params: Pairs = ()
    source_socket_addr: str | None = None
    claims: str | None = None
    """As in `WebSocketOpen`, of the login, if the binding requires one."""


MOST_RESPONSE_HEADERS: Final = 128
MOST_HEADER_NAME: Final = 128
MOST_HEADER_VALUE: Final = 8192
"""What an `HttpResponse` of a process has at most: headers, and characters of a header's name and value."""


class HttpResponse(Struct, frozen=True):
    """A process's answer to an HTTP request."""

    status: int
    headers: Pairs = ()
    body: bytes = b""
    mime: str | None = None


class LogLine(Struct, frozen=True):
    """One line of the log. `stream` is print, stdout, stderr or host."""

    source: str
    stream: str
    level: Literal["error", "warning", "info", "debug"]
    text: str
    time: float = field(default=0.0)
    worker: str | None = None
    """On which the process runs that it is of."""
    channel_id: int | None = None
    """The channel whose message the process had in hand, or that it is about."""
    trace_id: str | None = None
    """The trace of that message, in hexadecimal."""
