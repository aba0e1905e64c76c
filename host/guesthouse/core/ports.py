"""The interfaces between the parts of a node.

`kernel` owns processes and their mailboxes; `http_server` owns sockets, channels and bindings. They
know each other only through these protocols, so each can be tested alone.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.capabilities import Capability
from guesthouse.core.messages import (
    IncomingHttpRequest,
    LazyLoadBlob,
    Pairs,
    Request,
    SendErrorKind,
    WebSocketOpen,
)


class Feeder(Protocol):
    """A source of messages that can be paused, such as a socket."""

    def pause_reading(self) -> None:
        """Pause until `resume_reading`. Idempotent."""

    def resume_reading(self) -> None:
        """Resume. May be called without a pause before."""


class ProcessPort(Protocol):
    """A process of this node, as the HTTP server sees it. No method blocks."""

    @property
    def id(self) -> ProcessId:
        """The process's canonical id."""

    @property
    def gone(self) -> bool:
        """Whether it has ended for good. A process that is being restarted has not."""

    def post_open(self, event: WebSocketOpen, credit: int) -> None:
        """Tell the process of a channel. `credit` is how many bytes it may push at first."""

    def post_push(self, channel_id: int, message_type: int, payload: bytes, feeder: Feeder) -> None:
        """Deliver a client's message. When the mailbox is full afterwards, `feeder` is paused, and resumed
        once there is room; the message itself is always accepted.
        """

    def post_close(self, channel_id: int, reason: bytes | None = None) -> None:
        """Tell the process that the client has left; `reason` is that of its close frame."""

    def post_channel_gone(self, channel_id: int) -> None:
        """The channel was closed at the process's request: forget it, without an event."""

    def post_http(self, http_id: int, request: IncomingHttpRequest, mime: str | None, body: bytes) -> bool:
        """Deliver an HTTP request. Returns False when the mailbox is full (answer 503)."""

    def grant_credit(self, channel_id: int, size: int) -> None:
        """Allow `size` more bytes to be pushed to the channel."""


class Answer(Struct, frozen=True):
    """A process's answer to a request of the HTTP server."""

    body: bytes
    metadata: str | None = None
    blob: LazyLoadBlob | None = None
    source: str = ""
    """The address of the process that answered, if known."""
    capabilities: tuple[Capability, ...] = ()
    """What came with the answer."""


Incoming: TypeAlias = Callable[[bytes], Literal["full"] | None]
"""Accepts a frame for this node; returns "full" when too many are waiting."""


class Transport(Protocol):
    """Carries frames to other nodes, such as a message broker. It is not trusted: what it forges, alters, repeats or
    reorders is dropped. Frames to one node should arrive in the order sent: a session ends when one is missing.
    """

    @property
    def frame_bytes(self) -> int:
        """Maximum bytes of a frame, at least 4 KiB."""

    def send(self, node: str, frame: bytes) -> Literal["offline", "full"] | None:
        """Send a frame to a node. Never blocks; its queue is bounded. The frame must not reach the node's `Incoming`
        before this has returned.

        Returns:
            None if it was taken; "full" if it cannot be now: call `Peers.carrier_ready` once there is room; "offline"
            if the node cannot be reached, which ends the session with it.
        """


class ChannelFeeder(Feeder, Protocol):
    """A channel's socket."""

    @property
    def channel_id(self) -> int:
        """Its channel."""


class RouterPort(Protocol):
    """How the HTTP server finds processes, and sends them requests as `http-server:distro:sys`."""

    @property
    def node(self) -> str:
        """The node's name."""

    def find(self, process: ProcessId, client: str = "") -> ProcessPort | None:
        """The process of that id or alias, running or being restarted; None when there is none.

        Args:
            process: its id.
            client: for whom. Where several nodes have the process, clients are spread over them, and each one gets the
                same node's again.
        """

    def is_away(self, process: ProcessId) -> bool:
        """Whether a process that is not found is one of another node that cannot be reached now."""

    def is_expected(self, process: ProcessId) -> bool:
        """Whether a process that is not found may be one of another node, which has not said yet what it runs."""

    def has_package(self, package_id: str) -> bool:
        """Whether this node has a process of `package:publisher` that has not ended for good."""

    def processes(self) -> Sequence[ProcessPort]:
        """All processes that have not ended for good."""

    def request(
        self,
        process: ProcessId,
        request: Request,
        blob: LazyLoadBlob | None,
        answered: Callable[[Answer | SendErrorKind], None],
        feeder: ChannelFeeder | None = None,
    ) -> SendErrorKind | None:
        """Send a request to a process; returns None or why it was refused. `answered` is called once, later,
        if the request expects a response. A request from `feeder` is accepted even by a full
        mailbox, and `feeder` is paused then.
        """

    async def ask(
        self, process: ProcessId, request: Request, blob: LazyLoadBlob | None
    ) -> Answer | SendErrorKind | None:
        """`request`, and wait for the answer; None at once when none is expected. May be cancelled."""

    def expect(self, answered: Callable[[Answer | SendErrorKind], None]) -> int:
        """Create a request of the HTTP server that no process has yet; returns its number. `answered` is called
        once with its response or an error, unless `forget` is called before.
        """

    def forget(self, request_id: int) -> None:
        """Stop waiting for a response."""

    def answer(self, request_id: int, asker: ProcessId, body: bytes, blob: LazyLoadBlob | None) -> bool:
        """Answer a deferred request of `asker` to `http-server:distro:sys`; False
        when it is not waiting any more.
        """


