"""Frames of a session, sealed with AES-256-GCM. Pure.

A frame is a head and the sealed body, with its tag of 16 bytes. The head is authenticated and not encrypted:

    kind (1) | id of the session at the receiver (8) | sequence (8) | content (1)

`content` is the service, and `MORE` if the message continues in a later frame of that service. The nonce is the
sequence, which is never used twice with one key. After `KEY_FRAMES` frames each direction goes on with a key derived
from the last (HKDF), so that no key seals more than AES-GCM is good for, and an old one cannot be found from a new one.
"""

from __future__ import annotations

import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

SEALED: Final = 0x13
"""Kind of a sealed frame."""
MORE: Final = 0x80
KEY_BYTES: Final = 32
KEY_FRAMES: Final = 2**16
"""Frames under one key."""

_HEAD: Final = struct.Struct(">B8sQB")
_NONCE: Final = struct.Struct(">4xQ")
HEAD_BYTES: Final = _HEAD.size
OVERHEAD: Final = HEAD_BYTES + 16
"""Bytes of a frame besides its body."""
_SEQUENCE: Final = slice(9, 17)
_NEXT_KEY: Final = b"guesthouse session next key"


def session_of(frame: bytes) -> bytes | None:
    """The id of a sealed frame's session; None if it is not such a frame. Nothing of it is verified."""
    return frame[1:9] if len(frame) >= OVERHEAD and frame[0] == SEALED else None


def sequence_of(frame: bytes) -> int:
    """The sequence that a sealed frame claims."""
    return int.from_bytes(frame[_SEQUENCE], "big")


class SealingKey:
    """Seals the frames of one direction."""

    __slots__ = ("_cipher", "_key", "sequence")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(key)
        self.sequence = 0
        """Of the next frame."""

    def seal(self, session: bytes, content: int, body: bytes | memoryview) -> bytes:
        """The next frame."""
        sequence = self.sequence
        head = _HEAD.pack(SEALED, session, sequence, content)
        frame = head + self._cipher.encrypt(_NONCE.pack(sequence), body, head)
        self.sequence = sequence + 1
        if not self.sequence % KEY_FRAMES:
            self._key = _next_key(self._key)
            self._cipher = AESGCM(self._key)
        return frame


class OpeningKey:
    """Opens the frames of one direction, in order."""

    __slots__ = ("_cipher", "_key", "sequence")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(key)
        self.sequence = 0
        """Of the frame that is expected."""

    def open(self, frame: bytes) -> tuple[int, bytes] | None:
        """Open the expected frame: returns its content and body; None if it is forged or altered."""
        sequence = self.sequence
        body = _open(self._cipher, sequence, frame)
        if body is None:
            return None
        self.sequence = sequence + 1
        if not self.sequence % KEY_FRAMES:
            self._key = _next_key(self._key)
            self._cipher = AESGCM(self._key)
        return frame[HEAD_BYTES - 1], body

    def is_genuine(self, frame: bytes) -> bool:
        """Whether a frame that is ahead of the expected one was sealed by the other node. Of the key after next
        nothing is known, so a frame that far ahead is not.
        """
        sequence = sequence_of(frame)
        keys_ahead = sequence // KEY_FRAMES - self.sequence // KEY_FRAMES
        if not 0 <= keys_ahead <= 1:
            return False
        cipher = AESGCM(_next_key(self._key)) if keys_ahead else self._cipher
        return _open(cipher, sequence, frame) is not None


def _open(cipher: AESGCM, sequence: int, frame: bytes) -> bytes | None:
    try:
        return cipher.decrypt(_NONCE.pack(sequence), memoryview(frame)[HEAD_BYTES:], frame[:HEAD_BYTES])
    except InvalidTag:
        return None


def _next_key(key: bytes) -> bytes:
    return HKDFExpand(SHA256(), KEY_BYTES, _NEXT_KEY).derive(key)
