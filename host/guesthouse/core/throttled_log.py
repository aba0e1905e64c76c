"""Lines about processes that could come without end: each is written at once, and then once a minute at most."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from guesthouse.core.ports import LogPort

EVERY_SECONDS: Final = 60.0
_KEPT: Final = 1024
"""Lines that are remembered; beyond it, the oldest are forgotten, and may be written again."""


class ThrottledLog:
    """Warnings of one part of the node. Pure but for the log; `now` tells seconds."""

    def __init__(self, log: LogPort, now: Callable[[], float] = monotonic) -> None:
        self._log = log
        self._now = now
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        """When a line may be written again, and how often it was not."""

    def say(self, source: str, what: str, text: str) -> None:
        """Write `text` about `source`, unless a line on the same matter was written a short while ago."""
        now = self._now()
        again_at, unsaid = self._said.get((source, what), (now, 0))
        if now < again_at:
            self._said[source, what] = again_at, unsaid + 1
            return
        self._said.pop((source, what), None)
        self._said[source, what] = now + EVERY_SECONDS, 0
        if len(self._said) > _KEPT:
            del self._said[next(iter(self._said))]
        self._log.write(
            source, "warning", f"{text} ({unsaid} times more since it was said last)" if unsaid else text
        )
