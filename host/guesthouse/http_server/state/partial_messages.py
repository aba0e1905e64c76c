"""Messages that clients have begun to send and not finished, counted for the whole node. Pure.

Each client alone is within its limits, and a thousand to one compressed it costs next to nothing to be at them: so
together they would fill any memory. When they hold more than the node has for them, the client that has gone for the
longest without finishing a message makes room.
"""

from __future__ import annotations

from typing import Final, Protocol

FREE: Final = 64 * 1024
"""Bytes of an unfinished message that are not counted."""


class Holder(Protocol):
    """A client."""

    def make_room(self) -> None:
        """Drop what it sent of a message, and close it."""


class PartialMessages:
    """How much the clients of a node hold, those first that have held it for the longest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[Holder, int] = {}
        self.total = 0
        """Bytes that are counted."""

    def note(self, holder: Holder, size: int, *, anew: bool = False) -> None:
        """A client holds `size` bytes now, of another message than before when it does so `anew`. Those that are too
        much are closed, which may be the same client.
        """
        held = self._held
        was = held.get(holder, 0)
        if anew or size <= FREE:
            held.pop(holder, None)
        if size <= FREE:
            self.total -= was
            return
        held[holder] = size
        self.total += size - was
        while self.total > self._limit:
            oldest = next(iter(held))
            self.total -= held.pop(oldest)
            oldest.make_room()
