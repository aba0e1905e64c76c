"""How many sockets may be open, in all and from one address. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from enum import Enum

from guesthouse.http_server.routing.origin import counted_as


class AdmittedConnection(Enum):
    """What becomes of an accepted socket."""

    YES = "yes"
    TOO_MANY = "the node has as many connections as it may hold"
    TOO_MANY_FROM_ADDRESS = "this address has as many connections as it may hold"
    DROP = "over the limits, and too many are being told so already"


class ConnectionAdmission:
    """Counts sockets from accept to close, those from one IPv6 network of 64 bits, and from
    all loopback addresses, as from one address.

    Past a limit a few sockets are kept for as long as it takes to say why; past that they are dropped
    unread, so that refusing costs no memory either.
    """

    def __init__(self, total: int, per_address: int, exempt: Container[str] = ()) -> None:
        self._total = total
        self._per_address = per_address
        self.exempt = exempt
        self._counts: Counter[str] = Counter()
        self._open = 0
        self._refusing = 0
        self._refusing_at_most = max(16, total // 100)

    @property
    def open(self) -> int:
        """Sockets admitted and not released."""
        return self._open

    def admit(self, address: str) -> AdmittedConnection:
        """Count a socket in; `release` it with the same address and verdict once it is closed."""
        verdict = self._verdict(address)
        if verdict is AdmittedConnection.YES:
            self._open += 1
            self._counts[counted_as(address)] += 1
        elif verdict is not AdmittedConnection.DROP:
            self._refusing += 1
        return verdict

    def release(self, address: str, verdict: AdmittedConnection) -> None:
        """Count a closed socket out."""
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
