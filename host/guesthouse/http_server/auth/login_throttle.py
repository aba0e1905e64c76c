"""Slows down whoever tries credentials. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

FREE_ATTEMPTS: Final = 5
"""Failed logins of an address before it is throttled."""
_MAX_ADDRESSES: Final = 4096
_LONGEST_WAIT: Final = 900.0


class _Failures(Struct):
    count: int
    until: float


class LoginThrottle:
    """Throttles login attempts: after `FREE_ATTEMPTS` failures an address waits 2 s, doubled with each further
    failure, up to 15 min. A success resets it.
    """

    def __init__(self) -> None:
        self._failures: dict[str, _Failures] = {}

    def wait(self, address: str, now: float) -> float:
        """Seconds until the address may try again; 0 when it may now."""
        failures = self._failures.get(address)
        return 0.0 if failures is None else max(0.0, failures.until - now)

    def failed(self, address: str, now: float) -> None:
        """Record a failed attempt."""
        failures = self._failures.pop(address, None) or _Failures(0, now)
        if now - failures.until > _LONGEST_WAIT:
            failures.count = 0
        failures.count += 1
        over = failures.count - FREE_ATTEMPTS
        failures.until = now if over < 0 else now + min(_LONGEST_WAIT, 2.0 ** min(over + 1, 30))
        self._failures[address] = failures
        while len(self._failures) > _MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._failures.pop(address, None)
