"""Capabilities that leave the node, and come back: signed with its Ed25519 key. Pure but for randomness.

A sealed capability says which node issued it, to which holder, for which node to show it to, and until when; it has a
number that is taken once. So it cannot be forged or altered (the signature), shown by another (the holder), shown
elsewhere (the audience), or shown twice (the number, remembered until the seal is over).

The signed bytes are a fixed prefix and the canonical JSON of the fields, in one order.
"""

from __future__ import annotations

import heapq
import json
import math
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guesthouse.address import Address
from guesthouse.capabilities import BadCapability, Capability
from guesthouse.errors import BadAddress, GuesthouseError

LONGEST_SECONDS: Final = 3600.0
"""How long a seal may be valid; a verifier takes none that would be for longer."""
SKEW_SECONDS: Final = 60.0
"""How far the clocks of two nodes may be apart."""
MOST_REMEMBERED: Final = 100_000

_PREFIX: Final = b"guesthouse capability 1\0"
_NUMBER_BYTES: Final = 16


class BadSeal(GuesthouseError):
    """A sealed capability is not taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A capability on its way between nodes."""

    issuer: str
    params: str
    holder: str
    """The address of the process that may show it."""
    audience: str
    """The node to which it may be shown."""
    expires: float
    """Unix seconds."""
    number: str
    signature: bytes = b""


def seal(
    key: Ed25519PrivateKey, capability: Capability, holder: str, audience: str, expires: float
) -> Sealed:
    """Sign a capability of this node's for one holder and one audience."""
    number = secrets.token_hex(_NUMBER_BYTES)
    unsigned = Sealed(capability.issuer, capability.params, holder, audience, expires, number)
    return Sealed(**{**asdict(unsigned), "signature": key.sign(_signed_bytes(unsigned))})


class Verifier:
    """Takes sealed capabilities that are shown to `node`.

    Args:
        key_of: the public key of a node by its name; None for a node that is not known.
    """

    def __init__(self, node: str, key_of: Callable[[str], Ed25519PublicKey | None]) -> None:
        self._node = node
        self._key_of = key_of
        self._seen: set[tuple[str, str]] = set()
        self._forget: list[tuple[float, tuple[str, str]]] = []

    def take(self, sealed: Sealed, shown_by: str, now: float) -> Capability:
        """The capability, once.

        Args:
            sealed: what was shown.
            shown_by: the address of the process that shows it, as its node stamped it.
            now: Unix seconds.

        Raises:
            BadSeal: forged, altered, over, another's, for another node, or shown before.
        """
        try:
            capability = Capability.read(sealed.issuer, sealed.params)
            issuing_node = Address.parse(sealed.issuer).node
        except (BadCapability, BadAddress) as error:
            raise BadSeal(str(error)) from None
        if (capability.issuer, capability.params) != (sealed.issuer, sealed.params):
            raise BadSeal("it is not in canonical form")
        if not math.isfinite(sealed.expires):
            raise BadSeal("it ends at no time")
        self._check_signature(sealed, issuing_node)
        if sealed.audience != self._node:
            raise BadSeal(f"it is for {sealed.audience}, not for {self._node}")
        if sealed.holder != shown_by:
            raise BadSeal(f"it was given to {sealed.holder}, and {shown_by} shows it")
        if not now - SKEW_SECONDS < sealed.expires <= now + LONGEST_SECONDS + SKEW_SECONDS:
            raise BadSeal("it is over, or would be valid for too long")
        self._take_number(issuing_node, sealed, now)
        return capability

    def _check_signature(self, sealed: Sealed, issuing_node: str) -> None:
        key = self._key_of(issuing_node)
        if key is None:
            raise BadSeal(f"the key of {issuing_node} is not known")
        try:
            key.verify(sealed.signature, _signed_bytes(sealed))
        except InvalidSignature:
            raise BadSeal(f"it is not signed by {issuing_node}") from None

    def _take_number(self, issuing_node: str, sealed: Sealed, now: float) -> None:
        while self._forget and self._forget[0][0] < now:
            self._seen.discard(heapq.heappop(self._forget)[1])
        seen = (issuing_node, sealed.number)
        if seen in self._seen:
            raise BadSeal("it was shown before")
        if len(self._seen) >= MOST_REMEMBERED:
            raise BadSeal("too many are shown at once: try again later")
        self._seen.add(seen)
        heapq.heappush(self._forget, (sealed.expires + SKEW_SECONDS, seen))


def _signed_bytes(sealed: Sealed) -> bytes:
    fields = [sealed.issuer, sealed.params, sealed.holder, sealed.audience, sealed.expires, sealed.number]
    return _PREFIX + json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
