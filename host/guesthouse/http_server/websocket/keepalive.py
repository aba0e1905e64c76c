"""When a silent client is pinged, and when it counts as gone. Pure."""

from __future__ import annotations

import secrets
from enum import Enum

_PING_BYTES = 8


class Look(Enum):
    """What to do about a client."""

    WAIT = "wait"
    PING = "ping"
    GIVE_UP = "give up"


class Keepalive:
    """What one client was heard of.

    A client that sent nothing for `idle` seconds is pinged; any sign of life within `answer` seconds
    will do. So a busy client costs no ping, and an alive one is never given up.
    """

    __slots__ = ("answer", "heard", "idle", "ping", "sent")

    def __init__(self, idle: float, answer: float, now: float) -> None:
        self.idle = idle
        self.answer = answer
        self.heard = now
        self.ping: bytes | None = None
        """The payload of the ping that is not answered yet."""
        self.sent = 0.0

    def start_over(self, now: float) -> None:
        """Count from now: the client could not be heard until now."""
        self.heard, self.ping = now, None

    def look_unheard(self, now: float, *, left: bool) -> tuple[Look, float]:
        """The same about a client that is not read: it cannot answer, so all there is to go by is whether it has
        `left`. One that has is given up once nothing was read for as long as it takes with the others: until then
        what it sent before it left may be read yet.
        """
        idle_until = self.heard + self.idle
        if now < idle_until:
            return Look.WAIT, idle_until
        if not left:
            return Look.WAIT, now + self.answer
        until = idle_until + self.answer
        return (Look.GIVE_UP, now) if now >= until else (Look.WAIT, until)

    def look(self, now: float) -> tuple[Look, float]:
        """What to do, and when to look again."""
        if self.ping is not None and self.heard <= self.sent:
            return Look.GIVE_UP, now
        self.ping = None
        if now - self.heard < self.idle:
            return Look.WAIT, self.heard + self.idle
        self.ping, self.sent = secrets.token_bytes(_PING_BYTES), now
        return Look.PING, now + self.answer
