"""Encrypted channels: AES-256-GCM, messages of `ciphertext || tag (16) || nonce (12)`. Pure but for randomness.

The node generates the key and sends it wrapped with the client's RSA key (OAEP, SHA-256). It signs the client's
key with its own Ed25519 key, so that a client that knows the node detects a man in the middle.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guesthouse.core.errors import GuesthouseError
from guesthouse.http_server.close_codes import BAD_CIPHERTEXT, SECRET_USED_UP, CloseReason
from guesthouse.http_server.sessions.handed_channel import HandedCipher

OVERHEAD: Final = 28
"""Bytes of tag and nonce added to a message."""

MODULUS_BYTES: Final = 256
_EXPONENT: Final = 65537
_SECRET_BYTES: Final = 32
_TAG: Final = 16
_NONCE: Final = 12
_PREFIX: Final = 8


class BadKey(GuesthouseError):
    """A public key is not a 2048-bit RSA modulus."""


class ChannelCipher:
    """Encrypts and decrypts the messages of one channel.

    The node's nonces are eight random bytes and a counter. Messages of the client with a repeated nonce, or with
    one of the node's (a reflected message), are refused.

    Args:
        most: messages that the client may send; each nonce is remembered.
        state: of a channel that another run of the node opened.
    """

    __slots__ = ("_cipher", "_most", "_prefix", "_seen", "_sent", "secret")

    def __init__(self, most: int, state: HandedCipher | None = None) -> None:
        self.secret = secrets.token_bytes(_SECRET_BYTES) if state is None else state.secret
        self._cipher = AESGCM(self.secret)
        self._prefix = secrets.token_bytes(_PREFIX) if state is None else state.prefix
        self._most = most
        self._seen: set[bytes] = set() if state is None else state.nonces()
        self._sent = 0 if state is None else state.sent

    def state(self) -> HandedCipher:
        """What another run of the node goes on with."""
        return HandedCipher(self.secret, self._prefix, self._sent, b"".join(self._seen))

    @property
    def nonce_bytes(self) -> int:
        """What the client's nonces take in the state."""
        return _NONCE * len(self._seen)

    def encrypt(self, payload: bytes) -> bytes:
        """Encrypt a message for the client."""
        nonce = self._prefix + self._sent.to_bytes(_NONCE - _PREFIX, "big")
        self._sent += 1
        return self._cipher.encrypt(nonce, payload, None) + nonce

    def decrypt(self, message: bytes) -> bytes | CloseReason:
        """Decrypt a message of the client; returns a `CloseReason` if it is not authentic."""
        if len(message) < OVERHEAD:
            return BAD_CIPHERTEXT.because("it is shorter than a tag and a nonce")
        ciphertext, nonce = message[:-_NONCE], message[-_NONCE:]
        if nonce in self._seen or nonce.startswith(self._prefix):
            return BAD_CIPHERTEXT.because("its nonce was used before")
        if len(self._seen) >= self._most:
            return SECRET_USED_UP
        try:
            payload = self._cipher.decrypt(nonce, ciphertext, None)
        except InvalidTag:
            return BAD_CIPHERTEXT.because("its tag is wrong")
        self._seen.add(nonce)
        return payload


def client_key(modulus_hex: str) -> RSAPublicKey:
    """Make the client's public key from its modulus.

    Raises:
        BadKey: `modulus_hex` is not a 2048-bit modulus in hexadecimal.
    """
    try:
        modulus = (
            int(modulus_hex, 16) if len(modulus_hex) == 2 * MODULUS_BYTES and modulus_hex.isalnum() else 0
        )
        if modulus.bit_length() != 8 * MODULUS_BYTES or not modulus & 1:
            raise ValueError("not a 2048-bit modulus")
        return RSAPublicNumbers(_EXPONENT, modulus).public_key()
    except ValueError:
        raise BadKey("public_key_hex is the modulus of an RSA key of 2048 bits, in hexadecimal") from None


def wrap(secret: bytes, key: RSAPublicKey) -> bytes:
    """Encrypt the channel's key with the client's (RSA-OAEP)."""
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    return key.encrypt(secret, oaep)
