"""Sessions between nodes, made by hand: a liar's are not such as the product's own types let one make."""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Callable
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

REQUEST, RESPONSE, FAILURE = 0, 1, 2
HELLO, WELCOME, SEALED = 0x11, 0x12, 0x13
PROCESSES, CONTROL, MORE = 0, 15, 0x80
HEAD: Final = struct.Struct(">B8sQB")
PREFIXES: Final = {HELLO: b"guesthouse session hello\0", WELCOME: b"guesthouse session welcome\0"}
WINDOW: Final = 2**30
PING: Final = ["ping"]


def signed(kind: int, fields: list[Any] | bytes, key: Ed25519PrivateKey) -> bytes:
    """A Hello or Welcome."""
    body = fields if isinstance(fields, bytes) else msgspec.msgpack.encode(fields)
    return bytes([kind]) + key.sign(PREFIXES[kind] + body) + body


def fields_of(frame: bytes) -> list[Any]:
    """What a Hello or Welcome says."""
    fields: list[Any] = msgspec.msgpack.decode(frame[65:])
    return fields


class HandMade:
    """One end of a session.

    Args:
        node: its name, or the name that it takes.
        key: what it signs with.
        other: the node at the other end.
    """

    def __init__(self, node: str, key: Ed25519PrivateKey, other: str) -> None:
        self.node, self.key, self.other = node, key, other
        self.ephemeral = X25519PrivateKey.generate()
        self.id = secrets.token_bytes(8)
        self.sent = self.received = 0
        self.begun = False
        self._hello = b""

    @property
    def public(self) -> bytes:
        """Its half of the secret."""
        return self.ephemeral.public_key().public_bytes_raw()

    def hello(self, **other: Any) -> bytes:
        """Its Hello, but for what is named."""
        fields: dict[str, Any] = {
            "versions": (3, 3),
            "cluster": b"",
            "sender": self.node,
            "receiver": self.other,
            "ephemeral": self.public,
            "session": self.id,
            "window": WINDOW,
            "nonce": secrets.token_bytes(32),
        }
        self._hello = signed(HELLO, [*(fields | other).values()], self.key)
        return self._hello

    def welcome(self, answered: bytes, /, **other: Any) -> bytes:
        """Its answer to a Hello, but for what is named."""
        _, cluster, sender, _, public, session, *_ = fields_of(answered)
        fields: dict[str, Any] = {
            "version": 3,
            "cluster": cluster,
            "sender": self.node,
            "receiver": sender,
            "ephemeral": self.public,
            "session": self.id,
            "window": WINDOW,
            "hello": hashlib.sha256(answered).digest(),
        }
        answer = signed(WELCOME, [*(fields | other).values()], self.key)
        self._begin(public, session, answered, answer, initiator=False)
        return answer

    def is_answered_by(self, welcome: bytes) -> bool:
        """Whether a Welcome is for its Hello."""
        return bool(fields_of(welcome)[7] == hashlib.sha256(self._hello).digest())

    def welcomed(self, welcome: bytes) -> None:
        """Its Hello was answered."""
        fields = fields_of(welcome)
        self._begin(fields[4], fields[5], self._hello, welcome, initiator=True)

    def _begin(self, public: bytes, session: bytes, hello: bytes, welcome: bytes, *, initiator: bool) -> None:
        secret = self.ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
        salt = hashlib.sha256(hello + welcome).digest()
        keys = HKDF(SHA256(), 64, salt=salt, info=b"guesthouse session keys").derive(secret)
        mine, its = (keys[:32], keys[32:]) if initiator else (keys[32:], keys[:32])
        self.begun = True
        self.their_id, self._mine, self._its = session, AESGCM(mine), AESGCM(its)

    def sealed(
        self, said: Any, service: int = PROCESSES, *, more: bool = False, sequence: int | None = None
    ) -> bytes:
        """The next frame, or the one of another sequence."""
        body = said if isinstance(said, bytes) else msgspec.msgpack.encode(said)
        number = self.sent if sequence is None else sequence
        if sequence is None:
            self.sent += 1
        head = HEAD.pack(SEALED, self.their_id, number, service | MORE if more else service)
        return head + self._mine.encrypt(struct.pack(">4xQ", number), body, head)

    def opened(self, frame: bytes) -> tuple[int, bytes]:
        """Service, with `MORE`, and body of the next frame."""
        head = frame[: HEAD.size]
        body = self._its.decrypt(struct.pack(">4xQ", self.received), frame[HEAD.size :], head)
        self.received += 1
        return head[-1], body


class LyingNode:
    """A node that says what it likes, to another whose session with it is real.

    Args:
        node: its name.
        key: its key.
        other: whom it lies to.
        send: gives frames to that.
    """

    def __init__(
        self, node: str, key: Ed25519PrivateKey, other: str, send: Callable[[bytes], object]
    ) -> None:
        self.session = HandMade(node, key, other)
        self.heard: list[list[Any]] = []
        """Messages of processes."""
        self.up = False
        self._send = send
        self._part = b""
        self._owed = 0

    def begin(self) -> None:
        """Send a Hello."""
        self._send(self.session.hello())

    def incoming(self, frame: bytes) -> None:
        """A frame of the other node."""
        if frame[0] == HELLO:
            self.session = HandMade(self.session.node, self.session.key, self.session.other)
            self._send(self.session.welcome(frame))
            self.up = False
        elif frame[0] == WELCOME and self.session.is_answered_by(frame):
            self.session.welcomed(frame)
            self.up = True
            self.ping()
        elif frame[0] == SEALED and frame[1:9] == self.session.id and self.session.begun:
            self.up = True
            self._opened(*self.session.opened(frame))
            self._owed += len(frame) + 64
            if self._owed > 2**20:
                self._send(self.session.sealed(["credit", self._owed], CONTROL))
                self._owed = 0

    def _opened(self, content: int, body: bytes) -> None:
        if content == CONTROL:
            self.up = msgspec.msgpack.decode(body)[0] != "goodbye"
        if content & ~MORE != PROCESSES:
            return
        self._part += body
        if not content & MORE:
            self.heard.append(msgspec.msgpack.decode(self._part))
            self._part = b""

    def say(self, said: list[Any] | bytes) -> None:
        """Send a message of a process."""
        self._send(self.session.sealed(said))

    def ping(self) -> None:
        """Be there."""
        self._send(self.session.sealed(PING, CONTROL))
