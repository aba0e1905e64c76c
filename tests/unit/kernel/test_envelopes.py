"""What comes from another node is heard once, as it was sent, and only by the node it is for."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from guesthouse import plain_cbor
from guesthouse.kernel import envelopes
from guesthouse.kernel.envelopes import SKEW_SECONDS, VALID_SECONDS, BadEnvelope, Envelopes

NOW = 1_000_000.0
HOME, AWAY, STRANGER = (Ed25519PrivateKey.generate() for _ in range(3))
KEYS = {"home.os": HOME.public_key(), "away.os": AWAY.public_key()}
MESSAGE = [1, "text", b"bytes", None]


def home() -> Envelopes:
    return Envelopes("home.os", HOME, KEYS.get)


def away(key: Ed25519PrivateKey = AWAY) -> Envelopes:
    return Envelopes("away.os", key, KEYS.get)


def test_what_was_sent_is_heard_once() -> None:
    receiver, envelope = home(), away().close(MESSAGE, "home.os", NOW)
    assert receiver.open(envelope, NOW) == ("away.os", MESSAGE)
    with pytest.raises(BadEnvelope, match="heard before"):
        receiver.open(envelope, NOW + 1)


def test_the_same_message_may_be_sent_twice() -> None:
    receiver = home()
    for _ in range(2):
        assert receiver.open(away().close(MESSAGE, "home.os", NOW), NOW) == ("away.os", MESSAGE)


@pytest.mark.parametrize(
    ("envelope", "why"),
    [
        (away(STRANGER).close(MESSAGE, "home.os", NOW), r"not signed by away\.os"),
        (Envelopes("far.os", STRANGER, KEYS.get).close(MESSAGE, "home.os", NOW), "is not known"),
        (away().close(MESSAGE, "other.os", NOW), "meant it for another node"),
        (b"", "not CBOR"),
        (b"\xff", "not CBOR"),
        (cbor2.dumps([b"", b"", b""]), "the form of"),
        (cbor2.dumps([cbor2.dumps([1]), b""]), "the form of"),
        (cbor2.dumps([cbor2.dumps([9, "away.os", "home.os", b"", 1.0, []]), bytes(64)]), "of version 9"),
        (b"\x9f" * 100_000, "not CBOR"),
    ],
)
def test_what_was_not_sent_like_that_is_not_heard(envelope: bytes, why: str) -> None:
    with pytest.raises(BadEnvelope, match=why):
        home().open(envelope, NOW)


@pytest.mark.parametrize("inner", [cbor2.CBORTag(35, "("), cbor2.CBORTag(2, b"x" * 9), 2**70, [[[[[1]]]]]])
def test_what_a_known_node_signs_has_no_tags_and_no_large_integers(inner: Any) -> None:
    with pytest.raises(BadEnvelope, match="the form of"):
        home().open(away().close([1, inner], "home.os", NOW), NOW)


def test_nothing_is_decoded_before_the_signature_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    forged = [
        away(STRANGER).close([1, dict.fromkeys(range(100), 0)], to, NOW) for to in ("home.os", "o" * 300)
    ]
    forged.append(Envelopes("far.os", STRANGER, KEYS.get).close(MESSAGE, "home.os", NOW))

    def loads(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(plain_cbor, "loads", loads)
    for envelope in forged:
        with pytest.raises(BadEnvelope):
            home().open(envelope, NOW)
    with pytest.raises(AssertionError):
        home().open(away().close(MESSAGE, "home.os", NOW), NOW)


@pytest.mark.parametrize("size", [0, 5, 200, 70_000])
def test_an_envelope_of_any_size_is_found_to_be_one(size: int) -> None:
    message = [1, b"x" * size]
    for name in ("away.os", "a" * 40):
        sender = Envelopes(name, AWAY, KEYS.get)
        receiver = Envelopes("home.os", HOME, lambda _: AWAY.public_key())
        assert receiver.open(sender.close(message, "home.os", NOW), NOW) == (name, message)


@given(st.binary())
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(BadEnvelope):
        home().open(data, NOW)
    with pytest.raises(BadEnvelope):
        home().open(cbor2.dumps([data, data]), NOW)


@given(st.data())
def test_no_byte_can_be_altered(data: st.DataObject) -> None:
    envelope = bytearray(away().close(MESSAGE, "home.os", NOW))
    at = data.draw(st.integers(0, len(envelope) - 1))
    envelope[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadEnvelope):
        home().open(bytes(envelope), NOW)


@pytest.mark.parametrize(
    ("age", "heard"),
    [
        (VALID_SECONDS + SKEW_SECONDS, False),
        (VALID_SECONDS + SKEW_SECONDS - 1, True),
        (-SKEW_SECONDS, True),
        (-SKEW_SECONDS - 1, False),
    ],
)
def test_an_envelope_has_its_time(age: float, *, heard: bool) -> None:
    envelope = away().close(MESSAGE, "home.os", NOW)
    if heard:
        home().open(envelope, NOW + age)
    else:
        with pytest.raises(BadEnvelope, match="over, or would be valid for too long"):
            home().open(envelope, NOW + age)


def test_a_replay_is_known_as_long_as_it_could_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, envelope = home(), away().close(MESSAGE, "home.os", NOW)
    receiver.open(envelope, NOW)
    for age in range(0, int(VALID_SECONDS + 2 * SKEW_SECONDS), 10):
        with pytest.raises(BadEnvelope):
            receiver.open(envelope, NOW + age)


def test_one_node_does_not_crowd_out_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelopes, "MOST_REMEMBERED", 3)
    receiver: Any = home()
    for _ in range(3):
        receiver.open(away().close(MESSAGE, "home.os", NOW), NOW)
    with pytest.raises(BadEnvelope, match="too much is heard"):
        receiver.open(away().close(MESSAGE, "home.os", NOW), NOW)
    receiver.open(Envelopes("home.os", HOME, KEYS.get).close(MESSAGE, "home.os", NOW), NOW)
    later = NOW + VALID_SECONDS + SKEW_SECONDS + 1
    receiver.open(away().close(MESSAGE, "home.os", later), later)


def test_one_that_is_too_large_is_neither_made_nor_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = away().close(MESSAGE, "home.os", NOW)
    monkeypatch.setattr(envelopes, "MAX_ENVELOPE", len(envelope) - 1)
    with pytest.raises(BadEnvelope, match="limit"):
        home().open(envelope, NOW)
    with pytest.raises(BadEnvelope, match="limit"):
        away().close(MESSAGE, "home.os", NOW)
