"""Envelopes between nodes: one message for one node, signed by the sender and accepted once. Pure but for randomness.

An envelope is a signed head and a body (`kernel/cluster/node_messages.py`). The fields of the head, with their bytes:

    version (1) | sender (1 + n) | receiver (1 + n) | number (16) | expires (8) | SHA-256 of body (32) | signature (64)

The Ed25519 signature covers a fixed prefix and all fields before it. The body is neither hashed nor decoded until the
head is verified: signed by a known node, for this node, not expired and not a replay. So the cost of a forged envelope
does not depend on its size.
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
"""Maximum bytes: fits a blob of 16 MiB and a body. Processing one blocks the event loop for 1 to 2 ms a MiB."""
VALID_SECONDS: Final = 60.0
"""Validity of an envelope."""
MOST_REMEMBERED: Final = 200_000
"""Unexpired envelopes of one node that are remembered to detect replays."""

_PREFIX: Final = b"guesthouse envelope 2\0"
_NUMBER_BYTES: Final = 16
_FIXED: Final = struct.Struct(f">{_NUMBER_BYTES}sd32s")
"""Number, expiry and digest."""
_SIGNATURE_BYTES: Final = 64
_NO_ENVELOPE: Final = "it is not an envelope"


class BadEnvelope(GuesthouseError):
    """An envelope is not valid. Variable parts of the message follow a colon, except node names, for throttling the
    log.
    """


class _Head(Struct, frozen=True):
    """The signed fields."""

    sender: str
    receiver: str
    number: bytes
    expires: float
    digest: bytes

    def encode(self) -> bytes:
        names = (bytes([len(name)]) + name.encode() for name in (self.sender, self.receiver))
        fixed = _FIXED.pack(self.number, self.expires, self.digest)
        return b"".join((bytes([PROTOCOL_VERSION]), *names, fixed))


class Envelopes:
    """Signs messages for other nodes and verifies theirs.

    Args:
        node: this node's name.
        key: its key.
        key_of: returns another node's public key by name; None for an unknown node.
        since: when this node started, in Unix seconds. Envelopes from before are refused: they may be replays of
            ones that an earlier run accepted.
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
        self._seen: dict[str, _Seen] = {}  # by node, of known nodes

    def close(self, message: NodeMessage, to: str, now: float) -> bytes:
        """Encode and sign a message for a node.

        Raises:
            BadEnvelope: it is too large or cannot be encoded.
        """
        try:
            body = encode(message)
        except UNENCODABLE as error:
            raise BadEnvelope(f"it cannot be encoded: {error}") from None
        number, digest = secrets.token_bytes(_NUMBER_BYTES), hashlib.sha256(body).digest()
        head = _Head(self._node, to, number, now + VALID_SECONDS, digest).encode()
        envelope = b"".join((head, self._key.sign(_PREFIX + head), body))
        if len(envelope) > MAX_ENVELOPE:
            raise BadEnvelope(f"it is over the limit of {MAX_ENVELOPE} bytes: {len(envelope)} bytes")
        return envelope

    def open(self, envelope: bytes, now: float) -> tuple[str, NodeMessage]:
        """Verify and decode an envelope, once.

        Returns:
            The sending node and the message.

        Raises:
            BadEnvelope: it is forged, altered, expired, replayed, for another node, of an unknown one, or malformed.
        """
        if len(envelope) > MAX_ENVELOPE:
            raise BadEnvelope(f"it is over the limit of {MAX_ENVELOPE} bytes")
        head, end = _head(envelope)
        sender, start = head.sender, end + _SIGNATURE_BYTES
        key = self._key_of(sender)
        if key is None:
            raise BadEnvelope("the key of its sender is unknown")
        try:
            key.verify(envelope[end:start], _PREFIX + envelope[:end])
        except InvalidSignature:
            raise BadEnvelope(f"it is not signed by {sender}") from None
        if head.receiver != self._node:
            raise BadEnvelope(f"{sender} sent it to another node")
        if not now - SKEW_SECONDS < head.expires <= now + VALID_SECONDS + SKEW_SECONDS:
            raise BadEnvelope(f"it has expired, or {sender} made it valid for too long")
        if head.expires < self._since + VALID_SECONDS:
            raise BadEnvelope(f"{sender} sent it before this node was started")
        seen = self._seen.setdefault(sender, _Seen())
        if not seen.is_new(head.number, now):
            raise BadEnvelope(f"{sender} sent it before, or sends too many at once")
        with memoryview(envelope) as whole, whole[start:] as body:
            if hashlib.sha256(body).digest() != head.digest:
                raise BadEnvelope(f"its body is not what {sender} signed")
            seen.add(head.number, head.expires + SKEW_SECONDS)
            try:
                return sender, decode(body)
            except UNREADABLE:
                raise BadEnvelope(f"{sender} sent an invalid message") from None


class _Seen:
    """Numbers of one node's unexpired envelopes."""

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
    """Parse the head, which is not verified yet; returns it and where its signed part ends."""
    if envelope[:1] != bytes([PROTOCOL_VERSION]):
        raise BadEnvelope(f"it is not of version {PROTOCOL_VERSION}, which this node supports")
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
