"""What a worker tells the node. It runs untrusted code: nothing of it is believed before it is read as one of these."""

from __future__ import annotations

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
    Text,
)
from guesthouse.link.usage import Usage


class Ready(Message, tag=0, frozen=True):
    """The worker checked its wasmtime and takes processes."""

    version: U32
    os_pid: U32


class Started(Message, tag=1, frozen=True):
    """The process asked for its first message: its start, with whatever it binds, is over."""

    handle: U64


class Exited(Message, tag=2, frozen=True):
    """The process is no more; the cause is one of `ExitCause`."""

    handle: U64
    cause: Name
    detail: LongText


class Consumed(Message, tag=3, frozen=True):
    """The process took that many more of the messages sent to it (Open … SendFailure without await_id), in order."""

    handle: U64
    count: U32


class Push(Message, tag=4, frozen=True):
    """A message to a client."""

    handle: U64
    channel_id: U32
    message_type: MessageType
    payload: bytes


class PushMany(Message, tag=5, frozen=True):
    """The same to many."""

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
    """The answer to an HTTP request; `http_id` is never 0."""

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
    """The answer to a request of another process."""

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
    """Something else happens when the process ends."""

    handle: U64
    on_exit: OnExit


class LogLine(Message, tag=12, frozen=True):
    """A line that the process wrote or caused."""

    handle: U64
    stream: Literal["print", "stdout", "stderr", "host"]
    level: Literal["error", "warning", "info", "debug"]
    text: LongText


class RunUsage(Message, frozen=True):
    """What one run uses."""

    handle: U64
    used: Usage


class UsageUpdate(Message, tag=13, frozen=True):
    """Sent each second while something changed, and once more with what came to rest."""

    runs: Annotated[list[RunUsage], Meta(max_length=MOST_RUNS)]


class Pong(Message, tag=14, frozen=True):
    """The answer to a `Ping`."""


class Piece(Message, tag=15, frozen=True):
    """The next bytes of a payload of `size` bytes, which is in `field` of the message that the next `Whole` holds."""

    handle: U64
    field: PayloadName
    size: U32
    data: PieceOfPayload


Payload: TypeAlias = Push | PushMany | HttpResponse | Send | Respond | Call
"""What may have large payloads."""


class Whole(Message, tag=16, frozen=True):
    """A message whose large payloads came in pieces before it; its own are empty."""

    handle: U64
    message: Payload


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
)
"""What a worker says for one run."""
ToNode: TypeAlias = OfRun | Ready | UsageUpdate | Pong
