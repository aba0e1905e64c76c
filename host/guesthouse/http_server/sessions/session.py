"""One session: counts of both directions and what may be done when. Pure.

    open ──▶ LIVE ──cut──▶ AWAY ──▶ OVER
              ▲  ◀─resume──┘          ▲
              └──────── end ──────────┘

A second socket that resumes a session which is LIVE cuts it first. What is OVER is never resumed; but until its time
is over its client may fetch what it did not get.
"""

from __future__ import annotations

from enum import Enum

from guesthouse.http_server.sessions.control_messages import MAX_COUNT, Acknowledge, write_control
from guesthouse.http_server.sessions.retained import BadCount, Retained
from guesthouse.http_server.sessions.session_keys import SessionKeys


class Phase(Enum):
    """Where a session is in its life."""

    LIVE = "live"
    AWAY = "away"
    OVER = "over"


class Session:
    """What a channel is to its client, over all its sockets.

    Whoever delivers a message adds one to `received`. When that is `acknowledge_at` they call `acknowledgement`, or
    refuse the message if that is over `MAX_COUNT`.

    Args:
        keys: its keys.
        every: messages after which they are acknowledged.
        kept: what the client has not acknowledged.
        received: messages of the client that were taken.
        phase: AWAY, if another run of the node began it.
    """

    __slots__ = ("_every", "_told", "acknowledge_at", "kept", "keys", "phase", "received")

    def __init__(
        self,
        keys: SessionKeys,
        every: int,
        kept: Retained | None = None,
        received: int = 0,
        phase: Phase = Phase.LIVE,
    ) -> None:
        self.keys = keys
        self.kept = Retained() if kept is None else kept
        self.phase = phase
        self.received = received
        """Messages of the client that were taken."""
        self._every = every
        self._told = received
        self.acknowledge_at = min(received + every, MAX_COUNT + 1)

    @property
    def owes(self) -> bool:
        """Whether more was received than the client was told."""
        return self.received != self._told

    def told(self) -> int:
        """How many were received, which the client is told now."""
        self._told = self.received
        self.acknowledge_at = min(self.received + self._every, MAX_COUNT + 1)
        return self.received

    def acknowledgement(self) -> bytes:
        """The control message that says how many were received. The client is there: it has its key."""
        self.keys.confirm()
        return write_control(Acknowledge(self.told()))

    def skip(self, count: int) -> None:
        """The client has lost so many of its own messages.

        Raises:
            BadCount: no session has so many.
        """
        if count > MAX_COUNT - self.received:
            raise BadCount("so many messages were never sent")
        self.received += count

    def cut(self) -> None:
        """Its socket is gone."""
        if self.phase is Phase.LIVE:
            self.phase = Phase.AWAY
        self.kept.cut()

    def resume(self, received: int) -> str:
        """It has another socket, after `cut`. Returns its new key.

        Raises:
            BadCount: the client counts what it was never sent.
        """
        self.kept.resume(received)
        if self.phase is Phase.AWAY:
            self.phase = Phase.LIVE
        return self.keys.rotate()
