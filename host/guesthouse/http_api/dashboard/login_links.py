"""Links that log in once. What they give is a key of the API, which ends by itself. Pure."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from msgspec import Struct

from guesthouse.http_api.api_keys import Role

TICKET_SECONDS: Final = 600
MOST_TICKETS: Final = 64


class LoginLink(Struct, frozen=True):
    """What a link is good for."""

    role: Role
    seconds: int
    """How long the key is valid that it gives."""
    until: float
    """When the link itself ends, Unix seconds."""


class LoginLinks:
    """The links that were not used yet. Only hashes of them are kept, the last `MOST_TICKETS`."""

    def __init__(self) -> None:
        self._tickets: dict[bytes, LoginLink] = {}

    def issue(self, role: Role, seconds: int, now: float) -> str:
        """A new one, valid for ten minutes."""
        text = secrets.token_urlsafe(32)
        while len(self._tickets) >= MOST_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        self._tickets[_hash(text)] = LoginLink(role, seconds, now + TICKET_SECONDS)
        return text

    def use(self, text: str, now: float) -> LoginLink | None:
        """What it is good for, once; None if it is unknown, was used, or is over."""
        ticket = self._tickets.pop(_hash(text), None)
        return None if ticket is None or ticket.until <= now else ticket


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
