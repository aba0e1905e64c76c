"""Memory for the bodies of requests that are still arriving. Pure."""

from __future__ import annotations

from collections import Counter

from guesthouse.http_server.state.pending_responses import BodyBudget


class BodyShares:
    """A budget, of which one caller has half at most: a body may come as slowly as it likes, so that a key which may do
    little could keep all others from doing anything.

    Args:
        limit: bytes of all bodies together.
    """

    def __init__(self, limit: int) -> None:
        self._whole = BodyBudget(limit)
        self._most = limit // 2
        self._held: Counter[str] = Counter()

    def of(self, caller: str) -> BodyBudget:
        """The budget of one caller."""
        return _Share(self, caller)

    def take(self, caller: str, size: int) -> bool:
        """Reserve bytes; False when the caller has too many, or not that many are free."""
        if self._held[caller] + size > self._most or not self._whole.take(size):
            return False
        self._held[caller] += size
        return True

    def release(self, caller: str, size: int) -> None:
        """Return reserved bytes."""
        self._whole.release(size)
        self._held[caller] -= size
        if not self._held[caller]:
            del self._held[caller]


class _Share(BodyBudget):
    def __init__(self, shares: BodyShares, caller: str) -> None:
        self._shares = shares
        self._caller = caller

    def take(self, size: int) -> bool:
        return self._shares.take(self._caller, size)

    def release(self, size: int) -> None:
        self._shares.release(self._caller, size)
