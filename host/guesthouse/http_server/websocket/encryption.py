"""Encrypted channels: `ciphertext || tag (16) || nonce (12)`, AES-256-GCM. Pure but for randomness.

The secret is the node's, and is given to the client wrapped by the client's RSA key (OAEP, SHA-256). The
node signs that key with its own (Ed25519), so that a client who knows the node sees nobody sat between.
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
from guesthouse.http_server.close_codes import BAD_SEAL, SECRET_USED_UP, Close

OVERHEAD: Final = 28
"""Bytes that sealing adds to a message."""

MODULUS_BYTES: Final = 256
_EXPONENT: Final = 65537
_SECRET_BYTES: Final = 32
_TAG: Final = 16
_NONCE: Final = 12
_PREFIX: Final = 8


class BadKey(GuesthouseError):
    """A public key is not an RSA modulus of 2048 bits."""


class ChannelCipher:
    """The secret of one channel and all that was said under it.

    Our nonces are eight random bytes and a counter. A nonce is taken once: none twice from the client,
    and none of ours, which somebody might send back to us.

    Args:
        most: messages that the client may send under this secret; each nonce has to be remembered.
    """

    __slots__ = ("_cipher", "_most", "_prefix", "_seen", "_sent", "secret")

    def __init__(self, most: int) -> None:
        self.secret = secrets.token_bytes(_SECRET_BYTES)
        self._cipher = AESGCM(self.secret)
        self._prefix = secrets.token_bytes(_PREFIX)
        self._most = most
        self._seen: set[bytes] = set()
        self._sent = 0

    def seal(self, payload: bytes) -> bytes:
        """A message for the client."""
        nonce = self._prefix + self._sent.to_bytes(_NONCE - _PREFIX, "big")
        self._sent += 1
        return self._cipher.encrypt(nonce, payload, None) + nonce

    def open(self, message: bytes) -> bytes | Close:
        """What the client said, or how the channel is to be closed."""
        if len(message) < OVERHEAD:
            return BAD_SEAL.because("it is shorter than a tag and a nonce")
        sealed, nonce = message[:-_NONCE], message[-_NONCE:]
        if nonce in self._seen or nonce.startswith(self._prefix):
            return BAD_SEAL.because("its nonce was used before")
        if len(self._seen) >= self._most:
            return SECRET_USED_UP
        try:
            payload = self._cipher.decrypt(nonce, sealed, None)
        except InvalidTag:
            return BAD_SEAL.because("its tag is wrong")
        self._seen.add(nonce)
        return payload


def client_key(modulus_hex: str) -> RSAPublicKey:
    """The client's key, of which it gives the modulus.

    Raises:
        BadKey: it is no modulus of 2048 bits.
    """
    try:
        modulus = (
            int(modulus_hex, 16) if len(modulus_hex) == 2 * MODULUS_BYTES and modulus_hex.isalnum() else 0
        )
        if modulus.bit_length() != 8 * MODULUS_BYTES or not modulus & 1:
            raise ValueError("not such a modulus")
        return RSAPublicNumbers(_EXPONENT, modulus).public_key()
    except ValueError:
        raise BadKey("public_key_hex is the modulus of an RSA key of 2048 bits, in hexadecimal") from None


def wrap(secret: bytes, key: RSAPublicKey) -> bytes:
    """The secret, for the holder of that key alone."""
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    return key.encrypt(secret, oaep)
