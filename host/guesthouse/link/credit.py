"""What a push costs of a channel's credit: both ends count the same way.

An empty message costs too, or a guest could queue any number of them for a client that reads nothing.
"""

from __future__ import annotations

from typing import Final

PUSH_OVERHEAD: Final = 64
"""Bytes counted for each message besides its payload: its frame header and what holds it."""


def push_cost(payload_bytes: int) -> int:
    """The bytes of credit that a message takes from its channel until its client has read it."""
    return payload_bytes + PUSH_OVERHEAD
