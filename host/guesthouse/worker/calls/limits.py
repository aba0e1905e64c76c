"""How long the texts and bytes are that calls take from a guest: looked at before a byte of them is copied."""

from __future__ import annotations

from guesthouse.worker.boundary.host_functions import SMALL_BYTES
from guesthouse.worker.guest import Guest
from guesthouse.worker.outgoing import MAX_MESSAGE


def message_bytes(guest: Guest) -> int:
    """Of the largest push."""
    return max(SMALL_BYTES, guest.limits.message_bytes)


def blob_bytes(guest: Guest) -> int:
    """Of the largest body or blob between processes."""
    return max(SMALL_BYTES, guest.limits.blob_bytes)


def operation_bytes(guest: Guest) -> int:
    """Of what the node has a limit for."""
    return MAX_MESSAGE
