"""Tickets, which carry a login from the node's host to a package's own origin. Pure.

A logged-in user who requests a page on the node's host is redirected to the package's host with a ticket. It can be
exchanged once, within a minute, for a session on that host. A ticket issued right after a login for that package also
grants a session for its secure paths.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from guesthouse.http_server.auth.tokens import Claims

TICKET_SECONDS: Final = 60.0
_MAX_TICKETS: Final = 1024


class Ticket(Struct, frozen=True):
    """A ticket that was not used yet."""

    label: str
    claims: Claims
    """Of the login."""
    until: float
    secure: tuple[str, ...] = ()
    """Processes whose secure paths it grants access to."""


class Tickets:
    """The unused tickets; only their hashes are stored."""

    def __init__(self) -> None:
        self._open: dict[bytes, Ticket] = {}

    def issue(self, label: str, claims: Claims, now: float, secure: Sequence[str] = ()) -> str:
        """Issue a ticket for the package of a label. The oldest is dropped when there are too many.

        Args:
            label: of the package.
            claims: of the login.
            now: Unix seconds.
            secure: processes whose secure paths it grants access to.
        """
        text = secrets.token_urlsafe(32)
        while len(self._open) >= _MAX_TICKETS:
            del self._open[next(iter(self._open))]
        self._open[_hash(text)] = Ticket(label, claims, now + TICKET_SECONDS, tuple(secure))
        return text

    def forget(self) -> None:
        """Invalidate all tickets."""
        self._open.clear()

    def use(self, text: str, label: str, now: float) -> Ticket | None:
        """Redeem a ticket; None when it is unknown, used, expired or for another package."""
        ticket = self._open.pop(_hash(text), None)
        if ticket is None or ticket.label != label or min(ticket.until, ticket.claims.expiration) <= now:
            return None
        return ticket


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
