"""The values of `wit/types.wit`, as componentize-py's bindings have them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

E = TypeVar("E")


@dataclass(frozen=True)
class Err(Exception, Generic[E]):
    """The failure case of a WIT `result`, raised."""

    value: E


@dataclass
class ProcessId:
    process_name: str
    package_name: str
    publisher_node: str


@dataclass
class Address:
    node: str
    process: ProcessId


@dataclass
class LazyLoadBlob:
    mime: str | None
    bytes: bytes


@dataclass
class Capability:
    issuer: Address
    params: str


@dataclass
class Request:
    inherit: bool
    expects_response: int | None
    body: bytes
    metadata: str | None
    capabilities: list[Capability]


@dataclass
class Response:
    inherit: bool
    body: bytes
    metadata: str | None
    capabilities: list[Capability]


@dataclass
class IncomingRequest:
    source: Address
    request: Request


@dataclass
class IncomingResponse:
    source: Address
    response: Response
    context: bytes | None


class SendErrorKind(Enum):
    OFFLINE = 0
    TIMEOUT = 1
    NO_SUCH_PROCESS = 2
    MAILBOX_FULL = 3
    NOT_AUTHORISED = 4


@dataclass
class SendError:
    kind: SendErrorKind
    target: Address
    request: Request
    lazy_load_blob: LazyLoadBlob | None
    missing: Capability | None


@dataclass
class SendFailure:
    error: SendError
    context: bytes | None


@dataclass
class OnExit_None_:  # noqa: N801 - the bindings' spelling
    pass


@dataclass
class OnExit_Restart:  # noqa: N801 - the bindings' spelling
    pass


@dataclass
class OnExit_Requests:  # noqa: N801 - the bindings' spelling
    value: list[tuple[Address, Request, LazyLoadBlob | None]]


OnExit: TypeAlias = OnExit_None_ | OnExit_Restart | OnExit_Requests


class WsMessageType(Enum):
    TEXT = 0
    BINARY = 1
    PING = 2
    PONG = 3
    CLOSE = 4


@dataclass
class WebSocketOpen:
    path: str
    channel_id: int
    source_socket_addr: str | None
    forwarded_for: str | None
    url_params: list[tuple[str, str]]
    query_params: list[tuple[str, str]]
    resumed: bool
    subprotocol: str | None


@dataclass
class WebSocketPush:
    channel_id: int
    message_type: WsMessageType


@dataclass
class IncomingHttpRequest:
    source_socket_addr: str | None
    method: str
    url: str
    bound_path: str
    headers: list[tuple[str, str]]
    url_params: list[tuple[str, str]]
    query_params: list[tuple[str, str]]


@dataclass
class HttpServerRequest_WebSocketOpen:  # noqa: N801 - the bindings' spelling
    value: WebSocketOpen


@dataclass
class HttpServerRequest_WebSocketPush:  # noqa: N801 - the bindings' spelling
    value: WebSocketPush


@dataclass
class HttpServerRequest_WebSocketClose:  # noqa: N801 - the bindings' spelling
    value: int


@dataclass
class HttpServerRequest_Http:  # noqa: N801 - the bindings' spelling
    value: IncomingHttpRequest


HttpServerRequest: TypeAlias = (
    HttpServerRequest_WebSocketOpen
    | HttpServerRequest_WebSocketPush
    | HttpServerRequest_WebSocketClose
    | HttpServerRequest_Http
)


@dataclass
class Message_Request:  # noqa: N801 - the bindings' spelling
    value: IncomingRequest


@dataclass
class Message_Response:  # noqa: N801 - the bindings' spelling
    value: IncomingResponse


@dataclass
class Message_HttpServer:  # noqa: N801 - the bindings' spelling
    value: HttpServerRequest


Message: TypeAlias = Message_Request | Message_Response | Message_HttpServer
