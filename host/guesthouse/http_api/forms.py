"""What the operations of the API take and give. The OpenAPI document is generated from these types. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Raw, Struct, field

from guesthouse.http_server.auth.custom_claims import MOST_VALUES
from guesthouse.http_server.state.channels import MAX_DRAWN_ID

MOST_CHANNELS: Final = 1_000
"""In one page of a list."""
MOST_LINES: Final = 1_000

LONGEST_SECONDS: Final = 10 * 366 * 24 * 3600
_BASE64: Final = "[A-Za-z0-9+/]"
_PART: Final = "[A-Za-z0-9](?:[A-Za-z0-9._~-]{0,126}[A-Za-z0-9_~-])?"
ProcessName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=f"^{_PART}:{_PART}:{_PART}$",
        description="A process, as `process:package:publisher`",
        examples=["chat:chat:guesthouse.os"],
    ),
]
ChannelId: TypeAlias = Annotated[
    int, Meta(ge=1, le=MAX_DRAWN_ID, description="A channel, as its client and its process know it")
]
Path: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=2048, description="A channel's path, as requested or as bound")
]


class Taken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operation takes."""


class Nothing(Taken, frozen=True):
    """No parameters."""


class AboutProcess(Taken, frozen=True):
    """The process that it is about."""

    process: ProcessName


class AboutChannel(Taken, frozen=True):
    """The channel that it is about."""

    channel_id: ChannelId


class ListChannels(Taken, frozen=True):
    """Which channels."""

    process: Annotated[ProcessName | None, Meta(description="Only those of this process")] = None
    path: Annotated[Path | None, Meta(description="Only those with this path")] = None
    limit: Annotated[int, Meta(ge=1, le=MOST_CHANNELS, description="The most to list")] = 100
    after: Annotated[
        int, Meta(ge=0, le=MAX_DRAWN_ID, description="`next` of the page before; 0 for the first")
    ] = 0


class ReadLog(Taken, frozen=True):
    """Which lines."""

    lines: Annotated[int, Meta(ge=1, le=MOST_LINES, description="The most lines, the last ones")] = 100
    source: Annotated[
        str, Meta(max_length=400, description="A process, a package, or a part of the node; empty for all")
    ] = ""
    level: Annotated[
        Literal["error", "warning", "info", "debug"], Meta(description="The least severe level")
    ] = "info"
    since: Annotated[float, Meta(ge=0, le=1e11, description="Unix seconds")] = 0.0
    text: Annotated[str, Meta(max_length=200, description="What the text has in it, whatever the case")] = ""


class EndChannel(AboutChannel, frozen=True):
    """A channel, and what its client is told."""

    code: Annotated[int, Meta(ge=3000, le=4999)] | None = None
    """A close code of the application; 1000 without one."""
    reason: Annotated[
        str, Meta(max_length=123, description="For the client; cut after 123 bytes of UTF-8")
    ] = ""


class TextMessage(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """A text message."""

    text: str


class BinaryMessage(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="binary"):
    """A binary message."""

    base64: Annotated[str, Meta(pattern=f"^(?:{_BASE64}{{4}})*(?:{_BASE64}{{2}}==|{_BASE64}{{3}}=)?$")]


class PushToChannel(AboutChannel, frozen=True):
    """A message to one channel."""

    message: TextMessage | BinaryMessage


class PushToProcess(AboutProcess, frozen=True):
    """A message to all channels of a process, or to those with a path."""

    message: TextMessage | BinaryMessage
    path: Path | None = None


class IssueToken(Taken, frozen=True):
    """What a token is good for."""

    process: ProcessName
    seconds: Annotated[int, Meta(ge=1, le=LONGEST_SECONDS, description="How long it is valid")] = 3600
    channels: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    """How many channels may be open with it at a time; null for any number."""
    renewable: bool = False
    """Whether its bearer may renew it, up to `http.renewable_seconds`."""
    claims: Annotated[
        Raw,
        Meta(
            description="What the process is to know of its bearer: a JSON object of at most 1 KiB",
            extra_json_schema={
                "type": ["object", "null"],
                "maxProperties": MOST_VALUES,
                "additionalProperties": True,
            },
        ),
    ] = field(default_factory=Raw)


class AboutToken(Taken, frozen=True):
    """The token that it is about."""

    token_id: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9_-]{4,700}[.][A-Za-z0-9_-]{22}$",
            description="`id` of the token when it was issued",
        ),
    ]


# What they give.


class IssuedToken(Struct, frozen=True):
    """A token that was issued. The node does not store it."""

    token: str
    id: str
    """To revoke it by. It is no secret."""
    expires: int
    """Unix seconds."""


class PushResult(Struct, frozen=True):
    """Whom a message to several channels reached."""

    channels: int
    """That took it."""
    refused: int
    """That did not: because their client reads too slowly, or they were closed meanwhile."""
    refused_channels: list[int]
    """The first of these, a thousand at most."""


class ProcessAfter(Struct, frozen=True):
    """A process after it was restarted or stopped."""

    process: str
    state: str


class NodeStatus(Struct, frozen=True):
    """The node."""

    node: str
    version: str
    ready: bool
    reasons: list[str]
    """Why it is not ready."""
    processes: int
    channels: int


class ProcessLimitValues(Struct, frozen=True):
    """The limits of a process."""

    memory_bytes: int
    cpu_seconds_per_message: float
    cpu_share: float
    host_calls_per_second: int
    mailbox_bytes: int
    state_bytes: int
    log_lines_per_second: int


class RunEnded(Struct, frozen=True):
    """How a run of a process ended."""

    cause: str
    text: str
    time: float


class ProcessStatus(Struct, frozen=True):
    """A process: what it is, where it runs, and its use of each limit."""

    process: str
    state: str
    worker: str | None
    on_exit: str
    restarts: int
    up_seconds: float | None
    last_end: RunEnded | None
    cpu_seconds: float
    cpu_message_seconds: float
    cpu_share: float
    host_calls: int
    host_calls_per_second: float
    held_seconds: float
    memory_bytes: int | None
    mailbox_messages: int
    mailbox_bytes: int
    state_bytes: int | None
    log_lines_dropped: int
    limits: ProcessLimitValues
    channels: int
    resumable: int
    away: int
    ended: int
    messages_in: int
    messages_out: int
    version: str | None
    hash: str | None


class ProcessList(Struct, frozen=True):
    """The processes of the node."""

    processes: list[ProcessStatus]


class ChannelStatus(Struct, frozen=True):
    """An open channel."""

    channel_id: int
    process: str
    path: str
    client: str
    open_seconds: float
    messages_in: int
    messages_out: int
    outbox_bytes: int
    resumable: bool
    away: bool


class ChannelList(Struct, frozen=True):
    """A page of the open channels, by id."""

    channels: list[ChannelStatus]
    next: int | None
    """`after` of the next page; null on the last."""


class PackageStatus(Struct, frozen=True):
    """A package that is installed or running."""

    package: str
    version: str | None
    hash: str | None
    previous_version: str | None
    previous_hash: str | None
    running_version: str | None
    running_hash: str | None
    processes: list[str]
    asks: list[dict[str, Any]] | None = None
    """What its manifest asks for."""


class PackageList(Struct, frozen=True):
    """The packages of the node."""

    packages: list[PackageStatus]


class LogEntry(Struct, frozen=True):
    """A line of the log."""

    time: float
    source: str
    stream: str
    level: str
    text: str


class LogTail(Struct, frozen=True):
    """The last lines that were asked for, oldest first."""

    lines: list[LogEntry] = field(default_factory=list)
