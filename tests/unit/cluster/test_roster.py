"""Cards and successions: what is taken, what is refused, and that nothing goes back."""

from __future__ import annotations

import random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.msgpack import Encoder

from guesthouse.cluster.membership.records import BadRecord, Card, Presence, Succession, signed
from guesthouse.cluster.membership.roster import MOST_NODES, SKEW_SECONDS, Roster

NOW = 1_800_000_000
KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw()


def public() -> bytes:
    return Ed25519PrivateKey.generate().public_key().public_bytes_raw()


NODE = public()


def card(node: str = "a.os", *, by: Ed25519PrivateKey = KEY, **fields: Any) -> bytes:
    given: dict[str, Any] = {
        "cluster": Roster(PUBLIC).cluster_id,
        "node": node,
        "key": NODE,
        "serial": 1,
        "issued": NOW,
        "expires": NOW + 1000,
        "state": "member",
    }
    return signed(Card(**{**given, **fields}), by)


def test_a_card_makes_a_member_until_it_expires() -> None:
    roster = Roster(PUBLIC)
    assert roster.key_of("a.os", NOW) is None
    taken = roster.take_card(card())
    assert taken is not None
    assert taken.node == "a.os"
    found = roster.key_of("a.os", NOW)
    assert found is not None
    assert found.public_bytes_raw() == NODE
    assert roster.key_of("a.os", NOW + 1000 + SKEW_SECONDS) is not None
    assert roster.key_of("a.os", NOW + 1001 + SKEW_SECONDS) is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (card(by=Ed25519PrivateKey.generate()), "signature"),
        (card(cluster="0" * 32), "another cluster"),
        (card()[:-1], "no card"),
        (card() + b"x", "no card"),
        (b"", "no card"),
        (b"c" + bytes(64) + b"\xc1", "no card"),
        (card(node="a b"), "names no node"),
        (card(node=""), "names no node"),
        (card(node="x" * 129), "no card"),
        (card(serial=0), "no card"),
        (card(serial=2**60), "no card"),
        (card(state="king"), "no card"),
        (b"c" + bytes(5000), "no card"),
        (b"s" + card()[1:], "no card"),
    ],
    ids=range(14),
)
def test_what_is_not_a_card_of_the_cluster_is_refused(data: bytes, why: str) -> None:
    roster = Roster(PUBLIC)
    with pytest.raises(BadRecord, match=why):
        roster.take_card(data)
    assert roster.cards == []


def test_a_record_of_one_kind_is_none_of_another() -> None:
    """All are signed by one key, so the kind is signed, too."""
    presence = signed(Presence(cluster=Roster(PUBLIC).cluster_id, node="a.os", sent=1.0, latest=1), KEY)
    with pytest.raises(BadRecord):
        Roster(PUBLIC).take_card(presence)
    forged = card()
    with pytest.raises(BadRecord, match="signature"):
        Roster(PUBLIC).take_succession(b"s" + forged[1:65] + succession()[65:])


def test_each_byte_of_a_card_counts() -> None:
    data = card()
    for at in range(len(data)):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(BadRecord):
            Roster(PUBLIC).take_card(altered)


def test_a_field_of_a_later_version_is_ignored() -> None:
    body = {
        "cluster": Roster(PUBLIC).cluster_id,
        "node": "a.os",
        "key": NODE,
        "serial": 1,
        "issued": NOW,
        "expires": NOW + 1,
        "state": "member",
        "colour": "red",
    }
    encoded = Encoder().encode(body)
    data = b"c" + KEY.sign(b"guesthouse cluster 1\0c" + encoded) + encoded
    assert Roster(PUBLIC).take_card(data) is not None


def test_an_earlier_card_changes_nothing_in_whatever_order_they_come() -> None:
    cards = [card(serial=number, state="expelled" if number == 3 else "member") for number in (1, 2, 3)]
    for _ in range(20):
        order = random.choices(cards, k=10) + random.sample(cards, k=3)
        roster = Roster(PUBLIC)
        for data in order:
            roster.take_card(data)
        assert roster.key_of("a.os", NOW) is None
        assert roster.latest == 3


def test_two_cards_with_one_serial_are_an_error() -> None:
    roster = Roster(PUBLIC)
    roster.take_card(card(serial=5))
    assert roster.take_card(card(serial=5)) is None, "the same one again is none"
    with pytest.raises(BadRecord, match="serial of another"):
        roster.take_card(card(serial=5, state="left"))


def test_a_change_of_key_is_told() -> None:
    roster = Roster(PUBLIC)
    changes: list[tuple[int, bool]] = []
    roster.on_change = lambda change: changes.append((change.card.serial, change.other_key))
    for serial, key in ((1, NODE), (2, NODE), (3, public())):
        roster.take_card(card(serial=serial, key=key))
    assert changes == [(1, False), (2, False), (3, True)]


def test_what_is_newer_comes_in_order() -> None:
    roster = Roster(PUBLIC)
    cards = {serial: card(f"n{serial}.os", serial=serial) for serial in (4, 2, 9, 7)}
    for data in cards.values():
        roster.take_card(data)
    assert roster.newer_than(3) == [cards[4], cards[7], cards[9]]
    assert roster.newer_than(9) == []


def test_the_number_of_nodes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_NODES >= 1000
    monkeypatch.setattr("guesthouse.cluster.membership.roster.MOST_NODES", 2)
    roster = Roster(PUBLIC)
    roster.take_card(card("a.os", serial=1))
    roster.take_card(card("b.os", serial=2))
    with pytest.raises(BadRecord, match="most that are allowed"):
        roster.take_card(card("c.os", serial=3))
    assert roster.take_card(card("a.os", serial=4)) is not None


def succession(number: int = 1, by: Ed25519PrivateKey = KEY, key: bytes | None = None) -> bytes:
    record = Succession(
        cluster=Roster(PUBLIC).cluster_id, number=number, key=NODE if key is None else key, issued=NOW
    )
    return signed(record, by)


def test_the_roster_follows_the_keys_of_the_cluster() -> None:
    second, third = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    roster = Roster(PUBLIC)
    roster.take_card(card(serial=1))
    first_step = succession(1, KEY, second.public_key().public_bytes_raw())
    second_step = succession(2, second, third.public_key().public_bytes_raw())
    with pytest.raises(BadRecord, match="missing"):
        roster.take_succession(second_step)
    assert roster.take_succession(first_step)
    assert not roster.take_succession(first_step)
    assert roster.take_succession(second_step)
    assert roster.key_of("a.os", NOW) is not None, "cards that were taken count until they are replaced"
    with pytest.raises(BadRecord, match="signature"):
        roster.take_card(card(serial=2))  # by the first key, which may be stolen
    assert roster.take_card(card(serial=2, by=third)) is not None


def test_a_stolen_key_cannot_make_a_second_successor() -> None:
    thief = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    roster = Roster(PUBLIC)
    roster.take_succession(succession(1, KEY, public()))
    with pytest.raises(BadRecord, match="stolen"):
        roster.take_succession(succession(1, KEY, thief))
    with pytest.raises(BadRecord, match="signature"):
        roster.take_succession(succession(2, KEY, thief))
