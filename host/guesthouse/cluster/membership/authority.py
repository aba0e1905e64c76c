"""What the node that holds the cluster key does: issue cards and tickets. Pure but for randomness; its owner saves."""

from __future__ import annotations

import hmac
from typing import Annotated, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, Struct

from guesthouse.cluster.membership.join_tickets import (
    JoinAnswer,
    JoinRequest,
    JoinTicket,
    Secret,
    TicketId,
    authenticated,
    is_authentic,
    proves_key,
    read_request,
)
from guesthouse.cluster.membership.records import Card, Key, NodeName, Seconds, State, Succession, signed
from guesthouse.cluster.membership.roster import MOST_NODES, Roster
from guesthouse.core.address import parse_node_name
from guesthouse.core.errors import BadNodeName, GuesthouseError

CARD_SECONDS: Final = 30 * 86_400
"""How long a card is valid: so long can the authority be away, and what is withheld of an expulsion be of use."""
RENEW_SECONDS: Final = 20 * 86_400
"""A card that is valid for less is renewed."""
MOST_TICKETS: Final = 1000
KEPT_SECONDS: Final = 86_400
"""How long a ticket is remembered after it expired, to say so."""


class NotAllowed(GuesthouseError):
    """A change of the cluster is refused; the message says why and what to do."""


class IssuedTicket(Struct, kw_only=True):
    """A ticket that was issued, and who used it."""

    id: TicketId
    secret: Secret
    expires: Seconds
    node: NodeName | None = None
    key: Annotated[bytes, Meta(max_length=32)] = b""


class Authority:
    """Issues the cards of a cluster.

    Args:
        roster: of the cluster; cards are added to it.
        key: the cluster's key.
        node: the node that this is, by name.
        serial: the greatest serial that it has given.
        tickets: those that it has issued.
        expelled: keys of nodes that were expelled.
    """

    def __init__(
        self,
        roster: Roster,
        key: Ed25519PrivateKey,
        node: str,
        serial: int = 0,
        tickets: list[IssuedTicket] | None = None,
        expelled: list[bytes] | None = None,
    ) -> None:
        self.key = key
        self.tickets = tickets or []
        self.expelled: list[Key] = expelled or []
        self._roster = roster
        self._node = node
        self._serial = serial

    @property
    def serial(self) -> int:
        """The greatest serial given; also one that was given before this node's home was restored from a backup."""
        return max(self._serial, self._roster.latest)

    def issue(self, node: str, key: bytes, state: State, now: float) -> bytes:
        """A new card of a node, which replaces the one before."""
        self._serial = self.serial + 1
        card = Card(
            cluster=self._roster.cluster_id,
            node=node,
            key=key,
            serial=self._serial,
            issued=int(now),
            expires=int(now) + CARD_SECONDS,
            state=state,
            authority=node == self._node,
        )
        data = signed(card, self.key)
        self._roster.take_card(data)
        return data

    def ticket(self, now: float, seconds: int, nats: tuple[str, ...], name: str = "") -> JoinTicket:
        """A ticket that is valid for so many seconds.

        Raises:
            NotAllowed: too many are valid.
        """
        self.tickets = [each for each in self.tickets if each.expires + KEPT_SECONDS > now]
        if len(self.tickets) >= MOST_TICKETS:
            raise NotAllowed(
                f"{MOST_TICKETS} tickets were issued lately: use these, or wait until they expire"
            )
        ticket = JoinTicket.new(self._roster.cluster_id, int(now) + seconds, nats, name)
        self.tickets.append(IssuedTicket(id=ticket.id, secret=ticket.secret, expires=ticket.expires))
        return ticket

    def admit(self, data: bytes, now: float) -> tuple[bytes, bool] | None:
        """Answer a request to join.

        Returns:
            The answer, and whether a card was issued for it; None for what is no request by the bearer of a ticket,
            which is not answered.
        """
        request = read_request(data)
        if request is None:
            return None
        issued = next((each for each in self.tickets if hmac.compare_digest(each.id, request.ticket)), None)
        if issued is None or not is_authentic(JoinRequest, data, issued.secret):
            return None
        refusal = self._refusal(request, issued, now)
        if refusal is not None:
            return authenticated(JoinAnswer(nonce=request.nonce, refusal=refusal), issued.secret), False
        first_time = issued.node is None
        if first_time:
            issued.node, issued.key = request.node, request.key
            self.issue(request.node, request.key, "member", now)
        return authenticated(self._welcome(request), issued.secret), first_time

    def expel(self, node: str, now: float) -> bytes:
        """Exclude a node, whose key is not let in again.

        Raises:
            NotAllowed: it is no member, or this one.
        """
        card = self._roster.card_of(node)
        if card is None or card.state == "expelled":
            raise NotAllowed(f"the cluster has no node {node}: `guesthouse cluster nodes` lists them")
        if node == self._node:
            raise NotAllowed(
                f"{node} holds the cluster key and cannot expel itself: once the other nodes have left, `guesthouse "
                "cluster leave` gives the cluster up"
            )
        self.expelled.append(card.key)
        return self.issue(node, card.key, "expelled", now)

    def renew(self, now: float) -> int:
        """Renew the cards of members that expire soon; returns how many."""
        due = [
            card
            for card in self._roster.cards
            if card.state == "member" and card.expires - now < RENEW_SECONDS
        ]
        for card in due:
            self.issue(card.node, card.key, "member", now)
        return len(due)

    def rotate(self, key: Ed25519PrivateKey, now: float) -> None:
        """Replace the cluster's key, and sign all cards by the new one."""
        succession = Succession(
            cluster=self._roster.cluster_id,
            number=len(self._roster.successions) + 1,
            key=key.public_key().public_bytes_raw(),
            issued=int(now),
        )
        self._roster.take_succession(signed(succession, self.key))
        self.key = key
        for card in self._roster.cards:
            self.issue(card.node, card.key, card.state, now)

    def _refusal(self, request: JoinRequest, issued: IssuedTicket, now: float) -> str | None:
        same = (issued.node, issued.key) == (request.node, request.key)
        if issued.node is not None and not same:
            return f"the ticket was used by {issued.node}: make another with `guesthouse cluster ticket`"
        if now >= issued.expires:
            return "the ticket has expired: make another with `guesthouse cluster ticket`"
        try:
            parse_node_name(request.node)
        except BadNodeName as error:
            return str(error)[:200]
        if not proves_key(request):
            return "the node does not prove that its key is its own"
        if request.key in self.expelled:
            return "the node was expelled: remove node.ed25519 from its home for a new key, if it may return"
        for card in self._roster.cards:
            if card.node == request.node and card.key != request.key and card.state == "member":
                return f"the name {card.node} is taken: give the node another with --node"
            if card.key == request.key and card.node != request.node and card.state == "member":
                return f"the node has the key of {card.node}: homes cannot be copied, make a new one"
        known = self._roster.card_of(request.node)
        if known is None and len(self._roster.cards) >= MOST_NODES:
            return f"the cluster has {MOST_NODES} nodes, the most that are allowed"
        return None

    def _welcome(self, request: JoinRequest) -> JoinAnswer:
        cards = (self._roster.data_of(node) for node in dict.fromkeys((self._node, request.node)))
        return JoinAnswer(
            nonce=request.nonce,
            first_key=self._roster.first_key,
            successions=tuple(self._roster.successions),
            cards=tuple(data for data in cards if data is not None),
        )
