"""What the session layers of two nodes say to each other within a session: structs in MessagePack. Fields that a later
version adds are ignored.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

CONTROL: Final = 15
"""The session layer's own service. Its frames are exempt from credit."""


class PeerPing(Struct, frozen=True, array_like=True, tag="ping"):
    """The sender is there. It is not answered: both ends ping."""


class ReturnedCredit(Struct, frozen=True, array_like=True, tag="credit"):
    """The sender has processed some bytes: as many more may be sent."""

    size: Annotated[int, Meta(ge=0, lt=2**32)]


class Goodbye(Struct, frozen=True, array_like=True, tag="goodbye"):
    """The sender has ended the session."""

    reason: Annotated[str, Meta(max_length=512)]
    stopping: bool
    """The node is being stopped: no use in a new session before it asks for one."""


MAX_CONTROL: Final = 1024
"""Maximum bytes of a message."""

SessionMessage: TypeAlias = PeerPing | ReturnedCredit | Goodbye

encode: Final = Encoder().encode
_decode: Final = Decoder[SessionMessage](SessionMessage).decode
PING: Final = encode(PeerPing())


def decode(body: bytes) -> SessionMessage | None:
    """Decode a message; None if it is malformed, too large or unknown."""
    if len(body) > MAX_CONTROL:
        return None
    try:
        return _decode(body)
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        return None
