"""Envelopes between nodes, made and read by hand: a liar's are not such as the product's own types let one say."""

from __future__ import annotations

import hashlib
import secrets
import struct
import time
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REQUEST, RESPONSE, FAILURE = 0, 1, 2
_FIXED: Final = struct.Struct(">16sd32s")


@dataclass(frozen=True)
class Frame:
    """An envelope, taken apart. Whatever is changed, the rest stays as it was."""

    sender: str
    receiver: str
    body: bytes
    version: int = 2
    number: bytes = b""
    expires: float = 0.0
    digest: bytes = b""
    signature: bytes = bytes(64)

    def head(self) -> bytes:
        names = b"".join(bytes([len(name)]) + name.encode() for name in (self.sender, self.receiver))
        return bytes([self.version]) + names + _FIXED.pack(self.number, self.expires, self.digest)

    def signed(self, key: Ed25519PrivateKey) -> Frame:
        return replace(self, signature=key.sign(b"guesthouse envelope 2\0" + self.head()))

    def written(self) -> bytes:
        return self.head() + self.signature + self.body

    @property
    def message(self) -> list[Any]:
        """What the body says."""
        message: list[Any] = msgspec.msgpack.decode(self.body)
        return message

    def saying(self, message: list[Any]) -> Frame:
        """The same with another body, under the same head."""
        return replace(self, body=msgspec.msgpack.encode(message))


def frame(sender: str, receiver: str, said: list[Any] | bytes, key: Ed25519PrivateKey, **other: Any) -> bytes:
    """An envelope as the sender would write it, but for what is named."""
    body = said if isinstance(said, bytes) else msgspec.msgpack.encode(said)
    fields: dict[str, Any] = {
        "number": secrets.token_bytes(16),
        "expires": time.time() + 60,
        "digest": hashlib.sha256(body).digest(),
    }
    return Frame(sender, receiver, body, **fields | other).signed(key).written()


def read(data: bytes) -> Frame:
    """Take an envelope apart."""
    sender, at = _name(data, 1)
    receiver, at = _name(data, at)
    number, expires, digest = _FIXED.unpack_from(data, at)
    at += _FIXED.size
    return Frame(sender, receiver, data[at + 64 :], data[0], number, expires, digest, data[at : at + 64])


def _name(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(), end
