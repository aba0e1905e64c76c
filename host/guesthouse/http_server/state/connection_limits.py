"""Limits on open connections, in total and for each address. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from enum import Enum

from guesthouse.http_server.routing.origin import counted_as
from guesthouse.http_server.state.descriptors import SPARE


class AdmittedConnection(Enum):
    """Verdict about an accepted socket."""

    YES = "yes"
    TOO_MANY = "the node has as many connections as it may hold"
    TOO_MANY_FROM_ADDRESS = "this address has as many connections as it may hold"
    DROP = "over the limits, and too many refusals are being sent"


class ConnectionAdmission:
    """Counts sockets from accept to close. An IPv6 /64 network counts as one address, as do all loopback addresses.

    Over a limit, a few sockets at a time are kept until an error response is sent; the rest are dropped unread, so
    that refusing costs little memory.

    Args:
        total: maximum connections.
        per_address: maximum connections from one address.
        exempt: addresses without a limit of their own, such as trusted proxies.
        spare: descriptors that the sockets leave free.
    """

    def __init__(
        self, total: int, per_address: int, exempt: Container[str] = (), *, spare: int = SPARE
    ) -> None:
        self.spare = spare
        self._total = total
        self._per_address = per_address
        self.exempt = exempt
        self._counts: Counter[str] = Counter()
        self._open = 0
        self._refusing = 0
        self.dropped = 0
        """Sockets that were dropped, since the node's start."""
        self._refusing_at_most = max(16, total // 100)

    @property
    def open(self) -> int:
        """Admitted connections that are still open."""
        return self._open

    def admit(self, address: str) -> AdmittedConnection:
        """Count a socket. `release` it with the same address and verdict once it is closed."""
        verdict = self._verdict(address)
        if verdict is AdmittedConnection.YES:
            self._open += 1
            self._counts[counted_as(address)] += 1
        elif verdict is AdmittedConnection.DROP:
            self.dropped += 1
        else:
            self._refusing += 1
        return verdict

    def release(self, address: str, verdict: AdmittedConnection) -> None:
        """Uncount a closed socket."""
        if verdict is AdmittedConnection.YES:
            self._open -= 1
            key = counted_as(address)
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
        elif verdict is not AdmittedConnection.DROP:
            self._refusing -= 1

    def _verdict(self, address: str) -> AdmittedConnection:
        if self._open >= self._total:
            verdict = AdmittedConnection.TOO_MANY
        elif self._counts[counted_as(address)] >= self._per_address and address not in self.exempt:
            verdict = AdmittedConnection.TOO_MANY_FROM_ADDRESS
        else:
            return AdmittedConnection.YES
        return verdict if self._refusing < self._refusing_at_most else AdmittedConnection.DROP
