"""What every message on the link is made of. The messages themselves: `to_worker.py`, `to_node.py`, `calls.py`.

A message is a frozen struct that msgspec writes as a MessagePack array, `[tag, field, …]`, and checks as it reads it:
the tag, the number of fields, the type, range and length of each. There is no map, no extension type and nothing that
nests but where a struct says so, so reading costs no more than the bytes are worth.

`handle` is the number by which node and worker name one run of one process: a process that is started again gets a new
one, so nothing meant for the old run reaches the new. Channel ids are the node's. Payloads are bytes; a message type is
its number in `WsMessageType`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from guesthouse.core.capabilities import MOST_NAMED

PROTOCOL_VERSION: Final = 3

MOST_CHANNELS: Final = 1024
"""Channels in one PushMany; a push to more is several."""
MOST_HEADERS: Final = 1024
"""Headers of an HTTP response."""
MOST_ON_EXIT: Final = 64
"""Requests that a process may leave for its end."""
MOST_RUNS: Final = 256
"""Runs in one usage report; a report of more is several."""
MOST_SUBPROTOCOLS: Final = 256
PIECE_BYTES: Final = 128 * 1024
"""A payload that is larger crosses in pieces of so many, each of which an empty socket takes."""
MOST_IN_PIECES: Final = 64 * 1024 * 1024
"""Bytes of all payloads that one end is putting together."""

U16 = Annotated[int, Meta(ge=0, lt=2**16)]
U32 = Annotated[int, Meta(ge=0, lt=2**32)]
U64 = Annotated[int, Meta(ge=0)]
"""The format holds no larger integers."""
MessageType = Annotated[int, Meta(ge=0, le=4)]
Seconds = Annotated[float, Meta(ge=0, lt=2**64)]
Name = Annotated[str, Meta(max_length=1024)]
Text = Annotated[str, Meta(max_length=65_536)]
"""A path, an address, a MIME type, a reason."""
LongText = Annotated[str, Meta(max_length=2**24)]
"""What has a limit among the settings."""
PieceOfPayload = Annotated[bytes, Meta(max_length=PIECE_BYTES)]
PayloadName: TypeAlias = Literal["body", "context", "blob", "payload", "state", "content"]
"""A field that may cross in pieces."""
Pair: TypeAlias = tuple[Text, Text]
Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""Of the node's: parameters and headers."""
Rights = Annotated[tuple[Pair, ...], Meta(max_length=MOST_NAMED)]
"""Capabilities: issuer and params of each."""


class Message(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """A message, or a part of one."""


class ExitRequest(Message, frozen=True):
    """A request that a process leaves for its end."""

    target: Text
    body: bytes
    expects_response: U64 | None
    mime: Text | None
    blob: bytes | None


ExitRequests = Annotated[tuple[ExitRequest, ...], Meta(max_length=MOST_ON_EXIT)]
OnExit: TypeAlias = Literal["none", "restart"] | ExitRequests
"""What happens when a process ends."""
