"""Log lines about senders that misbehave, so few that misbehaving is no way to fill the log. Pure."""

from __future__ import annotations

from typing import Final

from guesthouse.core.ports import LogPort

SOURCE: Final = "http-server"
"""The name of this part of the node in the log."""

_EVERY: Final = 1.0
_MAX_KEYS: Final = 1024
SENDERS: Final = 8
"""Senders of which the same fault is logged within a second: a thousand addresses are no way to fill the log either."""


class ClientFaultLog:
    """At most one line a second for each sender and fault, and few for each fault. The next one says how many were
    left out.

    A fault is one of the node's own texts: nothing that a client sent is ever part of it.
    """

    def __init__(self, log: LogPort) -> None:
        self._log = log
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self._by_fault: dict[str, tuple[float, int, int]] = {}

    def log(self, sender: str, fault: str, now: float) -> None:
        """Log `sender: fault`, unless the same was logged within the last second."""
        key = (sender, fault)
        last, omitted = self._last.pop(key, (now - _EVERY, 0))
        if now - last < _EVERY:
            self._last[key] = (last, omitted + 1)
            return
        others = self._allowed(fault, now)
        if others is None:
            return
        self._last[key] = (now, 0)
        while len(self._last) > _MAX_KEYS:
            del self._last[next(iter(self._last))]
        more = f" ({omitted} more like it)" if omitted else ""
        more += f" ({others} more of others)" if others else ""
        self._log.write(SOURCE, "warning", f"{sender}: {fault}{more}")

    def _allowed(self, fault: str, now: float) -> int | None:
        """Whether a fault may be logged of one more sender: how often it was not before, or None."""
        began, lines, omitted = self._by_fault.pop(fault, (now, 0, 0))
        if now - began >= _EVERY:
            began, lines = now, 0
        if lines >= SENDERS:
            self._by_fault[fault] = (began, lines, omitted + 1)
            return None
        self._by_fault[fault] = (began, lines + 1, 0)
        while len(self._by_fault) > _MAX_KEYS:
            del self._by_fault[next(iter(self._by_fault))]
        return omitted
