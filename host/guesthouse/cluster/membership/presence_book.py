"""What other nodes said of themselves, and when. Pure.

Presences come from anybody who reaches NATS. So many of a node are looked at in a second, and so many of all: a
signature costs 0.1 ms. Who forges more than that delays what a node says of itself, and nothing else depends on it:
whether a node can be reached is up to its session.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from guesthouse.cluster.membership.records import BadRecord, Presence, read, verify
from guesthouse.cluster.membership.roster import SKEW_SECONDS
from guesthouse.core.throttle import Throttle

PRESENCE_SECONDS: Final = 2.0
"""How often a node says that it is there."""
_MOST_OF_ONE: Final = 3
_MOST_OF_ALL: Final = 500


class Heard(Struct, frozen=True):
    """The last presence of a node."""

    presence: Presence
    at: float
    """Seconds of the monotonic clock."""


class PresenceBook:
    """The last presence of each node.

    Args:
        cluster_id: presences of other clusters are ignored.
        key_of: returns the key of a member; None of any other.
        clock: tells Unix time. A presence from its future is not taken: once the clock of that node is put right, all
            that it says would be older.
    """

    def __init__(
        self,
        cluster_id: str,
        key_of: Callable[[str], Ed25519PublicKey | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._cluster_id = cluster_id
        self._key_of = key_of
        self._heard: dict[str, Heard] = {}
        self._throttle = Throttle(1.0, _MOST_OF_ONE)
        self._total = Throttle(1.0, _MOST_OF_ALL)
        self.dropped = 0
        """Presences that were forged, repeated, of the future or too many."""

    def take(self, data: bytes, now: float) -> Presence | None:
        """Take what a node says of itself; None if nobody that is a member says something new.

        Args:
            data: as it came.
            now: seconds of the monotonic clock.
        """
        try:
            presence = read(Presence, data)
            key = self._key_of(presence.node) if presence.cluster == self._cluster_id else None
            before = self._heard.get(presence.node)
            old = before is not None and presence.sent <= before.presence.sent
            ahead = presence.sent - self._clock() > SKEW_SECONDS
            if key is not None and not old and not ahead and self._may_look(presence.node, now):
                verify(data, key)
                self._heard[presence.node] = Heard(presence, now)
                return presence
        except BadRecord:
            pass
        self.dropped += 1
        return None

    def heard(self, node: str) -> Heard | None:
        """The last presence of a node; None if none came."""
        return self._heard.get(node)

    def forget(self, node: str) -> None:
        """The node is no member any more, or has another key."""
        self._heard.pop(node, None)

    def _may_look(self, node: str, now: float) -> bool:
        return self._throttle.omitted(node, now) is not None and self._total.omitted(0, now) is not None
