"""What travels between nodes: one message, for one node, signed by the node that sends it, and heard once. Pure
but for randomness.

An envelope is CBOR, `[body, signature]`; the body is CBOR, `[version, from, to, number, expires, message]`. The
signature is that of the sending node's Ed25519 key over a fixed prefix and the body, and nothing is decoded before it
was checked. A receiver takes an envelope
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

from guesthouse import plain_cbor
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
_SIGNATURE_BYTES: Final = 64
_MAX_DEPTH: Final = 5
"""Body, message, list of seals, seal."""
_PAIR: Final = b"\x82"
_SIX: Final = b"\x86"
_BYTES: Final = 0x40
_TEXT: Final = 0x60
_SHORT: Final = 24
_HEAD_SIZES: Final = (1, 2, 3, 5)
_SIGNATURE_HEAD: Final = b"\x58\x40"
_NO_ENVELOPE: Final = "it is not CBOR of the form of an envelope"


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
        body, signature = _parts(envelope)
        sender = _sender(body)
        key = self._key_of(sender)
        if key is None:
            raise BadEnvelope("the key of the node that it names as its sender is not known")
        try:
            key.verify(signature, _PREFIX + body)
        except InvalidSignature:
            raise BadEnvelope(f"it is not signed by {sender}") from None
        _, _, to, number, expires, message = _fields(body, (int, str, str, bytes, float, list))
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


def _parts(envelope: bytes) -> tuple[bytes, bytes]:
    """Body and signature, which nobody has vouched for: found by where they stand, and not decoded."""
    end = len(envelope) - len(_SIGNATURE_HEAD) - _SIGNATURE_BYTES
    for size in _HEAD_SIZES:
        start = len(_PAIR) + size
        if start <= end and envelope[:start] == _PAIR + _head(_BYTES, end - start):
            if envelope[end:].startswith(_SIGNATURE_HEAD):
                return envelope[start:end], envelope[-_SIGNATURE_BYTES:]
            break
    raise BadEnvelope(_NO_ENVELOPE)


def _sender(body: bytes) -> str:
    """Whom a body names as its sender, whose key is to say whether it is decoded."""
    version, kind = body[1:2], body[2:3]
    if body[:1] != _SIX or len(kind) != 1:
        raise BadEnvelope(_NO_ENVELOPE)
    if version[0] != VERSION:
        raise BadEnvelope(f"it is of version {version[0]}, not {VERSION}")
    short = kind[0] - _TEXT if _TEXT <= kind[0] < _TEXT + _SHORT else None
    start = 3 if short is not None else 4
    length = short if short is not None else int.from_bytes(body[3:4], "big")
    name = body[start : start + length]
    if len(name) != length or (short is None and kind[0] != _TEXT + _SHORT):
        raise BadEnvelope(_NO_ENVELOPE)
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadEnvelope(_NO_ENVELOPE) from None


def _head(kind: int, length: int) -> bytes:
    """How CBOR begins a value of a kind and length, in its shortest form (RFC 8949, section 3)."""
    if length < _SHORT:
        return bytes((kind + length,))
    size, more = (1, 24) if length < 2**8 else (2, 25) if length < 2**16 else (4, 26)
    return bytes((kind + more,)) + length.to_bytes(size, "big")


def _fields(data: bytes, types: tuple[type, ...]) -> list[Any]:
    try:
        fields = plain_cbor.loads(data, _MAX_DEPTH)
    except plain_cbor.FAULTS:
        raise BadEnvelope(_NO_ENVELOPE) from None
    if type(fields) is not list or tuple(map(type, fields)) != types:
        raise BadEnvelope(_NO_ENVELOPE)
    return fields
