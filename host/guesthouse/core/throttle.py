"""What may come so often and no more. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

_KEPT: Final = 1024
"""Keys that are remembered; beyond it, the oldest are forgotten, and what is written of them may be written again."""


class Throttle:
    """Lets `most` of each key through in `seconds`, and counts the others. Pure: the time is an argument."""

    def __init__(self, seconds: float, most: int = 1) -> None:
        self._seconds = seconds
        self._most = most
        self._seen: dict[Hashable, tuple[float, int, int]] = {}
        """When the time began in which so many were let through, and how many others came since the last of them."""

    def omitted(self, key: Hashable, now: float) -> int | None:
        """How many were not let through since the last that was, if this one is; else None."""
        began, count, omitted = self._seen.pop(key, (now, 0, 0))
        if now - began >= self._seconds:
            began, count = now, 0
        if count >= self._most:
            self._seen[key] = began, count, omitted + 1
            return None
        self._seen[key] = began, count + 1, 0
        if len(self._seen) > _KEPT:
            del self._seen[next(iter(self._seen))]
        return omitted
