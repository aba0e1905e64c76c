"""Tickets and how the authority answers who shows one; expelling, renewing, rotating."""

from __future__ import annotations

import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guesthouse.cluster.membership.authority import (
    CARD_SECONDS,
    KEPT_SECONDS,
    MOST_TICKETS,
    RENEW_SECONDS,
    Authority,
    NotAllowed,
)
from guesthouse.cluster.membership.join_tickets import (
    PREFIX,
    BadTicket,
    JoinAnswer,
    JoinRequest,
    JoinTicket,
    authenticated,
    make_request,
    read_request,
    read_ticket,
    read_welcome,
    roster_of,
)
from guesthouse.cluster.membership.records import BadRecord
from guesthouse.cluster.membership.roster import Roster

NOW = 1_800_000_000
NONCE = bytes(16)
URLS = ("nats://10.0.0.1:4222",)


class Founded:
    """A cluster with the authority `a.os`."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.roster = Roster(self.key.public_key().public_bytes_raw())
        self.authority = Authority(self.roster, self.key, "a.os")
        self.authority.issue(
            "a.os", Ed25519PrivateKey.generate().public_key().public_bytes_raw(), "member", NOW
        )

    def ticket(self) -> JoinTicket:
        return self.authority.ticket(NOW, 600, URLS)

    def admit(
        self, ticket: JoinTicket, node: str, key: Ed25519PrivateKey, now: float = NOW, nonce: bytes = NONCE
    ) -> JoinAnswer | None:
        answer = self.authority.admit(make_request(ticket, node, key, nonce), now)
        return None if answer is None else read_welcome(answer[0], ticket.secret)


@pytest.fixture
def founded() -> Founded:
    return Founded()


KEY = Ed25519PrivateKey.generate()
RAW = KEY.public_key().public_bytes_raw()


def test_a_ticket_lets_one_node_in_and_proves_the_cluster_to_it(founded: Founded) -> None:
    ticket = read_ticket(founded.ticket().text, NOW)
    welcome = founded.admit(ticket, "b.os", KEY)
    assert welcome is not None
    assert welcome.refusal == ""
    roster = roster_of(welcome, ticket, "b.os", RAW, NOW)
    assert [card.node for card in roster.cards] == ["a.os", "b.os"]
    assert roster.authority == "a.os"
    key = founded.roster.key_of("b.os", NOW)
    assert key == KEY.public_key()


def test_an_answer_that_is_lost_can_be_asked_for_again(founded: Founded) -> None:
    ticket = founded.ticket()
    first = founded.admit(ticket, "b.os", KEY)
    serial = founded.roster.latest
    again = founded.admit(ticket, "b.os", KEY, nonce=bytes(15) + b"1")
    assert first is not None
    assert again is not None
    assert again.cards == first.cards
    assert founded.roster.latest == serial


def refusal(welcome: JoinAnswer | None) -> str:
    assert welcome is not None
    assert welcome.cards == ()
    return welcome.refusal


def test_a_ticket_is_used_once(founded: Founded) -> None:
    ticket = founded.ticket()
    founded.admit(ticket, "b.os", KEY)
    other = Ed25519PrivateKey.generate()
    for node, key in (("c.os", other), ("b.os", other), ("c.os", KEY)):
        assert "was used by b.os" in refusal(founded.admit(ticket, node, key))
    assert [card.node for card in founded.roster.cards] == ["a.os", "b.os"]


def test_a_ticket_expires_and_is_forgotten_later(founded: Founded) -> None:
    ticket = founded.ticket()
    assert "has expired" in refusal(founded.admit(ticket, "b.os", KEY, NOW + 600))
    with pytest.raises(BadTicket, match="has expired"):
        read_ticket(ticket.text, NOW + 600)
    founded.authority.ticket(NOW + 601 + KEPT_SECONDS, 1, URLS)
    assert founded.admit(ticket, "b.os", KEY, NOW + 601 + KEPT_SECONDS) is None


def test_a_ticket_of_another_cluster_is_not_answered(founded: Founded) -> None:
    foreign = Founded().ticket()
    assert founded.admit(foreign, "b.os", KEY) is None
    unknown = JoinTicket.new(founded.roster.cluster_id, NOW + 100, URLS)
    assert founded.admit(unknown, "b.os", KEY) is None
    known = founded.ticket()
    wrong = JoinTicket(cluster=known.cluster, id=known.id, secret=bytes(32), expires=known.expires, nats=URLS)
    assert founded.authority.admit(make_request(wrong, "b.os", KEY, NONCE), NOW) is None
    assert len(founded.roster.cards) == 1


def test_names_and_keys_belong_to_one_node(founded: Founded) -> None:
    founded.admit(founded.ticket(), "b.os", KEY)
    other = Ed25519PrivateKey.generate()
    assert "the name b.os is taken" in refusal(founded.admit(founded.ticket(), "b.os", other))
    assert "the name a.os is taken" in refusal(founded.admit(founded.ticket(), "a.os", other))
    assert "has the key of b.os" in refusal(founded.admit(founded.ticket(), "c.os", KEY))
    assert "starting with a letter" in refusal(founded.admit(founded.ticket(), "-c", other))
    again = founded.admit(founded.ticket(), "b.os", KEY)
    assert again is not None
    assert again.refusal == "", "a node may join again as itself"


def test_a_node_proves_that_its_key_is_its_own(founded: Founded) -> None:
    ticket = founded.ticket()
    request = read_request(make_request(ticket, "b.os", Ed25519PrivateKey.generate(), NONCE))
    assert request is not None
    stolen = JoinRequest(ticket=ticket.id, node="b.os", key=RAW, nonce=NONCE, signature=request.signature)
    for bad in (stolen, JoinRequest(ticket=ticket.id, node="b.os", key=bytes(32), nonce=NONCE)):
        answer = founded.authority.admit(authenticated(bad, ticket.secret), NOW)
        assert answer is not None
        assert "prove" in refusal(read_welcome(answer[0], ticket.secret))


def test_what_is_altered_on_the_way_is_nothing(founded: Founded) -> None:
    ticket = founded.ticket()
    request = make_request(ticket, "b.os", KEY, NONCE)
    for at in range(len(request)):
        assert (
            founded.authority.admit(request[:at] + bytes([request[at] ^ 1]) + request[at + 1 :], NOW) is None
        )
    for junk in (b"", bytes(31), bytes(100_000), os.urandom(500)):
        assert founded.authority.admit(junk, NOW) is None
    answer = founded.authority.admit(request, NOW)
    assert answer is not None
    data = answer[0]
    for at in range(0, len(data), 7):
        assert read_welcome(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], ticket.secret) is None
    assert read_welcome(request, ticket.secret) is None, "a request is no answer"


def test_an_answer_that_does_not_fit_is_refused(founded: Founded) -> None:
    ticket = founded.ticket()
    welcome = founded.admit(ticket, "b.os", KEY)
    assert welcome is not None
    foreign = Founded()
    theirs = foreign.admit(foreign.ticket(), "b.os", KEY)
    assert theirs is not None

    def check(answer: JoinAnswer, why: str, **changed: Any) -> None:
        given: dict[str, Any] = {"node": "b.os", "key": RAW, "now": NOW} | changed
        with pytest.raises(BadRecord, match=why):
            roster_of(answer, ticket, **given)

    check(theirs, "another cluster")
    check(JoinAnswer(nonce=NONCE), "no key of the cluster")
    check(JoinAnswer(nonce=NONCE, first_key=welcome.first_key), "no valid card")
    check(welcome, "no valid card", node="c.os")
    check(welcome, "no valid card", key=bytes(32))
    check(welcome, "no valid card", now=NOW + CARD_SECONDS + 301)


@pytest.mark.parametrize(
    "spoil", [lambda text: text[:-3], lambda text: text[5:], lambda text: "", lambda text: f"{text}A"]
)
def test_part_of_a_ticket_is_none(founded: Founded, spoil: Any) -> None:
    with pytest.raises(BadTicket, match="not a whole ticket"):
        read_ticket(spoil(founded.ticket().text), NOW)
    with pytest.raises(BadTicket, match="not a whole ticket"):
        read_ticket(PREFIX + "A" * 100_000, NOW)


def test_a_ticket_survives_being_wrapped(founded: Founded) -> None:
    ticket = founded.ticket()
    wrapped = "\n".join(ticket.text[at : at + 40] for at in range(0, len(ticket.text), 40))
    assert read_ticket(f"  {wrapped}\n", NOW) == ticket


def test_tickets_are_bounded(founded: Founded) -> None:
    for _ in range(MOST_TICKETS):
        founded.ticket()
    with pytest.raises(NotAllowed, match="tickets were issued"):
        founded.ticket()


def test_an_expelled_node_is_out_and_its_key_stays_out(founded: Founded) -> None:
    founded.admit(founded.ticket(), "b.os", KEY)
    founded.authority.expel("b.os", NOW)
    assert founded.roster.key_of("b.os", NOW) is None
    for node in ("b.os", "c.os"):
        assert "was expelled" in refusal(founded.admit(founded.ticket(), node, KEY))
    welcome = founded.admit(founded.ticket(), "b.os", Ed25519PrivateKey.generate())
    assert welcome is not None
    assert welcome.refusal == "", "the name is free"
    with pytest.raises(NotAllowed, match="has no node"):
        founded.authority.expel("x.os", NOW)
    with pytest.raises(NotAllowed, match="cannot expel itself: once the other nodes have left"):
        founded.authority.expel("a.os", NOW)


def test_cards_are_renewed_in_time(founded: Founded) -> None:
    founded.admit(founded.ticket(), "b.os", KEY)
    founded.admit(founded.ticket(), "c.os", Ed25519PrivateKey.generate())
    founded.authority.expel("c.os", NOW)
    assert founded.authority.renew(NOW) == 0
    later = NOW + CARD_SECONDS - RENEW_SECONDS + 1
    assert founded.authority.renew(later) == 2
    assert founded.roster.key_of("b.os", later + CARD_SECONDS) is not None
    card = founded.roster.card_of("c.os")
    assert card is not None
    assert card.state == "expelled"


def test_a_new_key_signs_all_cards_again(founded: Founded) -> None:
    founded.admit(founded.ticket(), "b.os", KEY)
    founded.authority.expel("b.os", NOW)
    before = Roster(founded.roster.first_key)
    for data in founded.roster.newer_than(0):
        before.take_card(data)
    founded.authority.rotate(Ed25519PrivateKey.generate(), NOW + 1)
    for data in founded.roster.successions:
        assert before.take_succession(data)
    for data in founded.roster.newer_than(0):
        assert before.take_card(data) is not None
    assert [(card.node, card.state) for card in before.cards] == [("a.os", "member"), ("b.os", "expelled")]
    ticket = founded.ticket()
    welcome = founded.admit(ticket, "c.os", Ed25519PrivateKey.generate())
    assert welcome is not None
    assert len(welcome.successions) == 1
    other = Ed25519PrivateKey.generate()
    late = founded.admit(founded.ticket(), "d.os", other)
    assert late is not None
    assert (
        roster_of(late, ticket, "d.os", other.public_key().public_bytes_raw(), NOW).cluster_id
        == ticket.cluster
    )


def test_serials_go_on_after_an_old_backup(founded: Founded) -> None:
    founded.admit(founded.ticket(), "b.os", KEY)
    old = Roster(founded.roster.first_key)
    old.restore(founded.roster.newer_than(0)[:1])
    authority = Authority(old, founded.key, "a.os", serial=1)
    for data in founded.roster.newer_than(0):
        old.take_card(data)  # from NATS or a member
    authority.expel("b.os", NOW)
    assert founded.roster.take_card(old.newer_than(0)[-1]) is not None
