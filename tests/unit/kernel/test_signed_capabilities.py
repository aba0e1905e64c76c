"""What another node issued is taken from whom it was given to, unaltered and in time; nothing else is."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from guesthouse.core.capabilities import Capability
from guesthouse.kernel.capabilities.signed import (
    LONGEST_SECONDS,
    SKEW_SECONDS,
    BadSignature,
    SignedCapability,
    sign,
    verify,
)

NOW = 1_000_000.0
KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = {"home.os": KEY.public_key(), "away.os": OTHER_KEY.public_key()}
ISSUER, HOLDER = "home.os@door:house:a.os", "away.os@guest:house:a.os"
CAPABILITY = Capability.read(ISSUER, '"messaging"')


def signed(**changes: object) -> SignedCapability:
    made = sign(KEY, CAPABILITY, HOLDER, NOW + 60)
    return replace(made, **changes)


def test_what_was_signed_is_taken_from_its_holder() -> None:
    assert verify(signed(), HOLDER, KEYS.get, NOW) == CAPABILITY


@pytest.mark.parametrize(
    "change",
    [
        {"params": '"network"'},
        {"params": ' "messaging"'},
        {"params": "no json"},
        {"issuer": "home.os@other:house:a.os"},
        {"issuer": "away.os@door:house:a.os"},
        {"issuer": "far.os@door:house:a.os"},
        {"issuer": "nobody"},
        {"holder": "away.os@thief:house:a.os"},
        {"expires": NOW + 120},
        {"expires": float("inf")},
        {"signature": b"\0" * 64},
        {"signature": b""},
    ],
)
def test_what_was_altered_is_not_taken(change: dict[str, object]) -> None:
    holder = str(change.get("holder", HOLDER))
    with pytest.raises(BadSignature):
        verify(signed(**change), holder, KEYS.get, NOW)


def test_what_another_node_signed_is_not_taken() -> None:
    forged = sign(OTHER_KEY, CAPABILITY, HOLDER, NOW + 60)
    with pytest.raises(BadSignature, match=r"not signed by home\.os"):
        verify(forged, HOLDER, KEYS.get, NOW)


def test_what_was_given_to_one_is_not_taken_from_another() -> None:
    with pytest.raises(BadSignature, match=r"it is for another holder: away\.os@guest"):
        verify(signed(), "away.os@thief:house:a.os", KEYS.get, NOW)


@pytest.mark.parametrize(
    ("expires", "taken"),
    [
        (NOW - SKEW_SECONDS, False),
        (NOW - SKEW_SECONDS + 1, True),
        (NOW + LONGEST_SECONDS + SKEW_SECONDS, True),
        (NOW + LONGEST_SECONDS + SKEW_SECONDS + 1, False),
    ],
)
def test_a_seal_has_its_time(expires: float, *, taken: bool) -> None:
    made = sign(KEY, CAPABILITY, HOLDER, expires)
    if taken:
        assert verify(made, HOLDER, KEYS.get, NOW) == CAPABILITY
    else:
        with pytest.raises(BadSignature, match="has expired, or is valid for too long"):
            verify(made, HOLDER, KEYS.get, NOW)
