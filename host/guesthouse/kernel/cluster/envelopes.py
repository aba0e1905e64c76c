"""What travels between nodes: one message, for one node, signed by the node that sends it, and heard once. Pure
but for randomness.

An envelope is a head and a body. The head stands at fixed places, and is signed:

    version (1) | sender (1 + n) | receiver (1 + n) | number (16) | expires (8) | SHA-256 of body (32) | signature (64)

The signature is that of the sending node's Ed25519 key over a fixed prefix and all that stands before it, so what an
envelope of a stranger costs does not depend on its size: a body is not looked at, let alone decoded, before the head is
known to be of a node whose key is known, for this one, in time, and new. The body is a message
(`kernel/cluster/node_messages.py`).
"""

from __future__ import annotations

import hashlib
import heapq
import secrets
import struct
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from guesthouse.core.errors import GuesthouseError
from guesthouse.kernel.capabilities.signed import SKEW_SECONDS
from guesthouse.kernel.cluster.node_messages import PROTOCOL_VERSION, UNREADABLE, NodeMessage, decode, encode
from guesthouse.link.frames import UNENCODABLE

MAX_ENVELOPE: Final = 20 * 1024 * 1024
"""Bytes; a blob at its limit of 16 MiB fits, and a body beside it. One is hashed, copied and read in one turn of the
event loop, so its size bounds what other nodes can hold this one up for: 1 to 2 ms a MiB.
"""
VALID_SECONDS: Final = 60.0
"""How long an envelope may be under way."""
MOST_REMEMBERED: Final = 200_000
"""Numbers that are remembered of one node until their envelopes are over."""

_PREFIX: Final = b"guesthouse envelope 2\0"
_NUMBER_BYTES: Final = 16
_FIXED: Final = struct.Struct(f">{_NUMBER_BYTES}sd32s")
"""Number, end and digest."""
_SIGNATURE_BYTES: Final = 64
_NO_ENVELOPE: Final = "it is not of the form of an envelope"


class BadEnvelope(GuesthouseError):
    """An envelope is not taken; the text says why. What varies in it stands behind a colon, or is a node's name."""


class _Head(Struct, frozen=True):
    """What is signed."""

    sender: str
    receiver: str
    number: bytes
    expires: float
    digest: bytes

    def written(self) -> bytes:
        names = (bytes([len(name)]) + name.encode() for name in (self.sender, self.receiver))
        fixed = _FIXED.pack(self.number, self.expires, self.digest)
        return b"".join((bytes([PROTOCOL_VERSION]), *names, fixed))


class Envelopes:
    """Signs what a node sends to others, and verifies what comes from them.

    Args:
        node: the name of this node.
        key: its key.
        key_of: the public key of another node by its name; None for a node that is not known.
        since: when this node began to listen, in Unix seconds. What was sent before is not opened: it may have been
            opened by an earlier run, which remembered that.
    """

    def __init__(
        self,
        node: str,
        key: Ed25519PrivateKey,
        key_of: Callable[[str], Ed25519PublicKey | None],
        since: float = 0.0,
    ) -> None:
        self._node = node
        self._key = key
        self._key_of = key_of
        self._since = since
        self._seen: dict[str, _Seen] = {}  # by node; only of those whose key is known

    def close(self, message: NodeMessage, to: str, now: float) -> bytes:
        """The envelope of a message for a node.

        Raises:
            BadEnvelope: it would be too large, or cannot be written.
        """
        try:
            body = encode(message)
        except UNENCODABLE as error:
            raise BadEnvelope(f"it cannot be written: {error}") from None
        number, digest = secrets.token_bytes(_NUMBER_BYTES), hashlib.sha256(body).digest()
        head = _Head(self._node, to, number, now + VALID_SECONDS, digest).written()
        envelope = b"".join((head, self._key.sign(_PREFIX + head), body))
        if len(envelope) > MAX_ENVELOPE:
            raise BadEnvelope(f"it is over the limit of {MAX_ENVELOPE} bytes: it would have {len(envelope)}")
        return envelope

    def open(self, envelope: bytes, now: float) -> tuple[str, NodeMessage]:
        """Which node sent it, and its message; once.

        Raises:
            BadEnvelope: forged, altered, over, for another node, of an unknown one, opened before, or no message.
        """
        if len(envelope) > MAX_ENVELOPE:
            raise BadEnvelope(f"it is over the limit of {MAX_ENVELOPE} bytes")
        head, end = _head(envelope)
        sender, start = head.sender, end + _SIGNATURE_BYTES
        key = self._key_of(sender)
        if key is None:
            raise BadEnvelope("the key of the node that it names as its sender is not known")
        try:
            key.verify(envelope[end:start], _PREFIX + envelope[:end])
        except InvalidSignature:
            raise BadEnvelope(f"it is not signed by {sender}") from None
        if head.receiver != self._node:
            raise BadEnvelope(f"{sender} meant it for another node")
        if not now - SKEW_SECONDS < head.expires <= now + VALID_SECONDS + SKEW_SECONDS:
            raise BadEnvelope(f"what {sender} sent is over, or would be valid for too long")
        if head.expires < self._since + VALID_SECONDS:
            raise BadEnvelope(f"what {sender} sent is of before this node was started")
        seen = self._seen.setdefault(sender, _Seen())
        if not seen.is_new(head.number, now):
            raise BadEnvelope(f"what {sender} sent was heard before, or too much is heard from it at once")
        with memoryview(envelope) as whole, whole[start:] as body:
            if hashlib.sha256(body).digest() != head.digest:
                raise BadEnvelope(f"its body is not the one that {sender} signed")
            seen.add(head.number, head.expires + SKEW_SECONDS)
            try:
                return sender, decode(body)
            except UNREADABLE:
                raise BadEnvelope(f"{sender} sent a message of no known form") from None


class _Seen:
    """Numbers of one node's envelopes, until these are over."""

    __slots__ = ("_ends", "_numbers")

    def __init__(self) -> None:
        self._numbers: set[bytes] = set()
        self._ends: list[tuple[float, bytes]] = []

    def is_new(self, number: bytes, now: float) -> bool:
        while self._ends and self._ends[0][0] < now:
            self._numbers.discard(heapq.heappop(self._ends)[1])
        return number not in self._numbers and len(self._numbers) < MOST_REMEMBERED

    def add(self, number: bytes, end: float) -> None:
        self._numbers.add(number)
        heapq.heappush(self._ends, (end, number))


def _head(envelope: bytes) -> tuple[_Head, int]:
    """What stands in front, which nobody has vouched for, and where it ends."""
    if envelope[:1] != bytes([PROTOCOL_VERSION]):
        raise BadEnvelope(f"it is not of version {PROTOCOL_VERSION}, which this node speaks")
    sender, at = _name(envelope, 1)
    receiver, at = _name(envelope, at)
    end = at + _FIXED.size
    if end + _SIGNATURE_BYTES > len(envelope):
        raise BadEnvelope(_NO_ENVELOPE)
    number, expires, digest = _FIXED.unpack_from(envelope, at)
    return _Head(sender, receiver, number, expires, digest), end


def _name(envelope: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + int.from_bytes(envelope[at : at + 1], "big")
    try:
        return envelope[at + 1 : end].decode(), end
    except UnicodeDecodeError:
        raise BadEnvelope(_NO_ENVELOPE) from None
