"""What travels between nodes: one message, for one node, signed by the node that sends it, and heard once. Pure
but for randomness.

An envelope is CBOR, `[body, signature]`; the body is CBOR, `[version, from, to, number, expires, message]`. The
signature is that of the sending node's Ed25519 key over a fixed prefix and the body. A receiver takes an envelope
that is for it, from a node whose key it knows, unaltered, in time, and whose number it has not seen before.
"""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Callable
from typing import Any, Final

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guesthouse.errors import GuesthouseError

VERSION: Final = 1
MAX_ENVELOPE: Final = 64 * 1024 * 1024
"""Bytes; three parts of a message at their limit of 16 MiB fit."""
VALID_SECONDS: Final = 60.0
"""How long an envelope may be under way."""
SKEW_SECONDS: Final = 60.0
"""How far the clocks of two nodes may be apart."""
MOST_REMEMBERED: Final = 200_000
"""Numbers that are remembered of one node until their envelopes are over."""

_PREFIX: Final = b"guesthouse envelope 1\0"
_NUMBER_BYTES: Final = 16


class BadEnvelope(GuesthouseError):
    """An envelope is not taken; the text says why."""


class Envelopes:
    """Seals what a node sends to others, and opens what comes from them.

    Args:
        node: the name of this node.
        key: its key.
        key_of: the public key of another node by its name; None for a node that is not known.
    """

    def __init__(
        self, node: str, key: Ed25519PrivateKey, key_of: Callable[[str], Ed25519PublicKey | None]
    ) -> None:
        self._node = node
        self._key = key
        self._key_of = key_of
        self._seen: dict[str, _Seen] = {}  # by node; only of those whose key is known

    def close(self, message: list[Any], to: str, now: float) -> bytes:
        """The envelope of a message for a node.

        Raises:
            BadEnvelope: it would be too large.
        """
        number = secrets.token_bytes(_NUMBER_BYTES)
        body = cbor2.dumps([VERSION, self._node, to, number, now + VALID_SECONDS, message])
        envelope: bytes = cbor2.dumps([body, self._key.sign(_PREFIX + body)])
        if len(envelope) > MAX_ENVELOPE:
            raise BadEnvelope(f"it would have {len(envelope)} bytes; the limit is {MAX_ENVELOPE}")
        return envelope

    def open(self, envelope: bytes, now: float) -> tuple[str, list[Any]]:
        """Which node sent it, and its message; once.

        Raises:
            BadEnvelope: forged, altered, over, for another node, of an unknown one, or opened before.
        """
        if len(envelope) > MAX_ENVELOPE:
            raise BadEnvelope(f"it has {len(envelope)} bytes; the limit is {MAX_ENVELOPE}")
        body, signature = _fields(envelope, (bytes, bytes))
        if cbor2.dumps([body, signature]) != envelope:
            raise BadEnvelope("it is not CBOR of the shortest form, or goes on after its end")
        version, sender, to, number, expires, message = _fields(body, (int, str, str, bytes, float, list))
        if version != VERSION:
            raise BadEnvelope(f"it is of version {version}, not {VERSION}")
        key = self._key_of(sender)
        if key is None:
            raise BadEnvelope("the key of the node that it names as its sender is not known")
        try:
            key.verify(signature, _PREFIX + body)
        except InvalidSignature:
            raise BadEnvelope(f"it is not signed by {sender}") from None
        if to != self._node:
            raise BadEnvelope(f"{sender} meant it for another node")
        if not now - SKEW_SECONDS < expires <= now + VALID_SECONDS + SKEW_SECONDS:
            raise BadEnvelope(f"what {sender} sent is over, or would be valid for too long")
        if not self._seen.setdefault(sender, _Seen()).add(number, expires + SKEW_SECONDS, now):
            raise BadEnvelope(f"what {sender} sent was heard before, or too much is heard from it at once")
        return sender, message


class _Seen:
    """Numbers of one node's envelopes, until these are over."""

    __slots__ = ("_ends", "_numbers")

    def __init__(self) -> None:
        self._numbers: set[bytes] = set()
        self._ends: list[tuple[float, bytes]] = []

    def add(self, number: bytes, end: float, now: float) -> bool:
        while self._ends and self._ends[0][0] < now:
            self._numbers.discard(heapq.heappop(self._ends)[1])
        if number in self._numbers or len(number) != _NUMBER_BYTES or len(self._numbers) >= MOST_REMEMBERED:
            return False
        self._numbers.add(number)
        heapq.heappush(self._ends, (end, number))
        return True


def _fields(data: bytes, types: tuple[type, ...]) -> list[Any]:
    try:
        fields = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, RecursionError):
        raise BadEnvelope("it is not CBOR") from None
    if type(fields) is not list or tuple(map(type, fields)) != types:
        raise BadEnvelope("it is not of the form of an envelope")
    return fields
