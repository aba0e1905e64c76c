"""Capabilities that are passed between nodes, signed with the issuing node's Ed25519 key. Pure.

A signed capability names its issuer, holder and expiry, so it cannot be forged, altered, presented by another process,
or used for ever. Replays are prevented by the session that carries it (`kernel/cluster/peer_session.py`).

The signed bytes are a fixed prefix and the fields as a JSON array.
"""

from __future__ import annotations

import json
from collections import OrderedDict
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
"""Maximum validity of a signature, which verifiers enforce."""
SKEW_SECONDS: Final = 60.0
"""Tolerated clock skew between nodes."""

MOST_OWN: Final = 4096
_LARGEST_OWN: Final = 1024
_PREFIX: Final = b"guesthouse capability 1\0"


class BadSignature(GuesthouseError):
    """A signed capability is not valid. Variable parts of the message follow a colon, for throttling the log."""


_Address = Annotated[str, Meta(max_length=1024)]


class SignedCapability(Message, frozen=True):
    """A capability as sent between nodes."""

    issuer: _Address
    params: Annotated[str, Meta(max_length=MAX_PARAMS)]
    holder: _Address
    """Address of the process that may present it."""
    expires: float
    """Unix seconds."""
    signature: Annotated[bytes, Meta(max_length=64)] = b""


def sign(key: Ed25519PrivateKey, capability: Capability, holder: str, expires: float) -> SignedCapability:
    """Sign a capability of this node for one holder, until `expires` in Unix seconds."""
    unsigned = SignedCapability(capability.issuer, capability.params, holder, expires)
    return replace(unsigned, signature=key.sign(_signed_bytes(unsigned)))


def verify(
    signed: SignedCapability, holder: str, key_of: Callable[[str], Ed25519PublicKey | None], now: float
) -> Capability:
    """Verify a signed capability.

    Args:
        signed: as presented or passed on.
        holder: address of the process that presents or receives it.
        key_of: returns a node's public key by name; None for an unknown node.
        now: Unix seconds.

    Raises:
        BadSignature: it is forged, altered, expired, or for another holder.
    """
    try:
        capability = Capability.read(signed.issuer, signed.params)
        issuing_node = Address.parse(signed.issuer).node
    except (BadCapability, BadAddress) as error:
        raise BadSignature(f"it is not a capability: {error}") from None
    if (capability.issuer, capability.params) != (signed.issuer, signed.params):
        raise BadSignature("it is not in canonical form")
    key = key_of(issuing_node)
    if key is None:
        raise BadSignature(f"the key of its issuer is unknown: {issuing_node}")
    try:
        key.verify(signed.signature, _signed_bytes(signed))
    except InvalidSignature:
        raise BadSignature(f"it is not signed by {issuing_node}") from None
    _check_use(signed, holder, now)
    return capability


class OwnSignatures:
    """Signatures of this node that were verified before, the last `MOST_OWN`: a process presents the same one with each
    push, and to verify it costs more than all the rest. Who may use one, and until when, is checked each time. Other
    nodes cannot fill it, since only this node can make its signatures.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[SignedCapability, Capability] = OrderedDict()

    def known(self, signed: SignedCapability, holder: str, now: float) -> Capability | None:
        """The capability; None if its signature is still to be verified.

        Raises:
            BadSignature: as `verify`.
        """
        capability = self._known.get(signed)
        if capability is not None:
            _check_use(signed, holder, now)
            self._known.move_to_end(signed)
        return capability

    def add(self, signed: SignedCapability, capability: Capability) -> None:
        """Keep what `verify` returned, if it is not too large."""
        if len(signed.params) + len(signed.holder) > _LARGEST_OWN:
            return
        self._known[signed] = capability
        if len(self._known) > MOST_OWN:
            self._known.popitem(last=False)


def _check_use(signed: SignedCapability, holder: str, now: float) -> None:
    if signed.holder != holder:
        raise BadSignature(f"it is for another holder: {signed.holder}, not {holder}")
    if not now - SKEW_SECONDS < signed.expires <= now + LONGEST_SECONDS + SKEW_SECONDS:
        raise BadSignature("it has expired, or is valid for too long")


def _signed_bytes(signed: SignedCapability) -> bytes:
    fields = [signed.issuer, signed.params, signed.holder, signed.expires]
    try:
        return _PREFIX + json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        raise BadSignature("its expiry is not a number") from None
