"""The tokens that are in use. The node stores no tokens: it knows those by which channels are open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct, field

from guesthouse.core.ports import ChannelInfo

MOST_TOKENS: Final = 500
"""In a list, those with the most channels."""
_MOST_NAMED: Final = 8


class TokenInUse(Struct):
    """A token, and those that renewal made from it."""

    family: str
    channels: int = 0
    since: float = 0.0
    """When the oldest of its channels was opened, on the monotonic clock."""
    processes: list[str] = field(default_factory=list)
    """Whose channels they are, some of them."""
    clients: list[str] = field(default_factory=list)
    """Addresses, some of them."""

    def count(self, channel: ChannelInfo) -> None:
        """Count an open channel."""
        self.since = channel.opened_at if self.channels == 0 else min(self.since, channel.opened_at)
        self.channels += 1
        for names, name in ((self.processes, str(channel.owner)), (self.clients, channel.client)):
            if name not in names and len(names) < _MOST_NAMED:
                names.append(name)


def tokens_in_use(channels: Iterable[tuple[str, ChannelInfo]], now: float) -> dict[str, Any]:
    """The tokens of open channels, and how many there are.

    Args:
        channels: each with the family of its token.
        now: on the monotonic clock.
    """
    found: dict[str, TokenInUse] = {}
    for family, channel in channels:
        found.setdefault(family, TokenInUse(family)).count(channel)
    listed = sorted(found.values(), key=lambda token: -token.channels)[:MOST_TOKENS]
    rows = [
        {
            "family": token.family,
            "channels": token.channels,
            "open_seconds": round(now - token.since, 1),
            "processes": token.processes,
            "clients": token.clients,
        }
        for token in listed
    ]
    return {"tokens": rows, "count": len(found)}
