"""What a node knows of another node: their session, the attempts to make one, and what waits for it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from guesthouse.kernel.cluster.handshake import Initiator
from guesthouse.kernel.cluster.peer_session import PeerSession
from guesthouse.kernel.cluster.send_queues import SendQueues

MOST_UNPROVEN: Final = 2
"""Sessions of one node that its Hellos began and no frame has proven."""


class Attempt(Struct, eq=False):
    """A Hello of this node that is not answered yet."""

    initiator: Initiator
    since: float
    """Seconds of the monotonic clock."""
    wanted: bool
    """Whether somebody is to be told if it fails."""
    sent_at: float


class Unproven(Struct, eq=False):
    """A Hello of the other node that was answered, and the session that its first frame will prove."""

    hello: bytes
    """Its digest."""
    welcome: bytes
    session: PeerSession
    since: float


class OtherNode(Struct, eq=False):
    """Another node whose key is known."""

    node: str
    session: PeerSession | None = None
    attempt: Attempt | None = None
    unproven: list[Unproven] = field(default_factory=list)
    waiting: SendQueues = field(default_factory=SendQueues)
    losing: int = 0
    """How many of its losses the services are not told of yet."""
    reconnect: bool = False
    """A new session is begun soon."""
    failed_at: float = float("-inf")

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not (
            self.session or self.attempt or self.unproven or self.waiting or self.losing or self.reconnect
        )
