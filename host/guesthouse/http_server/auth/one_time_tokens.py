"""Tokens of login links, each of which is used once. Pure."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

ONE_TIME_SECONDS: Final = 600
"""Lifetime of a one-time login URL."""
_MAX_ONE_TIME: Final = 1024


class OneTimeTokens:
    """One-time login tokens; only their hashes are stored."""

    def __init__(self) -> None:
        self._expiry: dict[bytes, float] = {}

    def issue(self, now: float) -> str:
        """Issue a token. The oldest is dropped when there are too many."""
        token = secrets.token_urlsafe(32)
        while len(self._expiry) >= _MAX_ONE_TIME:
            del self._expiry[next(iter(self._expiry))]
        self._expiry[_hash(token)] = now + ONE_TIME_SECONDS
        return token

    def forget(self) -> None:
        """Invalidate all tokens."""
        self._expiry.clear()

    def use(self, token: str, now: float) -> bool:
        """Redeem a token; False when it is unknown, used or expired."""
        return self._expiry.pop(_hash(token), 0.0) > now


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
