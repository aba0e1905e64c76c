"""Messages from the node to a worker."""

from typing import TypeAlias

from guesthouse.link.calls import Outcome
from guesthouse.link.schema import Message, OnExit, Pair, Pairs, PayloadName, PieceOfPayload, Rights
from guesthouse.link.trace_schema import NO_TRACE, Trace


class GuestLimits(Message, frozen=True):
    """Limits of a process, in bytes, seconds and counts."""

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
    """Maximum size of a push."""
    blob_bytes: int
    """Maximum size of a body or blob between processes."""


class Configure(Message, tag=0, frozen=True):
    """The first message; answered by `Ready`."""

    version: int


class Start(Message, tag=1, frozen=True):
    """Run a process; answered by `Started` or `Exited`."""

    handle: int
    our: str
    component: bytes
    """Path of the compiled component, in the file system's encoding."""
    on_exit: OnExit
    limits: GuestLimits
    connected: bool = False
    """Whether the node is connected to others."""
    traced: bool = False
    """Whether some of its messages may be of traces."""


class Stop(Message, tag=2, frozen=True):
    """Stop a run; answered by `Exited`."""

    handle: int
    reason: str


class ToProcess(Message, frozen=True):
    """A message that a process receives in order, and reports as consumed."""

    handle: int


class OfChannel(ToProcess, frozen=True):
    """A message of a channel."""

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
    claims: str | None = None
    """Custom claims of the client's token, as a JSON object."""


class Push(OfChannel, tag=4, frozen=True):
    """The client sent a message."""

    message_type: int
    payload: bytes


class Close(OfChannel, tag=5, frozen=True):
    """The channel was closed; with the reason if the client sent a close frame."""

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
    claims: str | None = None


class Request(ToProcess, tag=7, frozen=True):
    """A request of another process; `request_id` is 0 if no response is expected."""

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
    """The response to a request of the process; with `await_id`, to the one that it blocks on."""

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
    """A request of the process failed; `missing` is the capability that it lacks."""

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
    """The outcome of a `Call`."""

    handle: int
    call_id: int
    outcome: Outcome


class Credit(Message, tag=11, frozen=True):
    """Add credit to a channel, in bytes."""

    channel_id: int
    size: int


class ChannelGone(Message, tag=12, frozen=True):
    """The channel was closed; the process gets no event."""

    channel_id: int


class Ping(Message, tag=13, frozen=True):
    """Answered by `Pong`, or the worker counts as dead."""


class Finish(Message, tag=14, frozen=True):
    """Stop a run once it has consumed all messages sent to it; answered by `Exited`."""

    handle: int
    reason: str


class Piece(Message, tag=15, frozen=True):
    """As `to_node.Piece`."""

    handle: int
    field: PayloadName
    size: int
    data: PieceOfPayload


class SetClock(Message, tag=17, frozen=True):
    """Move the stopped clock of a worker for tests, and answer by `AtRest`; no other worker takes it."""

    number: int
    ticks: int
    began: int


class TracedPush(Push, tag=18, frozen=True):
    """A `Push` of a trace."""

    trace: Trace = NO_TRACE


class TracedHttp(Http, tag=19, frozen=True):
    """An `Http` of a trace."""

    trace: Trace = NO_TRACE


class TracedRequest(Request, tag=20, frozen=True):
    """A `Request` of a trace."""

    trace: Trace = NO_TRACE


class TracedResponse(Response, tag=21, frozen=True):
    """A `Response` of a trace."""

    trace: Trace = NO_TRACE


class TracedSendFailure(SendFailure, tag=22, frozen=True):
    """A `SendFailure` of a trace."""

    trace: Trace = NO_TRACE


Traced: TypeAlias = TracedPush | TracedHttp | TracedRequest | TracedResponse | TracedSendFailure
Payload: TypeAlias = Push | Http | Request | Response | SendFailure | Reply | Traced
"""Messages with payloads that may be sent in pieces."""


class Whole(Message, tag=16, frozen=True):
    """As `to_node.Whole`."""

    handle: int
    message: Payload


class Placed(Message, tag=23, frozen=True):
    """As `to_node.Placed`, in the node's ring."""

    message: Push | Http | TracedPush | TracedHttp
    offset: int
    size: int


class Released(Message, tag=24, frozen=True):
    """As `to_node.Released`, of the worker's ring."""

    count: int


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
    | SetClock
    | Traced
    | Placed
    | Released
)
