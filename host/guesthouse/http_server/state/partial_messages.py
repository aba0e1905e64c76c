"""Memory budget for the incomplete messages of all clients. Pure.

Clients within their own limits could exhaust memory together, cheaply: compressed data expands a thousandfold. Over
the budget, the connection with the oldest incomplete message is closed.
"""

from __future__ import annotations

from typing import Final, Protocol

FREE: Final = 64 * 1024
"""Incomplete messages of up to so many bytes are not counted."""


class Holder(Protocol):
    """A client's connection."""

    def make_room(self) -> None:
        """Discard the incomplete message and close the connection."""


class PartialMessages:
    """Bytes of incomplete messages by connection, oldest message first.

    Args:
        limit: bytes that may be held in total.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Bytes that may be held in total."""
        self._held: dict[Holder, int] = {}
        self.total = 0
        """Bytes counted."""

    def note(self, holder: Holder, size: int, *, restarted: bool = False) -> None:
        """Record that a connection holds `size` bytes. Over the limit, closes connections, which may include this one.

        Args:
            holder: the connection.
            size: bytes of its incomplete message.
            restarted: it is another message than the last one recorded.
        """
        held = self._held
        was = held.get(holder, 0)
        if restarted or size <= FREE:
            held.pop(holder, None)
        if size <= FREE:
            self.total -= was
            return
        held[holder] = size
        self.total += size - was
        while self.total > self.limit:
            oldest = next(iter(held))
            self.total -= held.pop(oldest)
            oldest.make_room()
