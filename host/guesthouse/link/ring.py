"""Regions of a ring buffer, taken and released in order. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

ALIGNMENT: Final = 64
"""Bytes that a region's size is rounded up to: a cache line."""


class Ring:
    """Where the sender of a ring may write. Only the sender knows; the receiver is told offsets.

    While nothing is held, regions begin at 0, so that a ring that is read quickly uses few pages.

    Args:
        size: bytes, a multiple of `ALIGNMENT`.
    """

    __slots__ = ("_end", "_held", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._held: deque[tuple[int, int]] = deque()
        """Start and end of each region, oldest first."""
        self._end = 0
        """End of the newest."""

    @property
    def held(self) -> int:
        """Number of regions that are not released."""
        return len(self._held)

    def place_for(self, size: int) -> int | None:
        """Offset of the next region of `size` bytes; None if there is no room."""
        if not self._held:
            return 0 if size <= self.size else None
        oldest, end = self._held[0][0], self._end
        if end <= oldest:
            return end if size <= oldest - end else None
        if size <= self.size - end:
            return end
        return 0 if size <= oldest else None

    def take(self, size: int) -> int | None:
        """Take a region of `size` > 0 bytes; returns its offset, or None if there is no room."""
        size = -(-size // ALIGNMENT) * ALIGNMENT
        start = self.place_for(size)
        if start is not None:
            self._end = start + size
            self._held.append((start, self._end))
        return start

    def release(self, count: int) -> None:
        """The receiver is done with the oldest `count` regions.

        Raises:
            ValueError: fewer are held.
        """
        if count > len(self._held):
            raise ValueError(f"{count} regions are released, and {len(self._held)} are held")
        for _ in range(count):
            self._held.popleft()

    def undo(self, count: int) -> None:
        """Release the newest `count` regions, of which the receiver was not told."""
        for _ in range(count):
            self._end = self._held.pop()[0]
        if self._held:
            self._end = self._held[-1][1]
