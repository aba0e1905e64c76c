"""What is signed about a cluster and its nodes. Pure.

A record is a kind (1 byte), an Ed25519 signature (64 bytes) and a body in MessagePack. The signature covers a prefix,
the kind and the body. Cards and successions are signed by the cluster key, presences by the key of their node. Fields
that a record has and this version does not know are ignored, so newer nodes can add some.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from guesthouse.core.address import parse_node_name
from guesthouse.core.errors import BadNodeName, GuesthouseError

MOST_RECORD_BYTES: Final = 2048
_PREFIX: Final = b"guesthouse cluster 1\0"
_SIGNATURE_BYTES: Final = 64
_LATEST: Final = 2**40
"""No time of a record, in Unix seconds, is later."""

ClusterId: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
NodeName: TypeAlias = Annotated[str, Meta(max_length=128)]
Key: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A public Ed25519 key."""
Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=_LATEST)]
"""Unix time."""
Serial: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
State: TypeAlias = Literal["member", "left", "expelled"]


class BadRecord(GuesthouseError):
    """A record is malformed, forged, or of another cluster. What varies in the message follows a colon."""


class Card(Struct, frozen=True, kw_only=True):
    """Says that a node belongs to a cluster, or does not any more."""

    cluster: ClusterId
    node: NodeName
    key: Key
    serial: Serial
    """Each card of a cluster has a greater one than all before."""
    issued: Seconds
    expires: Seconds
    state: State
    authority: bool = False
    """Whether the node issues cards."""


class Succession(Struct, frozen=True, kw_only=True):
    """Says that another key signs cards from now on; signed by the one before."""

    cluster: ClusterId
    number: Annotated[int, Meta(ge=1, le=10_000)]
    """1 for the first."""
    key: Key
    issued: Seconds


class Presence(Struct, frozen=True, kw_only=True):
    """What a node says of itself, every few seconds."""

    cluster: ClusterId
    node: NodeName
    sent: Annotated[float, Meta(ge=0, le=_LATEST)]
    """Unix time: each has a later one than the one before."""
    latest: Annotated[int, Meta(ge=0, le=2**53)]
    """The greatest serial that it knows."""
    version: Annotated[str, Meta(max_length=64)] = ""
    processes: Count = 0
    channels: Count = 0
    load: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Programs that wait for a CPU, in the last minute, for each CPU."""
    draining: bool = False


Record: TypeAlias = Card | Succession | Presence
_Kind = TypeVar("_Kind", Card, Succession, Presence)

_KINDS: Final[dict[type[Record], bytes]] = {Card: b"c", Succession: b"s", Presence: b"p"}
_encode: Final = Encoder().encode
_DECODERS: Final = {kind: Decoder(kind) for kind in _KINDS}


def cluster_id_of(first_key: bytes) -> str:
    """The id of the cluster whose first key this was."""
    return hashlib.sha256(b"guesthouse cluster id\0" + first_key).hexdigest()[:32]


def signed(record: Record, key: Ed25519PrivateKey) -> bytes:
    """Encode and sign a record."""
    kind, body = _KINDS[type(record)], _encode(record)
    return kind + key.sign(_PREFIX + kind + body) + body


def read(kind: type[_Kind], data: bytes) -> _Kind:
    """Decode a record, whose signature is not verified.

    Raises:
        BadRecord: it is malformed, or of another kind.
    """
    if len(data) > MOST_RECORD_BYTES or data[:1] != _KINDS[kind]:
        raise BadRecord(f"it is no {kind.__name__.lower()}")
    try:
        record = _DECODERS[kind].decode(data[1 + _SIGNATURE_BYTES :])
        if not isinstance(record, Succession):
            parse_node_name(record.node)
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadRecord(f"it is no {kind.__name__.lower()}") from None
    except BadNodeName:
        raise BadRecord("it names no node") from None
    return record  # type: ignore[return-value]  # the decoder is of that kind


def verify(data: bytes, key: Ed25519PublicKey) -> None:
    """Verify a record's signature.

    Raises:
        BadRecord: it is not by that key.
    """
    try:
        key.verify(data[1 : 1 + _SIGNATURE_BYTES], _PREFIX + data[:1] + data[1 + _SIGNATURE_BYTES :])
    except InvalidSignature:
        raise BadRecord("its signature is not by the key that has to sign it") from None
