"""Messages from a worker to the node. Workers run untrusted code, so these are validated while they are decoded."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from guesthouse.link.calls import Call as AnyCall
from guesthouse.link.schema import (
    MOST_CHANNELS,
    MOST_HEADERS,
    MOST_RUNS,
    U16,
    U32,
    U64,
    LongText,
    Message,
    MessageType,
    Name,
    OnExit,
    Pair,
    PayloadName,
    PieceOfPayload,
    Rights,
    Seconds,
    Text,
)
from guesthouse.link.trace_schema import Attributes, Events, ReportedSpans, SpanText
from guesthouse.link.usage import Usage


class Ready(Message, tag=0, frozen=True):
    """The worker has passed its self-check and accepts processes."""

    version: U32
    os_pid: U32


class Started(Message, tag=1, frozen=True):
    """The process asked for its first message: it has started and bound its paths."""

    handle: U64


class Exited(Message, tag=2, frozen=True):
    """The run ended; the cause is an `ExitCause`."""

    handle: U64
    cause: Name
    detail: LongText


class Consumed(Message, tag=3, frozen=True):
    """The process consumed the next `count` messages sent to it (Open … SendFailure without `await_id`), in order. The
    count is 0 when it has only finished the last one.
    """

    handle: U64
    count: U32
    in_hand: bool = True
    """Whether it is still at work on the last one: it has not asked for another since, or there was one."""


class Push(Message, tag=4, frozen=True):
    """A message to a client."""

    handle: U64
    channel_id: U32
    message_type: MessageType
    payload: bytes


class PushMany(Message, tag=5, frozen=True):
    """A message to many clients."""

    handle: U64
    channel_ids: Annotated[list[U32], Meta(max_length=MOST_CHANNELS)]
    message_type: MessageType
    payload: bytes


class CloseChannel(Message, tag=6, frozen=True):
    """Close a channel."""

    handle: U64
    channel_id: U32
    code: U16
    reason: Text


class HttpResponse(Message, tag=7, frozen=True):
    """The response to an HTTP request; `http_id` is never 0."""

    handle: U64
    http_id: U64
    status: U16
    headers: Annotated[tuple[Pair, ...], Meta(max_length=MOST_HEADERS)]
    mime: Text | None
    body: bytes


class Send(Message, tag=8, frozen=True):
    """A request to another process. `await_id` > 0: the process blocks for the answer. The inherited request is one
    between processes, or an HTTP request as `-http_id`.
    """

    handle: U64
    target: Text
    body: bytes
    inherit: bool = False
    expects_response: U64 | None = None
    metadata: LongText | None = None
    context: bytes | None = None
    mime: Text | None = None
    blob: bytes | None = None
    await_id: U64 = 0
    inherited_id: int = 0
    capabilities: Rights = ()


class Respond(Message, tag=9, frozen=True):
    """The response to a request of another process."""

    handle: U64
    request_id: U64
    body: bytes
    inherit: bool = False
    metadata: LongText | None = None
    mime: Text | None = None
    blob: bytes | None = None
    capabilities: Rights = ()


class Call(Message, tag=10, frozen=True):
    """A call that the node must answer by a `Reply`."""

    handle: U64
    call_id: U64
    call: AnyCall


class SetOnExit(Message, tag=11, frozen=True):
    """Change the process's on-exit."""

    handle: U64
    on_exit: OnExit


class LogLine(Message, tag=12, frozen=True):
    """A line that the process wrote or caused."""

    handle: U64
    stream: Literal["print", "stdout", "stderr", "host"]
    level: Literal["error", "warning", "info", "debug"]
    text: LongText
    channel_id: U32 = 0
    """Of the message in hand; 0 without one."""
    trace: U64 = 0
    """The number of its trace; 0 without one."""


class RunUsage(Message, frozen=True):
    """Usage of a run."""

    handle: U64
    used: Usage


class UsageUpdate(Message, tag=13, frozen=True):
    """Sent each second for runs whose usage changed, and once more when they become idle."""

    runs: Annotated[list[RunUsage], Meta(max_length=MOST_RUNS)]


class Pong(Message, tag=14, frozen=True):
    """The answer to a `Ping`."""


class Piece(Message, tag=15, frozen=True):
    """The next bytes of a payload of `size` bytes, for `field` of the message in the next `Whole`."""

    handle: U64
    field: PayloadName
    size: U32
    data: PieceOfPayload


class AtRest(Message, tag=17, frozen=True):
    """A worker for tests has nothing left to do since the `SetClock` of that number."""

    number: U64
    handled: U64
    """Messages that it was sent, other than `SetClock`."""
    calls: bool
    """Whether a guest waits for the node to answer a call."""
    wakes_at: U64 | None
    """When the next guest that sleeps wakes, in ticks of the clock."""


class PushInTrace(Push, tag=18, frozen=True):
    """A `Push` of a trace, in one of its spans."""

    trace: U64 = 0
    span: U64 = 0


class PushManyInTrace(PushMany, tag=19, frozen=True):
    """A `PushMany` of a trace, in one of its spans."""

    trace: U64 = 0
    span: U64 = 0


class HttpResponseInTrace(HttpResponse, tag=20, frozen=True):
    """An `HttpResponse` of a trace, in one of its spans."""

    trace: U64 = 0
    span: U64 = 0


class SendInTrace(Send, tag=21, frozen=True):
    """A `Send` of a trace, in one of its spans."""

    trace: U64 = 0
    span: U64 = 0


class RespondInTrace(Respond, tag=22, frozen=True):
    """A `Respond` of a trace, in one of its spans."""

    trace: U64 = 0
    span: U64 = 0


class TraceReport(Message, tag=23, frozen=True):
    """A run has handled a message of a trace, after all that it sent for it. Times are Unix nanoseconds."""

    handle: U64
    trace: U64
    taken: U64
    ended: U64
    cpu_seconds: Seconds
    attributes: Attributes
    events: Events
    spans: ReportedSpans
    dropped: U32
    """Spans, events and attributes beyond the limits."""
    error: SpanText | None


Traced: TypeAlias = PushInTrace | PushManyInTrace | HttpResponseInTrace | SendInTrace | RespondInTrace
Payload: TypeAlias = Push | PushMany | HttpResponse | Send | Respond | Call | Traced
"""Messages with payloads that may be sent in pieces."""


class Whole(Message, tag=16, frozen=True):
    """A message whose large payloads were sent before in pieces, and are empty here."""

    handle: U64
    message: Payload


class Placed(Message, tag=24, frozen=True):
    """A message whose payload is in the worker's ring (`link/lane.py`), and empty here."""

    message: Push | PushMany | HttpResponse | PushInTrace | PushManyInTrace | HttpResponseInTrace
    offset: U32
    size: U32


class Released(Message, tag=25, frozen=True):
    """The worker has copied the next `count` payloads out of the node's ring."""

    count: U32


OfRun: TypeAlias = (
    Started
    | Exited
    | Consumed
    | Push
    | PushMany
    | CloseChannel
    | HttpResponse
    | Send
    | Respond
    | Call
    | SetOnExit
    | LogLine
    | Piece
    | Whole
    | Traced
    | TraceReport
)
"""Messages of a run."""
ToNode: TypeAlias = OfRun | Ready | UsageUpdate | Pong | AtRest | Placed | Released
