"""Credit of a push, which both ends must count alike.

Empty messages cost credit, too: otherwise a guest could queue any number of them for a client that does not read.
"""

from __future__ import annotations

from typing import Final

PUSH_OVERHEAD: Final = 64
"""Bytes counted for each message besides its payload."""


def push_cost(payload_bytes: int) -> int:
    """Credit that a message takes, in bytes, until its client has read it."""
    return payload_bytes + PUSH_OVERHEAD
