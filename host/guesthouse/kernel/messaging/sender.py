"""What a `Send` is made of: who sends it, whom it is for, how much it is. Pure."""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.config import ProcessLimits
from guesthouse.core.errors import BadAddress
from guesthouse.link.to_node import Send
from guesthouse.link.to_worker import Response, SendFailure

_LONGEST_TARGET: Final = 1024


class Sender(Protocol):
    """Who sends: a process, or the node itself (`NodeSender`)."""

    @property
    def id(self) -> ProcessId:
        """What the source of its messages is stamped with."""

    def answer_await(self, handle: int, message: Response | SendFailure, size: int) -> None:
        """What the run of that handle blocks on is there."""

    def is_run(self, handle: int) -> bool:
        """Whether the run of that handle is the present one: a failure to send is told to no other."""

    def post_answer(self, message: Response | SendFailure, size: int) -> bool:
        """What became of a request of its. Returns False when it has no room."""


Unsent: TypeAlias = Literal["offline", "mailbox-full"]
"""Why a message for another node is not sent: that node cannot be reached, or the message is larger than it may be."""


class RemotePort(Protocol):
    """What reaches other nodes (`kernel/cluster/remote.py`)."""

    def send(self, sender: Sender, sent: Send, target: Address, request_id: int) -> Unsent | None:
        """Send a request of a process of this node. Returns why it is not sent."""


def address_of(text: str) -> Address | None:
    """Whom a message is for; None when that is no address."""
    if len(text) > _LONGEST_TARGET:
        return None
    try:
        return Address.parse(text)
    except BadAddress:
        return None


def size_of(sent: Send) -> int:
    """Bytes of a message that its sender chose."""
    return (
        len(sent.target)
        + len(sent.body)
        + len(sent.metadata or "")
        + len(sent.context or b"")
        + len(sent.mime or "")
        + len(sent.blob or b"")
        + sum(len(issuer) + len(params) for issuer, params in sent.capabilities)
    )


def size_violation(sent: Send, receiver: ProcessId, waiting: int, limits: ProcessLimits) -> str | None:
    """Why a message is more than its sender may send, or None; `waiting` bytes of its requests have no response."""
    limit = limits.message_bytes
    if len(sent.body) > limit or len(sent.blob or b"") > limit or size_of(sent) > 3 * limit:
        return f"a request to {receiver} is over the limit of {limit} bytes"
    if sent.expects_response is not None and waiting > limits.outstanding_bytes:
        return "a request was refused: too many of its requests wait for a response"
    return None


def at_node(node: str) -> ProcessId:
    """Who holds a request that waits for an answer of another node; no process has such an id."""
    return ProcessId("net", "distro", f"@{node}")
