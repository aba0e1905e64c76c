"""Capabilities that leave the node, and come back: signed with its Ed25519 key. Pure.

A signed capability says which node issued it, to which holder, and until when. So it cannot be forged or altered (the
signature), shown by another than its holder, or shown for ever. That what carries it is not heard twice is the
envelope's to see to (`kernel/cluster/envelopes.py`).

The signed bytes are a fixed prefix and the JSON of the fields, in one order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta
from msgspec.structs import replace

from guesthouse.core.address import Address
from guesthouse.core.capabilities import MAX_PARAMS, BadCapability, Capability
from guesthouse.core.errors import BadAddress, GuesthouseError
from guesthouse.link.schema import Message

LONGEST_SECONDS: Final = 24 * 3600.0
"""How long a signature is valid; a verifier takes none that would be for longer."""
SKEW_SECONDS: Final = 60.0
"""How far the clocks of two nodes may be apart."""

_PREFIX: Final = b"guesthouse capability 1\0"


class BadSignature(GuesthouseError):
    """A signed capability is not taken; the text says why. What varies in it stands behind a colon."""


_Address = Annotated[str, Meta(max_length=1024)]


class SignedCapability(Message, frozen=True):
    """A capability on its way between nodes."""

    issuer: _Address
    params: Annotated[str, Meta(max_length=MAX_PARAMS)]
    holder: _Address
    """The address of the process that may show it."""
    expires: float
    """Unix seconds."""
    signature: Annotated[bytes, Meta(max_length=64)] = b""


def sign(key: Ed25519PrivateKey, capability: Capability, holder: str, expires: float) -> SignedCapability:
    """Sign a capability of this node's for one holder."""
    unsigned = SignedCapability(capability.issuer, capability.params, holder, expires)
    return replace(unsigned, signature=key.sign(_signed_bytes(unsigned)))


def verify(
    signed: SignedCapability, holder: str, key_of: Callable[[str], Ed25519PublicKey | None], now: float
) -> Capability:
    """The capability, if `holder` holds it.

    Args:
        signed: what was shown, or handed over.
        holder: the address of the process that shows it, or is handed it.
        key_of: the public key of a node by its name; None for a node that is not known.
        now: Unix seconds.

    Raises:
        BadSignature: forged, altered, over, or another's.
    """
    try:
        capability = Capability.read(signed.issuer, signed.params)
        issuing_node = Address.parse(signed.issuer).node
    except (BadCapability, BadAddress) as error:
        raise BadSignature(f"it names no capability: {error}") from None
    if (capability.issuer, capability.params) != (signed.issuer, signed.params):
        raise BadSignature("it is not in canonical form")
    key = key_of(issuing_node)
    if key is None:
        raise BadSignature(f"the key of its issuer is not known: {issuing_node}")
    try:
        key.verify(signed.signature, _signed_bytes(signed))
    except InvalidSignature:
        raise BadSignature(f"it is not signed by {issuing_node}") from None
    if signed.holder != holder:
        raise BadSignature(f"it is another's: it was given to {signed.holder}, not to {holder}")
    if not now - SKEW_SECONDS < signed.expires <= now + LONGEST_SECONDS + SKEW_SECONDS:
        raise BadSignature("it is over, or would be valid for too long")
    return capability


def _signed_bytes(signed: SignedCapability) -> bytes:
    fields = [signed.issuer, signed.params, signed.holder, signed.expires]
    try:
        return _PREFIX + json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        raise BadSignature("its time is no number") from None
