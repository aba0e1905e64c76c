"""A channel that outlives its sockets, as the server's parts see it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from guesthouse.http_server.channel.carrying_socket import CarryingSocket
from guesthouse.http_server.channel.channel import Channel
from guesthouse.http_server.close_codes import CloseReason
from guesthouse.http_server.sessions.handed_channel import HandedChannel
from guesthouse.http_server.sessions.session import Session


class SessionChannel(Channel):
    """Base of a channel with a session: a `session_table.HeldSession`."""

    __slots__ = ("session", "user")

    session: Session
    user: str
    """Whose it is: the family of its token, or without one the address of its client."""

    @abstractmethod
    def resume(
        self, socket: CarryingSocket[Any], forwarded_for: str | None, received: int
    ) -> CloseReason | None:
        """The client has come back by another socket. Returns how to close that when it cannot be."""

    @abstractmethod
    def revoke(self, close: CloseReason) -> None:
        """Close it, and keep nothing for a client that comes back."""

    @abstractmethod
    def give_up(self, limit: str) -> None:
        """See `session_table.HeldSession`."""

    @abstractmethod
    def let_go(self) -> None:
        """The node ends, and its next run goes on with the channel: its client comes back to that."""

    @abstractmethod
    def handed(self) -> HandedChannel:
        """What the next run goes on with, after `let_go`."""

    @abstractmethod
    def handed_bytes(self) -> int:
        """About what `handed` takes, encoded."""
