"""Senders, targets and sizes of messages. Pure."""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.config import ProcessLimits
from guesthouse.core.errors import BadAddress
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.link.to_node import Send
from guesthouse.link.to_worker import Response, SendFailure

_LONGEST_TARGET: Final = 1024


class Sender(Protocol):
    """A process, or the node itself (`NodeSender`)."""

    @property
    def id(self) -> ProcessId:
        """Source of its messages."""

    def answer_await(self, handle: int, message: Response | SendFailure, size: int) -> None:
        """Answer a request that the run of that handle blocks on."""

    def is_run(self, handle: int) -> bool:
        """Whether that handle is of the current run; send failures are not delivered to others."""

    def post_answer(self, message: Response | SendFailure, size: int) -> bool:
        """Post the outcome of a request. Returns False if there is no room."""


Unsent: TypeAlias = Literal["offline", "mailbox-full"]
"""Why a message to another node is not sent: the node cannot be reached, or the message is too large, or too much is
waiting for that node.
"""


class RemotePort(Protocol):
    """Sends requests to other nodes (`kernel/cluster/remote.py`)."""

    def send(self, sender: Sender, sent: Send, target: Address, request_id: int) -> Unsent | None:
        """Send a request of a process of this node; returns None or an error."""


def address_of(text: str) -> Address | None:
    """Parse the target of a message; None if it is not an address."""
    if len(text) > _LONGEST_TARGET:
        return None
    try:
        return Address.parse(text)
    except BadAddress:
        return None


def size_of(sent: Send) -> int:
    """Bytes of a message."""
    return (
        len(sent.target)
        + len(sent.body)
        + len(sent.metadata or "")
        + len(sent.context or b"")
        + len(sent.mime or "")
        + len(sent.blob or b"")
        + sum(len(issuer) + len(params) for issuer, params in sent.capabilities)
    )


def blob_of(sent: Send) -> LazyLoadBlob | None:
    """The blob of a message."""
    return None if sent.blob is None else LazyLoadBlob(sent.mime, sent.blob)


def size_violation(sent: Send, receiver: ProcessId, waiting: int, limits: ProcessLimits) -> str | None:
    """Why a message exceeds its sender's limits, or None.

    Args:
        sent: the message.
        receiver: its target.
        waiting: bytes of the sender's pending requests.
        limits: the settings.
    """
    limit = limits.message_bytes
    if len(sent.body) > limit or len(sent.blob or b"") > limit or size_of(sent) > 3 * limit:
        return f"a request to {receiver} is over the limit of {limit} bytes"
    if sent.expects_response is not None and waiting > limits.outstanding_bytes:
        return "a request was refused: too many of its requests are pending"
    return None


def at_node(node: str) -> ProcessId:
    """Holder of requests that another node is to answer; not a valid process id."""
    return ProcessId("net", "distro", f"@{node}")
