"""Log lines that could come without end: the first is written at once, later ones say how many were not."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from guesthouse.core.ports import LogPort
from guesthouse.core.printable import number_of
from guesthouse.core.throttle import Throttle

EVERY_SECONDS: Final = 60.0


class ThrottledLog:
    """Lines of one part of the node, about one matter once a minute. Pure but for the log; `now` tells seconds."""

    def __init__(self, log: LogPort, now: Callable[[], float] = monotonic) -> None:
        self._log = log
        self._now = now
        self._throttle = Throttle(EVERY_SECONDS)

    def say(self, source: str, what: str, text: str, *, level: str = "warning") -> None:
        """Write `text` about `source`, unless a line on the same matter was written a short while ago."""
        omitted = self._throttle.omitted((source, what), self._now())
        if omitted is not None:
            more = f" ({number_of(omitted, 'time')} more since it was said last)" if omitted else ""
            self._log.write(source, level, f"{text}{more}")
