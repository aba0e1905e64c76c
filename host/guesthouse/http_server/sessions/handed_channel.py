"""A resumable channel as the next run of the node gets it: nothing in it lets anybody resume its session. Pure."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.messages import WebSocketOpen
from guesthouse.http_server.sessions.control_messages import MAX_COUNT
from guesthouse.http_server.sessions.retained import Retained
from guesthouse.http_server.sessions.session_keys import DIGEST_BYTES, ID_BYTES, MOST_KEYS

_NONCE: Final = 12
_LONGEST: Final = 4096

Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
_Short: TypeAlias = Annotated[str, Meta(max_length=_LONGEST)]
_Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=2**53)]
_Digest: TypeAlias = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]


class BadHandover(GuesthouseError):
    """What was handed over is not what a node hands over."""


class HandedCipher(Struct, frozen=True, forbid_unknown_fields=True):
    """The state of an encrypted channel."""

    secret: Annotated[bytes, Meta(min_length=32, max_length=32)]
    prefix: Annotated[bytes, Meta(min_length=8, max_length=8)]
    sent: Annotated[int, Meta(ge=0, lt=2**32)]
    seen: bytes
    """Nonces of the client, one after the other."""

    def nonces(self) -> set[bytes]:
        """Those that the client has used."""
        return {self.seen[start : start + _NONCE] for start in range(0, len(self.seen), _NONCE)}


class HandedClose(Struct, frozen=True, forbid_unknown_fields=True):
    """How a channel was closed while its client was away; a code of 0 is a close without one."""

    code: Annotated[int, Meta(ge=0, le=4999)]
    reason: Annotated[str, Meta(max_length=123)]


class HandedChannel(Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="channel"):
    """One channel. Its keys are there as digests."""

    channel_id: Annotated[int, Meta(ge=1, lt=2**32)]
    owner: _Short
    event: WebSocketOpen
    realm: _Short | None
    token_family: _Short
    token_login: _Short | None
    user: _Short
    window_bits: Annotated[int, Meta(ge=0, le=15)]
    open_seconds: _Seconds
    left_seconds: _Seconds
    """Until it is given up."""
    messages_in: Count
    messages_out: Count
    session_id: Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
    keys: Annotated[tuple[_Digest, ...], Meta(min_length=1, max_length=MOST_KEYS)]
    received: Count
    first: Count
    highest: Count
    entries: tuple[tuple[int, bytes], ...]
    cipher: HandedCipher | None
    closed: HandedClose | None
    """Set if the channel is over, and its client has still to be told."""

    def kept(self) -> Retained:
        """What its client has not acknowledged.

        Raises:
            BadHandover: it cannot be so.
        """
        for cost, frame in self.entries:
            if (cost > 0) != bool(frame) or not -MAX_COUNT <= cost < 2**32 or cost == 0:
                raise BadHandover("a message that is kept costs nothing, or what is lost has a frame")
        return Retained(self.first, self.highest, self.entries)
