"""How much a client may have waiting, in bytes. Pure.

The worker may push `window` bytes to a channel before it hears of the channel again. What it spends
comes back in batches, when the bytes left the node's memory: a message by itself costs no grant.
"""

from __future__ import annotations

from typing import Final

from guesthouse.link.credit import push_cost

BATCH: Final = 4
"""Credit goes back once a fourth of the window can."""


class CreditWindow:
    """The account of one channel."""

    __slots__ = ("batch", "spent", "window")

    def __init__(self, window: int, spent: int = 0) -> None:
        self.window = window
        self.batch = max(1, window // BATCH)
        self.spent = spent

    def take(self, size: int) -> bool:
        """Spend the worker's credit on a payload of `size` bytes; False when it never had that much."""
        spent = self.spent + push_cost(size)
        if spent > self.window:
            return False
        self.spent = spent
        return True

    def settle(self, buffered: int) -> int:
        """What to grant the worker, `buffered` bytes being still in memory: a batch, or 0. Worth asking
        once `batch` bytes were spent.
        """
        drained = self.spent - buffered
        if drained < self.batch:
            return 0
        self.spent -= drained
        return drained

    def has_room(self, size: int, buffered: int) -> bool:
        """Whether a message that no credit pays for fits beside what is `buffered`."""
        return buffered + push_cost(size) <= self.window


def write_limits(window: int) -> tuple[int, int]:
    """High and low marks of a socket's write buffer. Below the high mark a spent window can always be
    settled at the next push; above it, the socket says when it reaches the low mark.
    """
    high = min(64 * 1024, window // (2 * BATCH))
    return high, high // 4
