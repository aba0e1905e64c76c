"""Ping idle clients and detect dead ones. Pure."""

from __future__ import annotations

import secrets
from enum import Enum

_PING_BYTES = 8


class Check(Enum):
    """Outcome of a check."""

    WAIT = "wait"
    PING = "ping"
    GIVE_UP = "give up"


class Keepalive:
    """Liveness of one client.

    A client that sent nothing for `idle` seconds is pinged; any data within `answer` seconds counts as alive.
    """

    __slots__ = ("answer", "heard", "idle", "ping", "sent")

    def __init__(self, idle: float, answer: float, now: float) -> None:
        self.idle = idle
        self.answer = answer
        self.heard = now
        self.ping: bytes | None = None
        """Payload of the outstanding ping."""
        self.sent = 0.0

    def reset(self, now: float) -> None:
        """Restart the idle time: reading was paused until now."""
        self.heard, self.ping = now, None

    def check_paused(self, now: float, *, left: bool) -> tuple[Check, float]:
        """`check` for a client whose reading is paused. It cannot be heard, so it is given up only if its socket
        shows that it has `left`, and after the usual time, in which what it sent before may still be read.
        """
        idle_until = self.heard + self.idle
        if now < idle_until:
            return Check.WAIT, idle_until
        if not left:
            return Check.WAIT, now + self.answer
        until = idle_until + self.answer
        return (Check.GIVE_UP, now) if now >= until else (Check.WAIT, until)

    def check(self, now: float) -> tuple[Check, float]:
        """Return what to do and when to check again."""
        if self.ping is not None and self.heard <= self.sent:
            return Check.GIVE_UP, now
        self.ping = None
        if now - self.heard < self.idle:
            return Check.WAIT, self.heard + self.idle
        self.ping, self.sent = secrets.token_bytes(_PING_BYTES), now
        return Check.PING, now + self.answer
