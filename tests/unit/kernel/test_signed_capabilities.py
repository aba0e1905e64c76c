"""What another node issued is taken from whom it was given to, unaltered and in time; nothing else is."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from guesthouse.core.capabilities import Capability
from guesthouse.kernel.capabilities.signed import (
    LONGEST_SECONDS,
    MOST_OWN,
    SKEW_SECONDS,
    BadSignature,
    OwnSignatures,
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


CHANGES: list[dict[str, object]] = [
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
]


@pytest.mark.parametrize("change", CHANGES)
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


def test_one_that_was_verified_before_is_still_checked_for_its_use() -> None:
    own, given = OwnSignatures(), signed()
    assert own.known(given, HOLDER, NOW) is None
    own.add(given, CAPABILITY)
    assert own.known(given, HOLDER, NOW) == CAPABILITY
    with pytest.raises(BadSignature, match="another holder"):
        own.known(given, "away.os@thief:house:a.os", NOW)
    with pytest.raises(BadSignature, match="expired"):
        own.known(given, HOLDER, NOW + 60 + SKEW_SECONDS)


@pytest.mark.parametrize("change", CHANGES)
def test_one_that_was_altered_since_it_was_verified_is_not_known(change: dict[str, object]) -> None:
    own, given = OwnSignatures(), signed()
    own.add(given, CAPABILITY)
    assert own.known(replace(given, **change), str(change.get("holder", HOLDER)), NOW) is None


def test_so_many_are_known_and_none_that_is_large() -> None:
    own = OwnSignatures()
    each = [signed(expires=NOW + number) for number in range(MOST_OWN + 2)]
    for one in each:
        own.add(one, CAPABILITY)
        own.known(each[0], HOLDER, NOW)
    assert own.known(each[0], HOLDER, NOW) == CAPABILITY, "it was used all the time"
    assert own.known(each[1], HOLDER, NOW) is None
    large = signed(params=f'"{"x" * 2000}"')
    own.add(large, CAPABILITY)
    assert own.known(large, HOLDER, NOW) is None
