"""The nodes of a cluster, as its key has signed them. Pure.

Of each node the card with the greatest serial counts, whoever brings it and in whatever order: what NATS or a node
repeats from earlier times changes nothing. A card that is withheld is noticed, since serials count all cards of the
cluster and nodes tell each other the greatest that they know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from guesthouse.cluster.membership.records import (
    BadRecord,
    Card,
    Succession,
    cluster_id_of,
    read,
    verify,
)

MOST_NODES: Final = 4096
MOST_SUCCESSIONS: Final = 1000
SKEW_SECONDS: Final = 300
"""How far clocks may differ."""


class HeldCard(Struct, frozen=True):
    """A card, as it is and as it was signed."""

    card: Card
    data: bytes
    key: Ed25519PublicKey


class Change(Struct, frozen=True):
    """A card that is new."""

    card: Card
    before: Card | None
    """The one that it replaces."""

    @property
    def other_key(self) -> bool:
        """Whether the node has another key than before."""
        return self.before is not None and self.before.key != self.card.key

    @property
    def other_state(self) -> bool:
        """Whether the node has become a member, or is none any more."""
        return self.before is None or self.before.state != self.card.state


class Roster:
    """The cards that one node knows, and the keys of the cluster.

    Args:
        first_key: the cluster's first key, which its id comes from.
    """

    def __init__(self, first_key: bytes) -> None:
        self.cluster_id = cluster_id_of(first_key)
        self.first_key = first_key
        self.successions: list[bytes] = []
        """The records by which the key of the cluster has changed, in order."""
        self.key = _public(first_key)
        """The key that signs cards now."""
        self.on_change: Callable[[Change], None] = lambda change: None
        """Called with each new card."""
        self._held: dict[str, HeldCard] = {}

    @property
    def latest(self) -> int:
        """The greatest serial."""
        return max((held.card.serial for held in self._held.values()), default=0)

    @property
    def cards(self) -> list[Card]:
        """All cards, by the names of their nodes."""
        return [self._held[node].card for node in sorted(self._held)]

    @property
    def authority(self) -> str | None:
        """The node that issues cards."""
        return next((card.node for card in self.cards if card.authority and card.state == "member"), None)

    def card_of(self, node: str) -> Card | None:
        """The card of a node; None if it has none."""
        held = self._held.get(node)
        return None if held is None else held.card

    def data_of(self, node: str) -> bytes | None:
        """The card of a node as it was signed."""
        held = self._held.get(node)
        return None if held is None else held.data

    def key_of(self, node: str, now: float) -> Ed25519PublicKey | None:
        """The key of a node that is a member now; None of any other.

        Args:
            node: its name.
            now: Unix time.
        """
        held = self._held.get(node)
        if held is None or held.card.state != "member" or now > held.card.expires + SKEW_SECONDS:
            return None
        return held.key

    def newer_than(self, serial: int) -> list[bytes]:
        """The cards with greater serials, as they were signed, in the order of their serials."""
        found = [held for held in self._held.values() if held.card.serial > serial]
        return [held.data for held in sorted(found, key=lambda held: held.card.serial)]

    def take_card(self, data: bytes) -> Card | None:
        """Take a card if it is later than what is known of its node.

        Returns:
            The card; None if it says nothing new.

        Raises:
            BadRecord: it is malformed, of another cluster, or not signed by the key of the cluster.
        """
        card = read(Card, data)
        if card.cluster != self.cluster_id:
            raise BadRecord("it is of another cluster")
        held = self._held.get(card.node)
        if held is not None and card.serial <= held.card.serial:
            if card.serial == held.card.serial and data != held.data:
                raise BadRecord("it has the serial of another card")
            return None
        if held is None and len(self._held) >= MOST_NODES:
            raise BadRecord(f"this cluster has {MOST_NODES} nodes, the most that are allowed")
        verify(data, self.key)
        self._held[card.node] = HeldCard(card, data, _public(card.key))
        self.on_change(Change(card, None if held is None else held.card))
        return card

    def take_succession(self, data: bytes) -> bool:
        """Follow the cluster to its next key. Returns whether it is a new one.

        Raises:
            BadRecord: it is malformed, of another cluster, not the next one, or not signed by the key before; or
                another one was followed.
        """
        record = read(Succession, data)
        if record.cluster != self.cluster_id:
            raise BadRecord("it is of another cluster")
        known = len(self.successions)
        if record.number <= known:
            if self.successions[record.number - 1] != data:
                raise BadRecord("the cluster has another key in that place: was the key before stolen?")
            return False
        if record.number != known + 1 or known >= MOST_SUCCESSIONS:
            raise BadRecord("the keys between it and the known one are missing")
        verify(data, self.key)
        self.key = _public(record.key)
        self.successions.append(data)
        return True

    def restore(self, cards: Iterable[bytes]) -> None:
        """Take cards that this node has verified before: some may be signed by an earlier key of the cluster.

        Raises:
            BadRecord: one is malformed.
        """
        for data in cards:
            card = read(Card, data)
            self._held[card.node] = HeldCard(card, data, _public(card.key))


def _public(key: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(key)
    except (ValueError, UnsupportedAlgorithm):
        raise BadRecord("it has no valid key") from None
