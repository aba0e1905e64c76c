"""What is measured of a node's part in its cluster, as plain values (`cluster/measuring.py` reads them)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

MOST_MEMBERS: Final = 200
"""Members with figures of their own, the first by name."""
STATES: Final = ("here", "up", "draining", "offline", "expired", "left", "expelled")
"""Of nodes, as `guesthouse cluster nodes` shows them at a node that runs."""


class MemberFigures(Struct, frozen=True):
    """Of one other member."""

    node: str
    up: bool
    """Whether there is a session with it."""
    heard_seconds_ago: float | None
    """Since it last said that it is there; None if it has not yet."""


class ClusterFigures(Struct, frozen=True):
    """Of the cluster, as this node sees it. Counts start with the node, or with its joining."""

    cluster: str
    """Its id."""
    name: str
    """Empty if it has none."""
    states: Mapping[str, int]
    """Nodes by state."""
    members: Sequence[MemberFigures]
    """At most `MOST_MEMBERS`."""
    nats_connected: bool
    nats_connections: int
    nats_pending_bytes: int
    sessions: int
    """That began."""
    frames: Mapping[str, int]
    """In and out."""
    bytes: Mapping[str, int]
    dropped: Mapping[str, int]
    """By the reasons in `LOST` (`monitoring/cluster_exposition.py`)."""
    outbox_bytes: int
    """What waits for other nodes to take it."""
    channels: Mapping[str, int]
    """Between clients and processes of different nodes, by what this node is to them: "home" of the process, or the
    client's "gateway".
    """
    processes_of_others: int
    announcements: Mapping[str, int]
    """Of processes that changed, in and out."""
    card_expires_seconds: float
    """Until the own card expires; negative if it has."""
