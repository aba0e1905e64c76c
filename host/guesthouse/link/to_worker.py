"""What the node tells a worker."""

from __future__ import annotations

from typing import TypeAlias

from guesthouse.link.calls import Outcome
from guesthouse.link.schema import Message, OnExit, Pair, Pairs, PayloadName, PieceOfPayload, Rights


class GuestLimits(Message, frozen=True):
    """What a process may take. Bytes, seconds, counts."""

    memory_bytes: int
    table_elements: int
    cpu_seconds_per_message: float
    start_seconds: float
    cpu_share: float
    host_calls_per_second: int
    log_lines_per_second: int
    log_line_bytes: int
    wasi_handles: int
    message_bytes: int
    """The largest push."""
    blob_bytes: int
    """The largest body or blob between processes."""


class Configure(Message, tag=0, frozen=True):
    """First of all, once; answered by `Ready`."""

    version: int


class Start(Message, tag=1, frozen=True):
    """Run a process; answered by `Started` or `Exited`."""

    handle: int
    our: str
    component: bytes
    """The compiled file's path, as the operating system spells it."""
    on_exit: OnExit
    limits: GuestLimits
    connected: bool = False
    """Whether the node reaches others."""


class Stop(Message, tag=2, frozen=True):
    """End a process; answered by `Exited`."""

    handle: int
    reason: str


class ToProcess(Message, frozen=True):
    """What a process takes in order, and reports as consumed."""

    handle: int


class OfChannel(ToProcess, frozen=True):
    """What comes of a channel."""

    channel_id: int


class Open(OfChannel, tag=3, frozen=True):
    """A client opened a channel."""

    path: str
    source_addr: str | None
    forwarded_for: str | None
    url_params: Pairs
    query_params: Pairs
    resumed: bool
    credit: int
    bound_path: str | None
    subprotocol: str | None


class Push(OfChannel, tag=4, frozen=True):
    """The client sent a message."""

    message_type: int
    payload: bytes


class Close(OfChannel, tag=5, frozen=True):
    """The client is gone; with the reason when it sent a close frame."""

    reason: bytes | None = None


class Http(ToProcess, tag=6, frozen=True):
    """An HTTP request."""

    http_id: int
    method: str
    url: str
    bound_path: str
    headers: Pairs
    url_params: Pairs
    query_params: Pairs
    source_addr: str | None
    mime: str | None
    body: bytes


class Request(ToProcess, tag=7, frozen=True):
    """A request of another process; `request_id` 0: no answer wanted."""

    request_id: int
    source: str
    body: bytes
    inherit: bool = False
    expects_response: int | None = None
    metadata: str | None = None
    mime: str | None = None
    blob: bytes | None = None
    capabilities: Rights = ()


class Response(ToProcess, tag=8, frozen=True):
    """The answer to a request of the process; with `await_id`, of the one that it blocks on."""

    source: str
    body: bytes
    inherit: bool
    metadata: str | None
    context: bytes | None
    mime: str | None
    blob: bytes | None
    await_id: int
    capabilities: Rights = ()


class SendFailure(ToProcess, tag=9, frozen=True):
    """A request of the process comes back; `missing` is the capability that it was refused for."""

    kind: str
    target: str
    body: bytes
    inherit: bool
    expects_response: int | None
    metadata: str | None
    context: bytes | None
    mime: str | None
    blob: bytes | None
    await_id: int
    capabilities: Rights = ()
    missing: Pair | None = None


class Reply(Message, tag=10, frozen=True):
    """The answer to a `Call`."""

    handle: int
    call_id: int
    outcome: Outcome


class Credit(Message, tag=11, frozen=True):
    """So many more bytes may be pushed to the channel."""

    channel_id: int
    size: int


class ChannelGone(Message, tag=12, frozen=True):
    """The node closed the channel on its own account; no event for the process."""

    channel_id: int


class Ping(Message, tag=13, frozen=True):
    """Answered by `Pong`, or the worker is taken for dead."""


class Finish(Message, tag=14, frozen=True):
    """End a process once it has taken all it was sent and asks for more; answered by `Exited`."""

    handle: int
    reason: str


class Piece(Message, tag=15, frozen=True):
    """As `to_node.Piece`."""

    handle: int
    field: PayloadName
    size: int
    data: PieceOfPayload


Payload: TypeAlias = Push | Http | Request | Response | SendFailure | Reply
"""What may have large payloads."""


class Whole(Message, tag=16, frozen=True):
    """As `to_node.Whole`."""

    handle: int
    message: Payload


ToWorker: TypeAlias = (
    Configure
    | Start
    | Stop
    | Open
    | Push
    | Close
    | Http
    | Request
    | Response
    | SendFailure
    | Reply
    | Credit
    | ChannelGone
    | Ping
    | Finish
    | Piece
    | Whole
)
