"""Tells the clients of a node that is being drained to go elsewhere, so many at a time."""

from __future__ import annotations

from collections import deque
from typing import Final

from guesthouse.http_server.channel.channel import Channel
from guesthouse.http_server.channel.client_socket import ClientSocket
from guesthouse.http_server.channel.session_channel import SessionChannel
from guesthouse.http_server.close_codes import DRAINED
from guesthouse.http_server.context import Context
from guesthouse.http_server.sessions.session import Phase

_LONGEST_BURST_SECONDS: Final = 0.25


class Pace:
    """So many a second, spread evenly. Time in which the node was late is not made up for. Pure.

    Args:
        rate: a second.
        now: in seconds.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate * _LONGEST_BURST_SECONDS)
        self._credit = 1.0
        self._at = now

    def due(self, now: float) -> int:
        """How many are due now, which are taken for done."""
        self._credit = min(self._burst, self._credit + (now - self._at) * self._rate)
        self._at = now
        due = int(self._credit)
        self._credit -= due
        return due


class Departures:
    """The clients of a server that takes no new channels: all there are when it is made.

    Args:
        context: the server's state.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: deque[Channel] = deque((*context.sessions, *context.connections, *context.relayed))
        self._sockets = set(context.connections)
        self.told = 0
        """How many were told."""

    @property
    def channels(self) -> int:
        """Open channels that are left."""
        return len(self._context.channels)

    def tell(self, count: int | None = None) -> int:
        """Close so many with 1012, or all that are left. Returns how many there were."""
        before = self.told
        while self._waiting and (count is None or self.told - before < count):
            self.told += _tell(self._waiting.popleft())
        return self.told - before

    def all_gone(self) -> bool:
        """Whether no channel is open, and no socket of those that there were."""
        if self._waiting or self._context.channels:
            return False
        self._sockets &= self._context.connections
        return not self._sockets


def _tell(client: Channel) -> bool:
    """Close a channel, or a socket that has none yet; False when it was closed already. A client that is away is
    told once it comes back, if the node takes it in again by then.
    """
    if isinstance(client, ClientSocket):
        if client.resumable is None:
            return client.depart(DRAINED)
        client = client.resumable
    over = client.session.phase is Phase.OVER if isinstance(client, SessionChannel) else not client.is_open
    if over:
        return False
    client.end(DRAINED)
    return True
