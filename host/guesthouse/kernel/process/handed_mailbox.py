"""What a process's mailbox and requests are for the next run of the node. Pure."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from guesthouse.link.to_node import Send
from guesthouse.link.to_worker import Close, Open, Push, Request, Response, SendFailure

HandedId: TypeAlias = Annotated[str, Meta(max_length=4096)]
"""A process's id."""
Handed: TypeAlias = Open | Push | Close | Request | Response | SendFailure
"""Messages that a mailbox hands over: who sent an HTTP request is not there any more."""


class HandedMessage(Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="message"):
    """A message that its process has not taken."""

    process: HandedId
    message: Handed
    size: Annotated[int, Meta(ge=0, lt=2**32)]


class HandedOpen(Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="open"):
    """How a channel was opened of which messages are kept: it may be closed."""

    process: HandedId
    message: Open


class HandedRequest(Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="request"):
    """A request that waits for its response."""

    id: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    sender: HandedId
    sent: Send
    left_seconds: Annotated[float, Meta(ge=0, le=2**53)]
    holders: Annotated[tuple[HandedId, ...], Meta(min_length=1, max_length=65_536)]
    """Who may answer it."""
