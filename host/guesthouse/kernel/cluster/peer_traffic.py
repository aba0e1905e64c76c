"""What is counted of the frames to and from other nodes, and of the sessions with them. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal, TypeAlias

from msgspec import Struct, field

DropReason: TypeAlias = Literal[
    "altered", "full", "handshake", "no-service", "no-session", "repeated", "unknown-control"
]
"""Why a frame was dropped: it was not sealed by the node whose session it names; too many were waiting; it is no valid
Hello or Welcome; it is for a service that this node does not have; it names no session of this node; it came before; it
is a message about the session that this version does not know.
"""
DROP_REASONS: Final[tuple[DropReason, ...]] = (
    "altered",
    "full",
    "handshake",
    "no-service",
    "no-session",
    "repeated",
    "unknown-control",
)


class PeerTraffic(Struct):
    """Counts since the node joined the others."""

    frames_in: int = 0
    """That arrived, those that were dropped among them."""
    bytes_in: int = 0
    frames_out: int = 0
    """That were sealed and given to the carrier, which may have lost some."""
    bytes_out: int = 0
    sessions: int = 0
    """That began."""
    dropped: Counter[DropReason] = field(default_factory=Counter)
    """Frames by reason."""
