"""Types shared by the messages of the link (`to_worker.py`, `to_node.py`, `calls.py`).

A message is a frozen struct, encoded as a MessagePack array `[tag, field, …]`. msgspec validates it while decoding: the
tag, the number of fields, and the type, range and length of each. There are no maps or extension types, and no nesting
except where a struct declares it, so the cost of decoding is linear in the size.

`handle` identifies a run of a process. Each run gets a new one, so that messages for an old run do not reach the next.
Message types are the numbers of `WsMessageType`.

The modules of messages do not import `annotations`: msgspec would evaluate each as a string, 8 ms at each start.
"""

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from guesthouse.core.capabilities import MOST_NAMED

PROTOCOL_VERSION: Final = 7

MOST_CHANNELS: Final = 1024
"""Maximum channels of a PushMany; a push to more is split."""
MOST_HEADERS: Final = 1024
"""Maximum headers of an HTTP response."""
MOST_ON_EXIT: Final = 64
"""Maximum on-exit requests of a process."""
MOST_RUNS: Final = 256
"""Maximum runs in a usage report; a larger one is split."""
MOST_SUBPROTOCOLS: Final = 256
PIECE_BYTES: Final = 128 * 1024
"""Larger payloads are sent in pieces of this size, which fits an empty socket buffer."""
MOST_IN_PIECES: Final = 64 * 1024 * 1024
"""Maximum bytes of all payloads that one end is assembling."""

U16 = Annotated[int, Meta(ge=0, lt=2**16)]
U32 = Annotated[int, Meta(ge=0, lt=2**32)]
U64 = Annotated[int, Meta(ge=0)]
"""MessagePack has no larger integers."""
MessageType = Annotated[int, Meta(ge=0, le=4)]
Seconds = Annotated[float, Meta(ge=0, lt=2**64)]
Name = Annotated[str, Meta(max_length=1024)]
Text = Annotated[str, Meta(max_length=65_536)]
"""A path, address, MIME type or reason."""
LongText = Annotated[str, Meta(max_length=2**24)]
"""Text with a limit in the settings."""
PieceOfPayload = Annotated[bytes, Meta(max_length=PIECE_BYTES)]
PayloadName: TypeAlias = Literal["body", "context", "blob", "payload", "state", "content"]
"""A field that may be sent in pieces."""
Pair: TypeAlias = tuple[Text, Text]
Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""Parameters and headers, from the node."""
Rights = Annotated[tuple[Pair, ...], Meta(max_length=MOST_NAMED)]
"""Capabilities, as issuer and params."""


class Message(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of messages and of structs in them."""


class ExitRequest(Message, frozen=True):
    """A request to be sent when a process ends."""

    target: Text
    body: bytes
    expects_response: U64 | None
    mime: Text | None
    blob: bytes | None


ExitRequests = Annotated[tuple[ExitRequest, ...], Meta(max_length=MOST_ON_EXIT)]
OnExit: TypeAlias = Literal["none", "restart"] | ExitRequests
"""What happens when a process ends."""
