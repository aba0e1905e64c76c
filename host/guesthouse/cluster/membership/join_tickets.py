"""Tickets, by which nodes join a cluster, and the two messages of joining. Pure but for randomness.

A ticket names the cluster and has a secret, which authenticates both messages (HMAC-SHA256) and never crosses NATS. It
lets one node join: the one that used it first may ask again, since the answer may be lost.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Annotated, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from guesthouse.cluster.membership.records import BadRecord, ClusterId, Key, NodeName, Seconds
from guesthouse.cluster.membership.roster import Roster
from guesthouse.core.errors import GuesthouseError

PREFIX: Final = "guesthouse-ticket-"
MOST_TICKET_BYTES: Final = 8192
MOST_REQUEST_BYTES: Final = 4096
MOST_WELCOME_BYTES: Final = 512 * 1024
_MAC_BYTES: Final = 32
_CHECK_BYTES: Final = 4

TicketId = Annotated[bytes, Meta(min_length=8, max_length=8)]
Secret = Annotated[bytes, Meta(min_length=32, max_length=32)]
Nonce = Annotated[bytes, Meta(min_length=16, max_length=16)]
Url = Annotated[str, Meta(max_length=512)]


class BadTicket(GuesthouseError):
    """A ticket cannot be used; the message says why and what to do."""


class JoinTicket(Struct, frozen=True, kw_only=True):
    """The right of one node to join a cluster."""

    cluster: ClusterId
    id: TicketId
    secret: Secret
    expires: Seconds
    nats: Annotated[tuple[Url, ...], Meta(min_length=1, max_length=16)]
    """URLs of the cluster's NATS servers."""
    name: Annotated[str, Meta(max_length=64)] = ""
    """The cluster's."""

    @classmethod
    def new(cls, cluster: str, expires: int, nats: tuple[str, ...], name: str = "") -> JoinTicket:
        """A ticket with a new secret."""
        return cls(
            cluster=cluster,
            id=secrets.token_bytes(8),
            secret=secrets.token_bytes(32),
            expires=expires,
            nats=nats,
            name=name,
        )

    @property
    def text(self) -> str:
        """The ticket as people pass it on."""
        body = _encode(self)
        return PREFIX + base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")


class JoinRequest(Struct, frozen=True, kw_only=True):
    """Asks for a card."""

    ticket: TicketId
    node: NodeName
    key: Key
    nonce: Nonce
    signature: Annotated[bytes, Meta(max_length=64)] = b""
    """By the node's key, of the request without it."""


class JoinAnswer(Struct, frozen=True, kw_only=True):
    """The answer: how the cluster is now, or why the node may not join."""

    nonce: Nonce
    refusal: Annotated[str, Meta(max_length=300)] = ""
    first_key: bytes = b""
    successions: tuple[bytes, ...] = ()
    cards: tuple[bytes, ...] = ()
    """The node's own card, and that of the authority."""


_encode: Final = Encoder().encode
_read_ticket: Final = Decoder(JoinTicket).decode
_decode_request: Final = Decoder(JoinRequest).decode
_decode_welcome: Final = Decoder(JoinAnswer).decode
_LABELS: Final = {JoinRequest: b"guesthouse join 1\0", JoinAnswer: b"guesthouse welcome 1\0"}
_UNREADABLE: Final = (MsgspecError, UnicodeDecodeError, RecursionError)


def read_ticket(text: str, now: float) -> JoinTicket:
    """Read a ticket as it was passed on.

    Raises:
        BadTicket: it is incomplete, none, or has expired.
    """
    code = "".join(text.split()).removeprefix(PREFIX)
    try:
        if len(code) > MOST_TICKET_BYTES:
            raise ValueError(len(code))
        data = base64.b64decode(code + "=" * (-len(code) % 4), altchars=b"-_", validate=True)
        body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
        if _check(body) != check:
            raise ValueError(check)
        ticket = _read_ticket(body)
    except (ValueError, *_UNREADABLE):
        raise BadTicket(
            f"this is not a whole ticket: copy all of it, from {PREFIX!r} on, as `guesthouse cluster ticket` printed it"
        ) from None
    if now >= ticket.expires:
        raise BadTicket("the ticket has expired: make another with `guesthouse cluster ticket`")
    return ticket


def make_request(ticket: JoinTicket, node: str, key: Ed25519PrivateKey, nonce: bytes) -> bytes:
    """The request to join as a node with that name and key."""
    public = key.public_key().public_bytes_raw()
    request = JoinRequest(ticket=ticket.id, node=node, key=public, nonce=nonce)
    signature = key.sign(_LABELS[JoinRequest] + _encode(request))
    whole = JoinRequest(ticket=ticket.id, node=node, key=public, nonce=nonce, signature=signature)
    return authenticated(whole, ticket.secret)


def proves_key(request: JoinRequest) -> bool:
    """Whether the sender has the private key to the one it names."""
    bare = JoinRequest(ticket=request.ticket, node=request.node, key=request.key, nonce=request.nonce)
    try:
        key = Ed25519PublicKey.from_public_bytes(request.key)
        key.verify(request.signature, _LABELS[JoinRequest] + _encode(bare))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def authenticated(message: JoinRequest | JoinAnswer, secret: bytes) -> bytes:
    """Encode a message, under the secret of its ticket."""
    body = _encode(message)
    return _mac(type(message), body, secret) + body


def read_request(data: bytes) -> JoinRequest | None:
    """Decode a request to join, which is not authenticated yet; None if it is none."""
    try:
        return _decode_request(data[_MAC_BYTES:]) if len(data) <= MOST_REQUEST_BYTES else None
    except _UNREADABLE:
        return None


def read_welcome(data: bytes, secret: bytes) -> JoinAnswer | None:
    """Decode an answer; None if it is none, or by nobody who has the secret."""
    if len(data) > MOST_WELCOME_BYTES or not is_authentic(JoinAnswer, data, secret):
        return None
    try:
        return _decode_welcome(data[_MAC_BYTES:])
    except _UNREADABLE:
        return None


def is_authentic(kind: type[JoinRequest | JoinAnswer], data: bytes, secret: bytes) -> bool:
    """Whether who sent a message has the secret."""
    return hmac.compare_digest(data[:_MAC_BYTES], _mac(kind, data[_MAC_BYTES:], secret))


def roster_of(welcome: JoinAnswer, ticket: JoinTicket, node: str, key: bytes, now: float) -> Roster:
    """The cluster as a welcome describes it.

    Raises:
        BadRecord: it does not fit the ticket, or has no card of this node that is valid now.
    """
    if len(welcome.first_key) != len(key):
        raise BadRecord("it has no key of the cluster")
    roster = Roster(welcome.first_key)
    if roster.cluster_id != ticket.cluster:
        raise BadRecord("it is of another cluster than the ticket")
    for succession in welcome.successions:
        roster.take_succession(succession)
    for card in welcome.cards:
        roster.take_card(card)
    own = roster.card_of(node)
    if own is None or own.key != key or roster.key_of(node, now) is None:
        raise BadRecord("it has no valid card of this node")
    return roster


def _mac(kind: type[JoinRequest | JoinAnswer], body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _LABELS[kind] + body, "sha256")


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK_BYTES]