class HttpServerPort(Protocol):
    """What the kernel asks of the HTTP server on behalf of processes. No method blocks.

    `owner` is always set by the kernel. A channel of another owner is treated like one that does not
    exist.
    """

    def push(self, owner: ProcessId, channel_id: int, message_type: int, payload: bytes) -> None:
        """Send a message that the worker has checked against the channel's credit. The node checks
        again (workers are not trusted): failures are logged and dropped.
        """

    def push_many(
        self, owner: ProcessId, channel_ids: Sequence[int], message_type: int, payload: bytes
    ) -> None:
        """`push` to many channels; the message is framed once."""

    def close_channel(self, owner: ProcessId, channel_id: int, code: int, reason: str) -> None:
        """Close a channel at its process's request."""

    def http_response(
        self, owner: ProcessId, http_id: int, status: int, headers: Pairs, mime: str | None, body: bytes
    ) -> None:
        """Answer an HTTP request that was posted to `owner`; ignored and logged when it is not `owner`'s
        or was answered already.
        """

    def hand_on_http(self, owner: ProcessId, http_id: int) -> int:
        """`owner` passes an HTTP request on: returns the number of the request between processes whose response
        will be its answer; 0 when it is not `owner`'s or was answered already.
        """

    def request(
        self, source: Address, body: bytes, blob: LazyLoadBlob | None, leave_waiting: Callable[[], int]
    ) -> bytes | None:
        """Handle a JSON request to `http-server:distro:sys`; returns the JSON response body,
        `{"Ok": null}` or `{"Err": ...}`. None when `leave_waiting` was called, which defers the answer: call
        `RouterPort.answer` with the id that it returned (0 when no response is expected).
        """

    def reopen(self, owner: ProcessId) -> None:
        """The process runs again: post its open channels (`resumed=True`, fresh credit) before
        anything else.
        """

    def run_ended(self, owner: ProcessId, kept: Container[int]) -> None:
        """A run of the process ended: fail its HTTP requests, except those `kept` for the next run."""

    def process_gone(self, owner: ProcessId, reason: str) -> None:
        """The process ended for good: close its channels with 1011, remove its bindings, fail its HTTP requests."""

    def open_channels(self, owner: ProcessId | None = None) -> Sequence[ChannelInfo]:
        """The open channels, of one process or of all."""


class ChannelInfo(Protocol):
    """One open channel, for listings."""

    @property
    def channel_id(self) -> int:
        """Its id."""

    @property
    def owner(self) -> ProcessId:
        """The process it belongs to."""

    @property
    def path(self) -> str:
        """As in `WebSocketOpen`."""

    @property
    def bound_path(self) -> str | None:
        """The same."""

    @property
    def client(self) -> str:
        """Its client's address; with its port, unless it is behind a trusted proxy."""

    @property
    def opened_at(self) -> float:
        """Seconds of the monotonic clock."""

    @property
    def messages_in(self) -> int:
        """Messages from its client."""

    @property
    def messages_out(self) -> int:
        """Messages to its client."""

    @property
    def outbox_bytes(self) -> int:
        """Bytes that its client has not read; of a resumable channel, that it has not acknowledged."""

    @property
    def resumable(self) -> bool:
        """Whether it outlives its socket."""

    @property
    def away(self) -> bool:
        """Whether its client has no socket now, and may come back."""


class LogPort(Protocol):
    """Where the node's parts log. Never blocks; bounded."""

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        """Log a line.

        Args:
            source: a process id or a part such as `http-server`.
            level: error, warning, info or debug.
            text: what to log.
            stream: print, stdout, stderr or host.
            channel_id: of the channel that it is about; 0 for none.
        """
