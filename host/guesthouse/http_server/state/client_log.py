"""Rate-limited logging of client faults. Pure."""

from __future__ import annotations

from typing import Final

from guesthouse.core.ports import LogPort
from guesthouse.core.throttle import Throttle

SOURCE: Final = "http-server"
"""Source of the HTTP server's log lines."""

_EVERY: Final = 1.0
SENDERS: Final = 8
"""Senders for which the same fault is logged within a second."""


class ClientFaultLog:
    """Logs at most one line a second for each sender and fault, and `SENDERS` for each fault. The next line has the
    number that was left out.

    Faults are the node's own texts and never contain what a client sent, so it cannot have them counted as others.

    Args:
        log: the node's log.
        source: the source of the lines: the listener that the clients reached.
    """

    def __init__(self, log: LogPort, source: str = SOURCE) -> None:
        self._log = log
        self._source = source
        self._by_sender = Throttle(_EVERY)
        self._by_fault = Throttle(_EVERY, SENDERS)

    def log(self, sender: str, fault: str, now: float, detail: str = "") -> None:
        """Log `sender: fault (detail)`, unless the same fault was logged within the last second. The detail makes no
        difference to that: it may be a process id or a number that the client chose.
        """
        same = self._by_sender.omitted((sender, fault), now)
        others = None if same is None else self._by_fault.omitted(fault, now)
        if others is not None:
            more = f" ({detail})" if detail else ""
            more += f" ({same} more like it)" if same else ""
            more += f" ({others} more of others)" if others else ""
            self._log.write(self._source, "warning", f"{sender}: {fault}{more}")
