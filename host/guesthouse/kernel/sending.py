"""What a SEND is made of: who sends it, whom it is for, how much it is. Pure."""

from __future__ import annotations

from typing import Final, Protocol

from guesthouse.address import Address, ProcessId
from guesthouse.config import ProcessLimits
from guesthouse.errors import BadAddress
from guesthouse.kernel.mailbox import Operation

_LONGEST_TARGET: Final = 1024


class Sender(Protocol):
    """Who sends: a process, or the node itself (`Asker`)."""

    @property
    def id(self) -> ProcessId:
        """What the source of its messages is stamped with."""

    def answer_await(self, handle: int, operation: Operation, size: int) -> None:
        """What the run of that handle blocks on is there: a RESPONSE or SEND_FAILURE."""

    def is_run(self, handle: int) -> bool:
        """Whether the run of that handle is the present one: a SEND_FAILURE is told to no other."""

    def post_answer(self, operation: Operation, size: int) -> bool:
        """A RESPONSE or SEND_FAILURE for it. Returns False when it has no room."""


class RemotePort(Protocol):
    """What reaches other nodes (`kernel/remote.py`)."""

    def send(self, sender: Sender, sent: Operation, target: Address, request_id: int) -> bool:
        """Send a request of a process of this node. Returns False when the node cannot be reached."""


def address_of(text: str) -> Address | None:
    """Whom a SEND is for; None when that is no address."""
    if len(text) > _LONGEST_TARGET:
        return None
    try:
        return Address.parse(text)
    except BadAddress:
        return None


def size_of(sent: Operation) -> int:
    """Bytes of a SEND that the sender chose."""
    _, _, target, body, _, _, metadata, context, mime, blob, _, _, *attached = sent
    return (
        len(target)
        + len(body)
        + len(metadata or "")
        + len(context or b"")
        + len(mime or "")
        + len(blob or b"")
        + sum(len(issuer) + len(params) for rights in attached for issuer, params in rights)
    )


def too_much(sent: Operation, receiver: ProcessId, waiting: int, limits: ProcessLimits) -> str | None:
    """Why a message is more than its sender may send, or None; `waiting` bytes of its requests have no response."""
    limit = limits.message_bytes
    if len(sent[3]) > limit or len(sent[9] or b"") > limit or size_of(sent) > 3 * limit:
        return f"a request to {receiver} is over the limit of {limit} bytes"
    if sent[5] is not None and waiting > limits.outstanding_bytes:
        return "a request was refused: too many of its requests wait for a response"
    return None
