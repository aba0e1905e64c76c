"""What is encrypted or signed: nothing that was altered is taken, whatever the alteration."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.node_frames import CONTROL, HELLO, PROCESSES, WELCOME, HandMade, signed
from tests.peer_world import KEYS, World

from guesthouse.core.capabilities import Capability
from guesthouse.http_server.channel.encryption import OVERHEAD, BadKey, ChannelCipher, client_key
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.kernel.capabilities.signed import BadSignature, SignedCapability, sign, verify

from .catalogue import target

KEY: Final = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the key of issuer.os").digest())
ISSUER: Final = "issuer.os@chat:chat:test.os"
HOLDER: Final = "holder.os@echo:echo:test.os"
NOW: Final = 1_800_000_000.0
ISSUERS: Final = {"issuer.os": KEY.public_key()}
STRANGER: Final = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the key of nobody").digest())
FIELDS: Final = ("issuer", "params", "holder", "expires")


@target()
def encrypted_channel(data: bytes) -> None:
    """A message that the client did not encrypt closes the channel; one that it did is taken once."""
    channel = ChannelCipher(10)
    assert isinstance(channel.decrypt(data), CloseReason)
    nonce = hashlib.sha256(data).digest()[:12]
    encrypted = AESGCM(channel.secret).encrypt(nonce, data, None) + nonce
    for altered in _altered(encrypted, data):
        assert isinstance(channel.decrypt(altered), CloseReason)
    assert channel.decrypt(encrypted) == data
    assert isinstance(channel.decrypt(encrypted), CloseReason)
    assert isinstance(channel.decrypt(channel.encrypt(data)), CloseReason)
    assert len(encrypted) == len(data) + OVERHEAD


def _altered(encrypted: bytes, data: bytes) -> list[bytes]:
    at = int.from_bytes(data[:2], "big") % len(encrypted)
    flipped = bytearray(encrypted)
    flipped[at] ^= 1
    return [bytes(flipped), encrypted[:-1], encrypted[1:], encrypted + b"\0"]


@target()
def key_of_a_client(data: bytes) -> None:
    """A key is refused, or has 2048 bits."""
    try:
        key = client_key(data.decode("latin-1"))
    except BadKey:
        return
    assert key.key_size == 2048


@target()
def signed_capability(data: bytes) -> None:
    """Of what is shown, only what the issuer signed is taken, by its holder, in its time."""
    capability = Capability.read(ISSUER, json.dumps("read"))
    real = sign(KEY, capability, HOLDER, NOW + 60)
    shown = _shown(real, data)
    try:
        taken = verify(shown, HOLDER, ISSUERS.get, NOW)
    except BadSignature:
        taken = None
    assert taken is None or (shown == real and taken == capability)
    assert verify(real, HOLDER, ISSUERS.get, NOW) == capability


@target(100)
def session_between_nodes(data: bytes) -> None:
    """Nothing is delivered that a node did not send in its session, and whatever it sends there is taken once."""
    world = World("a.os")
    end = world.ends["a.os"]
    sent: list[bytes] = []

    def deliver(sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        sent.append(frame)
        return []

    def hear(frame: bytes) -> None:
        end.peers.incoming(frame)
        world.run()

    world.deliver = deliver
    for unasked in (data, signed(HELLO, data, KEYS["b.os"]), signed(WELCOME, data, KEYS["b.os"])):
        hear(unasked)
    hear(HandMade("b.os", STRANGER, "a.os").hello())
    assert sent == []
    assert not end.peers._others
    other = HandMade("b.os", KEYS["b.os"], "a.os")
    hear(other.hello())
    other.welcomed(sent.pop())
    genuine = other.sealed(data)
    for altered in _altered(genuine, data):
        hear(altered)
    hear(genuine)
    hear(genuine)
    hear(other.sealed(data, CONTROL))
    heard = end.services[PROCESSES].of["b.os"]
    assert heard.messages == [data]
    if end.peers.is_up("b.os"):
        hear(other.sealed(b"next"))
        assert heard.messages == [data, b"next"]
    assert not end.log.failures


def _shown(real: SignedCapability, data: bytes) -> SignedCapability:
    """The real one, with the fields that the data names replaced by what it says."""
    fields = {name: getattr(real, name) for name in FIELDS} | {"signature": real.signature}
    for line in data.decode("utf-8", "replace").split("\n"):
        name, equals, value = line.partition("=")
        if equals and name in FIELDS:
            fields[name] = _number(value) if name == "expires" else value
        elif equals and name == "signature":
            fields[name] = value.encode()[:64]
    return SignedCapability(**fields)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
