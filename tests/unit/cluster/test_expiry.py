"""Sessions end when a card does, though nobody has expelled the node."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.http_server.conftest import FakeLog

from guesthouse.cluster.cluster import Cluster, Figures
from guesthouse.cluster.membership import member_messages
from guesthouse.cluster.membership.authority import CARD_SECONDS
from guesthouse.cluster.membership.member_messages import Latest
from guesthouse.cluster.membership.membership import Membership
from guesthouse.cluster.membership.roster import SKEW_SECONDS
from guesthouse.cluster.nats_client import Access

A, B = "a.os", "b.os"
NEVER = "nats://127.0.0.1:1"


class Sessions:
    """The session layer of a node that has one with `B`."""

    def __init__(self) -> None:
        self.up = {B}
        self.sent: list[bytes] = []

    def register(self, service: int, handler: object) -> None:
        pass

    def incoming(self, frame: bytes) -> None:
        pass

    def carrier_ready(self) -> None:
        pass

    def nodes(self) -> list[str]:
        return list(self.up)

    def forget(self, node: str) -> None:
        self.up.remove(node)

    def send(self, node: str, service: int, body: bytes) -> None:
        self.sent.append(body)


@pytest.fixture
async def world(tmp_path: Path) -> tuple[Cluster, Sessions, FakeLog]:
    """The authority, whose own card is renewed, and a member."""
    key, sessions, log = Ed25519PrivateKey.generate(), Sessions(), FakeLog()
    made = Membership.found(tmp_path, A, key, (NEVER,), time.time())
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    made.must_be_authority().issue(B, other, "member", time.time())
    join: Any = lambda *_: sessions  # noqa: E731 - as short as it is
    figures = Figures(0, 0, 0.0, "1", draining=False)
    return Cluster(made, (NEVER,), Access(None), key, log, join, lambda: figures), sessions, log


@pytest.mark.parametrize("own_is_renewed", [True, False])
async def test_a_session_ends_with_a_card(
    world: tuple[Cluster, Sessions, FakeLog], monkeypatch: pytest.MonkeyPatch, *, own_is_renewed: bool
) -> None:
    cluster, sessions, log = world
    cluster._forget_expired()
    assert sessions.up == {B}
    later = time.time() + CARD_SECONDS + SKEW_SECONDS + 10
    if own_is_renewed:
        own = cluster.roster.card_of(A)
        assert own is not None
        cluster.membership.must_be_authority().issue(A, own.key, "member", later)
    monkeypatch.setattr(time, "time", lambda: later)
    assert cluster.is_member() is own_is_renewed
    cluster._forget_expired()
    assert not sessions.up
    assert log.mentions("has expired")


async def test_a_node_that_left_is_told_so_first(world: tuple[Cluster, Sessions, FakeLog]) -> None:
    cluster, sessions, _ = world
    card = cluster.roster.card_of(B)
    assert card is not None
    cluster.membership.must_be_authority().issue(B, card.key, "left", time.time())
    cluster._forget_expired()
    assert sessions.up == {B}, "it is forgotten a second later"


async def test_a_member_that_asks_for_all_cards_again_and_again_gets_them_a_few_times(
    world: tuple[Cluster, Sessions, FakeLog],
) -> None:
    cluster, sessions, _ = world
    for _ in range(1000):
        cluster._sessions.receive(B, member_messages.encode(Latest(0, 0)))
    assert 1 <= len(sessions.sent) < 100
