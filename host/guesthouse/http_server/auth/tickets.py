"""Tickets: how a login on the node's own host comes to the origin of a package. Pure.

Whoever is logged in and asks the node's host for a page is sent to the package's own host with a ticket, which gets a
session there, once and within a minute. The session is good on that host alone. A ticket for which somebody has just
logged in, for that package, gets a session for its secure paths, too.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from guesthouse.http_server.auth.tokens import Claims

TICKET_SECONDS: Final = 60.0
_MAX_TICKETS: Final = 1024


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket stands for."""

    label: str
    claims: Claims
    """Of the login."""
    until: float
    secure: tuple[str, ...] = ()
    """The processes for whose secure paths it was logged in."""


class Tickets:
    """Those that were not used. Only their hashes are kept."""

    def __init__(self) -> None:
        self._open: dict[bytes, Ticket] = {}

    def issue(self, label: str, claims: Claims, now: float, secure: Sequence[str] = ()) -> str:
        """A ticket for the package of that label, from a login; the oldest goes when there are too many."""
        text = secrets.token_urlsafe(32)
        while len(self._open) >= _MAX_TICKETS:
            del self._open[next(iter(self._open))]
        self._open[_hash(text)] = Ticket(label, claims, now + TICKET_SECONDS, tuple(secure))
        return text

    def forget(self) -> None:
        """None of them can be used any more."""
        self._open.clear()

    def use(self, text: str, label: str, now: float) -> Ticket | None:
        """Use a ticket up; None when it is unknown, used, too old or for another package."""
        ticket = self._open.pop(_hash(text), None)
        if ticket is None or ticket.label != label or min(ticket.until, ticket.claims.expiration) <= now:
            return None
        return ticket


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
