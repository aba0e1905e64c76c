"""Encrypted channels: the exchange of keys, and sealed messages."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from ._control import Message
from ._options import Options
from .errors import ConnectionLost, ProtocolViolated, error_of_status

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE: Final = 12
OVERHEAD: Final = 28
"""Bytes that sealing adds: a tag and a nonce."""
_ANSWER: Final = 65536


class Cipher:
    """Seals and opens messages with the secret of a channel."""

    def __init__(self, cipher: AESGCM) -> None:
        self._cipher = cipher

    def seal(self, message: Message) -> bytes:
        """A message as it is sent."""
        nonce = os.urandom(NONCE)
        data = message.encode() if isinstance(message, str) else message
        return self._cipher.encrypt(nonce, data, None) + nonce

    def open(self, message: Message) -> bytes:
        """The content of a message that came.

        Raises:
            ProtocolViolated: nobody who has the secret sent it.
        """
        from cryptography.exceptions import InvalidTag

        if isinstance(message, bytes) and len(message) >= OVERHEAD:
            try:
                return self._cipher.decrypt(message[-NONCE:], message[:-NONCE], None)
            except InvalidTag:
                pass
        raise ProtocolViolated("a message of an encrypted channel is not encrypted with its secret")


async def exchange_keys(options: Options, channel_id: int) -> Cipher:
    """Bring a channel its key, which opens it.

    Raises:
        GuesthouseError: the node does not take it.
        ModuleNotFoundError: `cryptography` is not installed: `pip install 'guesthouse-client[encryption]'`.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = await asyncio.to_thread(rsa.generate_private_key, 65537, 2048)
    modulus = f"{key.public_key().public_numbers().n:0512x}"
    answer = await asyncio.to_thread(_post, options, {"channel_id": channel_id, "public_key_hex": modulus})
    try:
        wrapped = bytes.fromhex(json.loads(answer)["encrypted_secret"])
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        return Cipher(AESGCM(key.decrypt(wrapped, oaep)))
    except (ValueError, TypeError, LookupError):
        raise ProtocolViolated("the node answered the key of the channel with no secret") from None


def _post(options: Options, fields: dict[str, object]) -> bytes:
    parts = urlsplit(options.url)
    scheme = "https" if parts.scheme == "wss" else "http"
    request = urllib.request.Request(  # noqa: S310 - the scheme is one of these
        urlunsplit((scheme, parts.netloc, "/encryptor:distro:sys", "", "")),
        json.dumps(fields).encode(),
        {**options.headers, "Content-Type": "application/json"},
    )
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=options.ssl)]
    if options.proxy is not True:
        given = {} if not options.proxy else {"http": str(options.proxy), "https": str(options.proxy)}
        handlers.append(urllib.request.ProxyHandler(given))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=options.connect_seconds) as answer:
            return bytes(answer.read(_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            raise error_of_status(error.code, error.read(_ANSWER).decode(errors="replace").strip()) from None
    except OSError as error:
        raise ConnectionLost(f"the key of the channel was not brought: {error}") from error
