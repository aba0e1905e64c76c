"""Messages between nodes.

Frozen structs in MessagePack, as on the link (`link/schema.py`). msgspec validates them while decoding, with a bound on
each string, list and byte string. Id 0 means that no response is expected. Fields that a later version adds at the end
are ignored, so nodes of several versions can be in one cluster; messages of a kind that is not known are dropped.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from guesthouse.core.capabilities import MOST_IN_MESSAGE
from guesthouse.core.messages import SendErrorKind
from guesthouse.kernel.capabilities.signed import SignedCapability
from guesthouse.link.schema import U64, LongText, Pair, Text

UNREADABLE: Final = (MsgspecError, UnicodeDecodeError, RecursionError)
"""Raised by `decode` for invalid messages."""

Part = Annotated[bytes, Meta(max_length=2**24)]
"""A body or blob; the maximum of `process.message_bytes`."""
Name = Annotated[str, Meta(max_length=512)]
"""A process id."""
SignedCapabilities = Annotated[tuple[SignedCapability, ...], Meta(max_length=MOST_IN_MESSAGE)]


class NodeStruct(Struct, array_like=True, frozen=True, gc=False):
    """Base of messages."""


class Request(NodeStruct, tag=0, frozen=True):
    """A request to a process of the receiving node."""

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
    """Capabilities passed to the receiver."""
    shown: SignedCapabilities
    """Capabilities presented for authorization: the sender's for the target and for channels."""


class Response(NodeStruct, tag=1, frozen=True):
    """The response to a request."""

    id: U64
    source: Name
    body: Part
    metadata: LongText | None
    mime: Text | None
    blob: Part | None
    handed: SignedCapabilities


class Failure(NodeStruct, tag=2, frozen=True):
    """A request failed; `missing` is the capability that its sender lacks."""

    id: U64
    kind: SendErrorKind
    missing: Pair | None


NodeMessage: TypeAlias = Request | Response | Failure

encode: Final = Encoder().encode
decode: Final = Decoder[NodeMessage](NodeMessage).decode
