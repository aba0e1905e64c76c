"""What this node said of itself: it tells a copy of its home, which runs elsewhere with its name and key. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

_REMEMBERED: Final = 64
"""Presences that are remembered, those of two minutes. NATS may replay older ones, which show nothing."""


class OwnPresences:
    """The times of the last presences that this node has sent."""

    def __init__(self) -> None:
        self._said: deque[float] = deque(maxlen=_REMEMBERED)

    def add(self, sent: float) -> None:
        """One is sent.

        Args:
            sent: as in `Presence`.
        """
        self._said.append(sent)

    def is_of_copy(self, sent: float) -> bool:
        """Whether a presence that has this node's signature was sent by another one, while this one runs."""
        return bool(self._said) and sent > self._said[0] and sent not in self._said
