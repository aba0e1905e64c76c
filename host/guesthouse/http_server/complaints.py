"""Log lines about senders that misbehave, so few that misbehaving is no way to fill the log. Pure."""

from __future__ import annotations

from typing import Final

from guesthouse.ports import LogPort

SOURCE: Final = "http-server"
"""The name of this part of the node in the log."""

_EVERY: Final = 1.0
_MAX_KEYS: Final = 1024


class Complaints:
    """At most one line a second for each sender and fault; the next one says how many were left out."""

    def __init__(self, log: LogPort) -> None:
        self._log = log
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def complain(self, sender: str, fault: str, now: float) -> None:
        """Log `sender: fault`, unless the same was logged within the last second."""
        key = (sender, fault)
        last, omitted = self._last.pop(key, (now - _EVERY, 0))
        if now - last < _EVERY:
            self._last[key] = (last, omitted + 1)
            return
        self._last[key] = (now, 0)
        while len(self._last) > _MAX_KEYS:
            del self._last[next(iter(self._last))]
        more = f" ({omitted} more like it)" if omitted else ""
        self._log.write(SOURCE, "warning", f"{sender}: {fault}{more}")
