"""Credit-based flow control for one channel, in bytes. Pure.

A worker may push `window` bytes to a channel. Credit is returned in batches as the bytes leave the node's memory,
not for each message.
"""

from __future__ import annotations

from typing import Final

from guesthouse.link.credit import PUSH_OVERHEAD, push_cost

BATCH: Final = 4
"""Credit is returned once a quarter of the window is free."""


class CreditWindow:
    """Credit of one channel.

    Args:
        window: bytes that may be outstanding.
        spent: bytes that are.
        batch: bytes that are returned at a time, at least; by default a quarter of the window.
    """

    __slots__ = ("batch", "spent", "window")

    def __init__(self, window: int, spent: int = 0, batch: int = 0) -> None:
        self.window = window
        self.batch = batch or max(1, window // BATCH)
        self.spent = spent

    def take(self, size: int) -> bool:
        """Spend credit on a payload of `size` bytes; False when the worker has not enough."""
        spent = self.spent + size + PUSH_OVERHEAD  # `push_cost`, without a call
        if spent > self.window:
            return False
        self.spent = spent
        return True

    def settle(self, buffered: int) -> int:
        """Credit to return, in bytes, while `buffered` bytes are in memory: at least a batch, else 0."""
        drained = self.spent - buffered
        if drained < self.batch:
            return 0
        self.spent -= drained
        return drained

    def has_room(self, size: int, buffered: int) -> bool:
        """Whether a payload of `size` bytes fits, without credit, beside `buffered` bytes."""
        return buffered + push_cost(size) <= self.window


def relay_limits(window: int) -> tuple[int, int]:
    """How the outbox of a channel whose process is at another node returns credit: in which batches, and how many bytes
    that have been read may not have been returned. That node counts them as read, so they come on top of the window.

    Args:
        window: the limit of the outbox, in bytes.
    """
    batch = max(1, min(64 * 1024, window // (4 * BATCH)))
    return batch, batch + write_limits(window)[0]


def write_limits(window: int) -> tuple[int, int]:
    """High- and low-water marks of the socket's write buffer. Below the high mark the next push can always return
    credit; above it, `resume_writing` does at the low mark.
    """
    high = min(64 * 1024, window // (2 * BATCH))
    return high, high // 4
