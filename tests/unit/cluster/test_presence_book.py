"""What nodes say of themselves: whom it is believed, and what a flood costs."""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guesthouse.cluster.membership import presence_book
from guesthouse.cluster.membership.presence_book import PresenceBook
from guesthouse.cluster.membership.records import Presence, signed, verify
from guesthouse.cluster.membership.roster import SKEW_SECONDS

CLUSTER = "ab" * 16
KEYS = {name: Ed25519PrivateKey.generate() for name in ("a.os", "b.os")}


def presence(node: str = "a.os", sent: float = 1.0, key: str | None = None, cluster: str = CLUSTER) -> bytes:
    return signed(Presence(cluster=cluster, node=node, sent=sent, latest=3, channels=5), KEYS[key or node])


@pytest.fixture
def book() -> PresenceBook:
    return PresenceBook(CLUSTER, lambda node: KEYS[node].public_key() if node in KEYS else None)


def test_a_member_is_believed_what_it_says(book: PresenceBook) -> None:
    taken = book.take(presence(), 10.0)
    assert taken is not None
    assert taken.channels == 5
    heard = book.heard("a.os")
    assert heard is not None
    assert heard.at == 10.0


def test_nobody_else_is(book: PresenceBook) -> None:
    forged = [
        presence(key="b.os"),
        presence(cluster="cd" * 16),
        presence()[:-1],
        b"",
        b"p" * 70,
        bytes(100_000),
    ]
    KEYS["stranger.os"] = Ed25519PrivateKey.generate()
    forged.append(presence("stranger.os"))
    del KEYS["stranger.os"]
    for number, data in enumerate(forged):
        assert book.take(data, float(number)) is None
    assert book.dropped == len(forged)
    assert book.heard("a.os") is None


def test_a_clock_that_was_ahead_does_not_silence_a_node_once_it_is_right() -> None:
    now = 1_000_000.0
    book = PresenceBook(CLUSTER, lambda node: KEYS[node].public_key(), lambda: now)
    assert book.take(presence(sent=now + SKEW_SECONDS + 1), 1.0) is None
    assert (book.dropped, book.heard("a.os")) == (1, None)
    assert book.take(presence(sent=now), 2.0) is not None
    assert book.take(presence(sent=now + SKEW_SECONDS), 3.0) is not None, "clocks may differ a little"


def test_an_old_one_that_is_repeated_is_dropped(book: PresenceBook) -> None:
    assert book.take(presence(sent=2.0), 1.0) is not None
    assert book.take(presence(sent=2.0), 5.0) is None
    assert book.take(presence(sent=1.0), 6.0) is None
    heard = book.heard("a.os")
    assert heard is not None
    assert heard.at == 1.0


def test_a_flood_is_not_verified(book: PresenceBook, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = 0

    def counted(*arguments: object) -> None:
        nonlocal verified
        verified += 1
        verify(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(presence_book, "verify", counted)
    forged = [presence("a.os", sent=float(number), key="b.os") for number in range(1, 100)]
    for data in forged * 10:
        book.take(data, 0.5)
    assert verified <= 3
    assert book.take(presence("b.os"), 0.5) is not None, "others are heard meanwhile"
    assert book.take(presence("a.os", sent=time.time()), 2.0) is not None, "and it itself a second later"
