"""Size limits of the strings and bytes that calls accept, checked before copying."""

from __future__ import annotations

from typing import Final

from guesthouse.wasm.engine.host_functions import SMALL_BYTES
from guesthouse.worker.guest import Guest

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of one value, as the maximum of `process.message_bytes` and `process.state_bytes`: copying it from a
guest's memory takes 13 ms, in which no other guest runs.
"""
EXIT_BYTES: Final = 256 * 1024


def message_bytes(guest: Guest) -> int:
    """Of the largest push."""
    return max(SMALL_BYTES, guest.limits.message_bytes)


def blob_bytes(guest: Guest) -> int:
    """Of the largest body or blob between processes."""
    return max(SMALL_BYTES, guest.limits.blob_bytes)


def operation_bytes(guest: Guest) -> int:
    """Of values that the node limits."""
    return MOST_BYTES


def exit_bytes(guest: Guest) -> int:
    """Of a body or blob in an on-exit, which the node keeps until the process ends."""
    return EXIT_BYTES
