"""What members tell each other of the cluster in their sessions, where NATS cannot pick what it withholds.

Tagged structs in MessagePack. Fields and messages that this version does not know are ignored: newer nodes have more.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from guesthouse.cluster.membership.records import MOST_RECORD_BYTES

MOST_RECORDS: Final = 200
"""Records of one message."""
MOST_MESSAGE_BYTES: Final = 512 * 1024


class Latest(Struct, tag="latest", frozen=True):
    """The greatest serial that the sender knows, and how many successions: it wants what comes after."""

    serial: Annotated[int, Meta(ge=0, le=2**53)]
    successions: Annotated[int, Meta(ge=0, le=10_000)]


class Records(Struct, tag="records", frozen=True):
    """Cards and successions, as they were signed."""

    records: Annotated[
        tuple[Annotated[bytes, Meta(max_length=MOST_RECORD_BYTES)], ...], Meta(max_length=MOST_RECORDS)
    ]


class Leave(Struct, tag="leave", frozen=True):
    """The sender leaves the cluster; for the authority."""


MemberMessage: TypeAlias = Latest | Records | Leave

encode: Final = Encoder().encode
_decode: Final = Decoder[MemberMessage](MemberMessage).decode


def decode(body: bytes) -> MemberMessage | None:
    """Decode a message; None if it is none that this version knows."""
    if len(body) > MOST_MESSAGE_BYTES:
        return None
    try:
        return _decode(body)
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        return None
