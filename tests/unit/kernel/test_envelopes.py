"""What comes from another node is heard once, as it was sent, and only by the node it is for."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.node_frames import frame, read

from guesthouse.kernel.capabilities.signed import SKEW_SECONDS, SignedCapability
from guesthouse.kernel.cluster import envelopes
from guesthouse.kernel.cluster.envelopes import VALID_SECONDS, BadEnvelope, Envelopes
from guesthouse.kernel.cluster.node_messages import Failure, NodeMessage, Request, Response

NOW = 1_000_000.0
HOME, AWAY, STRANGER = (Ed25519PrivateKey.generate() for _ in range(3))
KEYS = {"home.os": HOME.public_key(), "away.os": AWAY.public_key()}
SIGNED = SignedCapability("away.os@a:b:c", '"messaging"', "home.os@d:e:f", NOW, bytes(64))
MESSAGE = Failure(7, "timeout", None)
MESSAGES: list[NodeMessage] = [
    MESSAGE,
    Failure(2**64 - 1, "not-authorised", ("home.os@a:b:c", '"messaging"')),
    Response(1, "a:b:c", b"body", None, None, None, ()),
    Request(
        0, "a:b:c", "d:e:f", b"body", True, 5, "metadata", "text/plain", b"blob", (SIGNED,), (SIGNED,) * 32
    ),
]


def home() -> Envelopes:
    return Envelopes("home.os", HOME, KEYS.get)


def away(key: Ed25519PrivateKey = AWAY) -> Envelopes:
    return Envelopes("away.os", key, KEYS.get)


def of_away(said: list[Any] | bytes, **other: Any) -> bytes:
    return frame("away.os", "home.os", said, AWAY, **{"expires": NOW + 60} | other)


def test_the_frames_of_these_tests_are_those_of_nodes() -> None:
    sent = away().close(MESSAGE, "home.os", NOW)
    taken = read(sent)
    assert taken.written() == sent
    assert taken.signed(AWAY) == taken
    assert home().open(of_away([2, 7, "timeout", None]), NOW) == ("away.os", MESSAGE)


@pytest.mark.parametrize("message", MESSAGES)
def test_what_was_sent_is_heard_once(message: NodeMessage) -> None:
    receiver, envelope = home(), away().close(message, "home.os", NOW)
    assert receiver.open(envelope, NOW) == ("away.os", message)
    with pytest.raises(BadEnvelope, match="sent it before"):
        receiver.open(envelope, NOW + 1)


def test_the_same_message_may_be_sent_twice() -> None:
    receiver = home()
    for _ in range(2):
        assert receiver.open(away().close(MESSAGE, "home.os", NOW), NOW) == ("away.os", MESSAGE)


@pytest.mark.parametrize(
    ("envelope", "why"),
    [
        (away(STRANGER).close(MESSAGE, "home.os", NOW), r"not signed by away\.os"),
        (Envelopes("far.os", STRANGER, KEYS.get).close(MESSAGE, "home.os", NOW), "is unknown"),
        (away().close(MESSAGE, "other.os", NOW), "sent it to another node"),
        (b"", "not of version 2"),
        (b"\xff", "not of version 2"),
        (b"\x01" + away().close(MESSAGE, "home.os", NOW)[1:], "not of version 2"),
        (b"\x02", "not an envelope"),
        (b"\x02\x07away.os", "not an envelope"),
        (b"\x02\x02\xff\xff" + bytes(200), "not an envelope"),
        (b"\x02" + bytes([255]) * 300, "not an envelope"),
        (of_away([2, 7, "timeout", None], version=3), "not of version 2"),
        (of_away([2, 7, "timeout", None], digest=bytes(32)), r"not what away\.os signed"),
        (of_away([2, 7, "timeout", None], expires=float("nan")), "it has expired"),
        (of_away([2, 7, "timeout", None], expires=float("inf")), "it has expired"),
    ],
    ids=count(),  # not the bytes, which are other ones in each process
)
def test_what_was_not_sent_like_that_is_not_heard(envelope: bytes, why: str) -> None:
    with pytest.raises(BadEnvelope, match=why):
        home().open(envelope, NOW)


def _heads(size: int) -> bytes:
    return b"\xdd" + size.to_bytes(4, "big")


REQUEST: list[Any] = [0, 1, "a:b:c", "d:e:f", b"", False, None, None, None, None, [], []]
SIGNED_FIELDS: list[Any] = ["away.os@a:b:c", '"messaging"', "home.os@d:e:f", NOW, bytes(64)]


def changed(at: int, value: Any) -> list[Any]:
    return [*REQUEST[:at], value, *REQUEST[at + 1 :]]


SHAPELESS: list[list[Any] | bytes] = [
    b"",
    b"\xc1",
    [],
    [9],
    [0],
    [-1],
    ["0"],
    [[]],
    [*REQUEST, None],
    REQUEST[:-1],
    changed(1, -1),
    changed(1, True),
    changed(1, "1"),
    changed(2, b"a:b:c"),
    changed(2, "x" * 513),
    changed(4, "text"),
    changed(4, [1, 2]),
    changed(4, bytes(2**24 + 1)),
    changed(5, 1),
    changed(6, -1),
    changed(6, 1.5),
    changed(7, b""),
    changed(8, "x" * 65_537),
    changed(10, {}),
    changed(10, [SIGNED_FIELDS] * 33),
    changed(11, [SIGNED_FIELDS[:-1] * 2]),
    changed(11, [[*SIGNED_FIELDS[:3], "now", b""]]),
    changed(11, [[*SIGNED_FIELDS[:4], bytes(65)]]),
    [2, 1, "no-such-kind", None],
    [2, 1, "timeout", ["one"]],
    [2, 1, "timeout", ["one", 2]],
    b"\x91" * 1_000_000,
    _heads(20_000_000) + b"\x90" * 20_000_000,
    b"\x9c\x00\x01\xa1a\xa1b\xc4\x00\xc2\xc0\xc0\xc0\xc0\x90" + _heads(18_000_000) + b"\x90" * 18_000_000,
    b"\x92\x00\xdf\x00\x00\x00\x09" + b"\x01\x01" * 9,
    b"\x94\x02\xc7\x0c\xff" + bytes(14),
    b"\x94\x02\x01\xa7timeout\xc0\x00",
    b"\x94\x02\x01\xa3\xed\xa0\x80\xc0",
]


def name_of(said: list[Any] | bytes) -> str:
    """How it begins. Its whole `repr` would take a second to make."""
    start = said[:20] if isinstance(said, bytes) else [_start(item) for item in said]
    return repr(start)[:40]


def _start(item: Any) -> Any:
    return item[:20] if isinstance(item, str | bytes) else item


@pytest.mark.parametrize("said", SHAPELESS, ids=name_of)
def test_what_a_known_node_signs_and_is_no_message_is_refused(said: list[Any] | bytes) -> None:
    envelope = of_away(said)
    with pytest.raises(BadEnvelope, match=r"away\.os sent an invalid message"):
        home().open(envelope, NOW)


def test_nothing_is_decoded_before_all_of_the_head_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [
        away(STRANGER).close(MESSAGE, "home.os", NOW),
        Envelopes("far.os", STRANGER, KEYS.get).close(MESSAGE, "home.os", NOW),
        away().close(MESSAGE, "other.os", NOW),
        away().close(MESSAGE, "home.os", NOW - 1000),
    ]
    receiver, heard = home(), away().close(MESSAGE, "home.os", NOW)
    receiver.open(heard, NOW)

    def hashed(*_: object) -> None:
        raise AssertionError

    fresh = away().close(MESSAGE, "home.os", NOW)
    monkeypatch.setattr(hashlib, "sha256", hashed)
    for envelope in (*refused, heard):
        with pytest.raises(BadEnvelope):
            receiver.open(envelope, NOW)
    with pytest.raises(AssertionError):
        receiver.open(fresh, NOW)


def test_another_body_under_a_head_that_was_seen_does_not_use_it_up() -> None:
    receiver, envelope = home(), away().close(MESSAGE, "home.os", NOW)
    with pytest.raises(BadEnvelope, match="not what"):
        receiver.open(read(envelope).saying([2, 8, "timeout", None]).written(), NOW)
    assert receiver.open(envelope, NOW) == ("away.os", MESSAGE)


@pytest.mark.parametrize("size", [0, 5, 200, 70_000])
def test_an_envelope_of_any_size_is_found_to_be_one(size: int) -> None:
    message = Response(1, "a:b:c", b"x" * size, None, None, None, ())
    for name in ("away.os", "a" * 128):
        sender = Envelopes(name, AWAY, KEYS.get)
        receiver = Envelopes("home.os", HOME, lambda _: AWAY.public_key())
        assert receiver.open(sender.close(message, "home.os", NOW), NOW) == (name, message)


@given(st.binary())
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    for envelope in (data, b"\x02" + data, b"\x02\x07away.os" + data):
        with pytest.raises(BadEnvelope):
            home().open(envelope, NOW)


@given(st.data())
def test_no_byte_can_be_altered(data: st.DataObject) -> None:
    envelope = bytearray(away().close(MESSAGE, "home.os", NOW))
    at = data.draw(st.integers(0, len(envelope) - 1))
    envelope[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadEnvelope):
        home().open(bytes(envelope), NOW)


@pytest.mark.parametrize("field", ["sender", "receiver", "number", "expires", "digest"])
def test_nothing_of_a_head_can_be_altered(field: str) -> None:
    other = {
        "sender": "home.os",
        "receiver": "else.os",
        "number": bytes(16),
        "expires": NOW + 61,
        "digest": bytes(32),
    }
    altered: dict[str, Any] = {field: other[field]}
    taken = replace(read(away().close(MESSAGE, "home.os", NOW)), **altered)
    with pytest.raises(BadEnvelope, match="is not signed by"):
        home().open(taken.written(), NOW)


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
        with pytest.raises(BadEnvelope, match=r"expired, or away\.os made it valid for too long"):
            home().open(envelope, NOW + age)


def test_a_replay_is_known_as_long_as_it_could_be_taken() -> None:
    receiver, envelope = home(), away().close(MESSAGE, "home.os", NOW)
    receiver.open(envelope, NOW)
    for age in range(0, int(VALID_SECONDS + 2 * SKEW_SECONDS), 10):
        with pytest.raises(BadEnvelope):
            receiver.open(envelope, NOW + age)


def test_what_an_earlier_run_of_the_node_may_have_heard_is_not_heard_again() -> None:
    envelope = away().close(MESSAGE, "home.os", NOW)
    assert home().open(envelope, NOW) == ("away.os", MESSAGE)
    restarted = Envelopes("home.os", HOME, KEYS.get, NOW + 1)
    with pytest.raises(BadEnvelope, match="before this node was started"):
        restarted.open(envelope, NOW + 1)
    assert restarted.open(away().close(MESSAGE, "home.os", NOW + 1), NOW + 1) == ("away.os", MESSAGE)


def test_one_node_does_not_crowd_out_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelopes, "MOST_REMEMBERED", 3)
    receiver: Any = home()
    for _ in range(3):
        receiver.open(away().close(MESSAGE, "home.os", NOW), NOW)
    with pytest.raises(BadEnvelope, match="too many at once"):
        receiver.open(away().close(MESSAGE, "home.os", NOW), NOW)
    receiver.open(Envelopes("home.os", HOME, KEYS.get).close(MESSAGE, "home.os", NOW), NOW)
    later = NOW + VALID_SECONDS + SKEW_SECONDS + 1
    receiver.open(away().close(MESSAGE, "home.os", later), later)
    assert len(receiver._seen["away.os"]._numbers) == 1
    assert len(receiver._seen["away.os"]._ends) == 1


def test_one_that_is_too_large_is_neither_made_nor_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = away().close(MESSAGE, "home.os", NOW)
    monkeypatch.setattr(envelopes, "MAX_ENVELOPE", len(envelope) - 1)
    with pytest.raises(BadEnvelope, match="limit"):
        home().open(envelope, NOW)
    with pytest.raises(BadEnvelope, match="limit"):
        away().close(MESSAGE, "home.os", NOW)


def test_a_message_that_cannot_be_written_is_not_sent() -> None:
    with pytest.raises(BadEnvelope, match="cannot be encoded"):
        away().close(Response(1, "a:b:c", b"", "\ud800", None, None, ()), "home.os", NOW)
