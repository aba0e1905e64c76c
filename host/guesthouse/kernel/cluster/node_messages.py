"""What nodes tell each other. It comes from machines of others: nothing of it is believed before it is read as one of
these.

A message is a frozen struct, as on the link (`link/schema.py`): MessagePack that msgspec checks as it reads it, with
a bound on each text, list and piece of bytes that is looked at before one is made. Id 0 wants no answer.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, MsgspecError
from msgspec.msgpack import Decoder, Encoder

from guesthouse.core.capabilities import MOST_IN_MESSAGE
from guesthouse.core.messages import SendErrorKind
from guesthouse.kernel.capabilities.signed import SignedCapability
from guesthouse.link.schema import U64, LongText, Message, Pair, Text

PROTOCOL_VERSION: Final = 2
"""Of the messages, and of the envelopes that they travel in (`kernel/cluster/envelopes.py`)."""

UNREADABLE: Final = (MsgspecError, UnicodeDecodeError, RecursionError)
"""What `decode` raises for what is none of these messages."""

Part = Annotated[bytes, Meta(max_length=2**24)]
"""A body or a blob: what `process.message_bytes` is at the most."""
Name = Annotated[str, Meta(max_length=512)]
"""A process id."""
SignedCapabilities = Annotated[tuple[SignedCapability, ...], Meta(max_length=MOST_IN_MESSAGE)]


class Request(Message, tag=0, frozen=True):
    """A request of a process there to one here."""

    id: U64
    source: Name
    target: Name
    body: Part
    inherit: bool
    expects_response: U64 | None
    metadata: LongText | None
    mime: Text | None
    blob: Part | None
    handed: SignedCapabilities
    """What the sender hands over."""
    shown: SignedCapabilities
    """What its node shows for it: what it holds of the target, and of channels."""


class Response(Message, tag=1, frozen=True):
    """The answer to a request."""

    id: U64
    source: Name
    body: Part
    metadata: LongText | None
    mime: Text | None
    blob: Part | None
    handed: SignedCapabilities


class Failure(Message, tag=2, frozen=True):
    """A request comes back; `missing` is the capability that it was refused for."""

    id: U64
    kind: SendErrorKind
    missing: Pair | None


NodeMessage: TypeAlias = Request | Response | Failure

encode: Final = Encoder().encode
decode: Final = Decoder[NodeMessage](NodeMessage).decode
