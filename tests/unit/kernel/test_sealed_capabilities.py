"""What comes from another node is taken once, from whom it was given to, unaltered; nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guesthouse.capabilities import Capability
from guesthouse.kernel.sealed_capabilities import (
    LONGEST_SECONDS,
    SKEW_SECONDS,
    BadSeal,
    Sealed,
    Verifier,
    seal,
)

NOW = 1_000_000.0
KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
ISSUER, HOLDER = "home.os@door:house:a.os", "away.os@guest:house:a.os"
CAPABILITY = Capability.read(ISSUER, '"messaging"')


def verifier(node: str = "home.os") -> Verifier:
    keys = {"home.os": KEY.public_key(), "away.os": OTHER_KEY.public_key()}
    return Verifier(node, keys.get)


def sealed(**changes: object) -> Sealed:
    made = seal(KEY, CAPABILITY, HOLDER, "home.os", NOW + 60)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_what_was_sealed_is_taken_from_its_holder() -> None:
    assert verifier().take(sealed(), HOLDER, NOW) == CAPABILITY


@pytest.mark.parametrize(
    "change",
    [
        {"params": '"network"'},
        {"issuer": "home.os@other:house:a.os"},
        {"expires": NOW + 120},
        {"number": "0" * 32},
        {"signature": b"\0" * 64},
        {"signature": b""},
    ],
)
def test_what_was_altered_is_dropped(change: dict[str, object]) -> None:
    with pytest.raises(BadSeal, match="not signed by"):
        verifier().take(sealed(**change), HOLDER, NOW)


def test_what_another_node_signed_in_our_name_is_dropped() -> None:
    forged = seal(OTHER_KEY, CAPABILITY, HOLDER, "home.os", NOW + 60)
    with pytest.raises(BadSeal, match="not signed by"):
        verifier().take(forged, HOLDER, NOW)


def test_what_is_shown_twice_is_dropped_the_second_time_until_it_is_over() -> None:
    gate, shown = verifier(), sealed()
    gate.take(shown, HOLDER, NOW)
    for moment in (NOW, NOW + 60, NOW + 60 + SKEW_SECONDS - 1):
        with pytest.raises(BadSeal, match="shown before"):
            gate.take(shown, HOLDER, moment)
    with pytest.raises(BadSeal, match="over"):
        gate.take(shown, HOLDER, NOW + 60 + SKEW_SECONDS)


def test_what_is_over_or_valid_for_too_long_is_dropped() -> None:
    for expires in (NOW - SKEW_SECONDS, NOW + LONGEST_SECONDS + SKEW_SECONDS + 1):
        with pytest.raises(BadSeal, match="over, or"):
            verifier().take(seal(KEY, CAPABILITY, HOLDER, "home.os", expires), HOLDER, NOW)


def test_only_its_holder_shows_it_and_only_to_whom_it_is_for() -> None:
    with pytest.raises(BadSeal, match="shows it"):
        verifier().take(sealed(), "away.os@thief:house:a.os", NOW)
    with pytest.raises(BadSeal, match=r"for home\.os, not for away\.os"):
        verifier("away.os").take(sealed(), HOLDER, NOW)


def test_what_an_unknown_node_issued_or_nobody_can_have_is_dropped() -> None:
    stranger = Capability.read("far.os@a:b:c", "1")
    with pytest.raises(BadSeal, match=r"far\.os is not known"):
        verifier().take(seal(KEY, stranger, HOLDER, "home.os", NOW + 60), HOLDER, NOW)
    with pytest.raises(BadSeal, match="params"):
        verifier().take(sealed(params="{"), HOLDER, NOW)
    with pytest.raises(BadSeal, match="issuer"):
        verifier().take(sealed(issuer="nobody"), HOLDER, NOW)
