"""How two nodes agree on the keys of a session. Pure but for randomness.

The initiator sends a `Hello`, the responder answers with a `Welcome`; each has a fresh X25519 key and is signed with
the Ed25519 key of its node, under a prefix of its own, so that neither can stand for the other or for anything else
that a node signs. The Welcome names the digest of the Hello. Keys are derived from the X25519 secret and both frames
(HKDF with SHA-256), one for each direction. So the initiator knows from the Welcome that the responder is there now;
the responder knows it of the initiator from the first frame that opens with the new keys, and until then keeps the
session that it has.

A frame is its kind (1 byte), the signature (64) and a struct in MessagePack. Fields that a later version adds are
ignored, and are covered by signature and keys all the same.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from guesthouse.core.errors import GuesthouseError
from guesthouse.kernel.cluster.sealing import KEY_BYTES, OpeningKey, SealingKey

PROTOCOL_VERSIONS: Final = (3, 3)
"""The first and last version of sessions and messages that this node speaks. 2 had an envelope for each message."""
HELLO: Final = 0x11
WELCOME: Final = 0x12
MAX_HANDSHAKE: Final = 4096
"""Maximum bytes of a Hello or Welcome."""
WINDOW: Final = 4 * 1024 * 1024
"""Bytes that another node may send before this one has processed them."""
LEAST_WINDOW: Final = 64 * 1024

_SIGNATURE_BYTES: Final = 64
_PREFIXES: Final = {HELLO: b"guesthouse session hello\0", WELCOME: b"guesthouse session welcome\0"}
_KEYS: Final = b"guesthouse session keys"

_Name = Annotated[str, Meta(min_length=1, max_length=255)]
_Cluster = Annotated[bytes, Meta(max_length=64)]
_SessionId = Annotated[bytes, Meta(min_length=8, max_length=8)]
_Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Version = Annotated[int, Meta(ge=0, lt=2**16)]
_Window = Annotated[int, Meta(ge=LEAST_WINDOW, lt=2**32)]


class BadHandshake(GuesthouseError):
    """A Hello or Welcome is not valid. Variable parts of the message follow a colon, for throttling the log."""


class Hello(Struct, frozen=True, array_like=True):
    """A node wants a session."""

    versions: tuple[_Version, _Version]
    """The first and last that it speaks."""
    cluster: _Cluster
    sender: _Name
    receiver: _Name
    ephemeral: _Bytes32
    session: _SessionId
    """By which frames to the sender name the session."""
    window: _Window
    """Bytes that the sender lets the other send before it has processed them."""
    nonce: _Bytes32


class Welcome(Struct, frozen=True, array_like=True):
    """The answer to a Hello."""

    version: _Version
    cluster: _Cluster
    sender: _Name
    receiver: _Name
    ephemeral: _Bytes32
    session: _SessionId
    window: _Window
    hello: _Bytes32
    """SHA-256 of the frame that it answers."""


class Agreed(Struct, frozen=True, eq=False):
    """What both ends of a session know."""

    node: str
    """The other node."""
    version: int
    receiving_id: bytes
    sending_id: bytes
    sealing: SealingKey
    opening: OpeningKey
    window: int
    """Bytes that may be sent before the other has processed them."""


_encode: Final = Encoder().encode
_hello: Final = Decoder(Hello).decode
_welcome: Final = Decoder(Welcome).decode
_T = TypeVar("_T", Hello, Welcome)


def read_hello(frame: bytes) -> Hello:
    """Decode a Hello, whose signature is not verified yet.

    Raises:
        BadHandshake: it is malformed.
    """
    return _read(frame, _hello)


def read_welcome(frame: bytes) -> Welcome:
    """Decode a Welcome, whose signature is not verified yet.

    Raises:
        BadHandshake: it is malformed.
    """
    return _read(frame, _welcome)


def check_signature(frame: bytes, node: str, key: Ed25519PublicKey) -> None:
    """Verify that a node signed a Hello or Welcome.

    Raises:
        BadHandshake: it did not.
    """
    signature, body = frame[1 : 1 + _SIGNATURE_BYTES], frame[1 + _SIGNATURE_BYTES :]
    try:
        key.verify(signature, _PREFIXES[frame[0]] + body)
    except InvalidSignature:
        raise BadHandshake(f"it is not signed by {node}") from None


def digest(frame: bytes) -> bytes:
    """SHA-256 of a frame."""
    return hashlib.sha256(frame).digest()


class Initiator:
    """One attempt to make a session. `frame` is its Hello, which may be sent several times.

    Args:
        node: this node's name.
        key: its key.
        cluster: the id of the cluster, the same at both nodes; empty without one.
        other: the other node.
    """

    def __init__(self, node: str, key: Ed25519PrivateKey, cluster: bytes, other: str) -> None:
        self._other = other
        self._ephemeral = X25519PrivateKey.generate()
        self._id = secrets.token_bytes(8)
        public, nonce = self._ephemeral.public_key().public_bytes_raw(), secrets.token_bytes(32)
        hello = Hello(PROTOCOL_VERSIONS, cluster, node, other, public, self._id, WINDOW, nonce)
        self.frame: Final = _signed(HELLO, hello, key)
        self.digest: Final = digest(self.frame)

    def agree(self, welcome: Welcome, frame: bytes) -> Agreed:
        """Derive the keys from the answer, whose signature, names and cluster were checked.

        Raises:
            BadHandshake: it answers another Hello, in a version that was not offered, or has a bad key.
        """
        if welcome.hello != self.digest:
            raise BadHandshake(f"{self._other} answers another Hello with it")
        if not PROTOCOL_VERSIONS[0] <= welcome.version <= PROTOCOL_VERSIONS[1]:
            raise BadHandshake(f"{self._other} chose a version that was not offered")
        here, there = _keys(self._ephemeral, welcome.ephemeral, self.frame, frame)
        return Agreed(
            self._other,
            welcome.version,
            self._id,
            welcome.session,
            SealingKey(here),
            OpeningKey(there),
            welcome.window,
        )


def answer(
    node: str, key: Ed25519PrivateKey, cluster: bytes, hello: Hello, frame: bytes
) -> tuple[bytes, Agreed]:
    """Answer a Hello whose signature, names and cluster were checked.

    Returns:
        The frame of the Welcome, and what was agreed on by it.

    Raises:
        BadHandshake: no version is common, or the key is bad.
    """
    version = min(hello.versions[1], PROTOCOL_VERSIONS[1])
    if version < max(hello.versions[0], PROTOCOL_VERSIONS[0]):
        offered, spoken = hello.versions, PROTOCOL_VERSIONS
        raise BadHandshake(
            f"{hello.sender} speaks other versions of the protocol: upgrade the older of the two nodes"
            f" ({offered[0]} to {offered[1]} there, {spoken[0]} to {spoken[1]} here)"
        )
    ephemeral, receiving_id = X25519PrivateKey.generate(), secrets.token_bytes(8)
    public = ephemeral.public_key().public_bytes_raw()
    welcome = Welcome(version, cluster, node, hello.sender, public, receiving_id, WINDOW, digest(frame))
    answered = _signed(WELCOME, welcome, key)
    there, here = _keys(ephemeral, hello.ephemeral, frame, answered)
    sealing, opening = SealingKey(here), OpeningKey(there)
    agreed = Agreed(hello.sender, version, receiving_id, hello.session, sealing, opening, hello.window)
    return answered, agreed


def _signed(kind: int, message: Hello | Welcome, key: Ed25519PrivateKey) -> bytes:
    body = _encode(message)
    return b"".join((bytes([kind]), key.sign(_PREFIXES[kind] + body), body))


def _read(frame: bytes, decode: Callable[[bytes], _T]) -> _T:
    if len(frame) > MAX_HANDSHAKE:
        raise BadHandshake(f"it is over the limit of {MAX_HANDSHAKE} bytes")
    try:
        return decode(frame[1 + _SIGNATURE_BYTES :])
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadHandshake("it is malformed") from None


def _keys(own: X25519PrivateKey, other: bytes, hello: bytes, welcome: bytes) -> tuple[bytes, bytes]:
    """The keys of the initiator and of the responder."""
    try:
        secret = own.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:  # a point of low order
        raise BadHandshake("its X25519 key is not usable") from None
    keys = HKDF(SHA256(), 2 * KEY_BYTES, salt=digest(hello + welcome), info=_KEYS).derive(secret)
    return keys[:KEY_BYTES], keys[KEY_BYTES:]
