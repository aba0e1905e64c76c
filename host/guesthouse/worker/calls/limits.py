"""How long the texts and bytes are that calls take from a guest: looked at before a byte of them is copied."""

from __future__ import annotations

from typing import Final

from guesthouse.wasm.engine.host_functions import SMALL_BYTES
from guesthouse.worker.guest import Guest

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of anything that crosses at once, as `process.message_bytes` and `process.state_bytes` are at most: to copy it from a
guest's memory takes 13 ms, in which its neighbours wait.
"""
EXIT_BYTES: Final = 256 * 1024


def message_bytes(guest: Guest) -> int:
    """Of the largest push."""
    return max(SMALL_BYTES, guest.limits.message_bytes)


def blob_bytes(guest: Guest) -> int:
    """Of the largest body or blob between processes."""
    return max(SMALL_BYTES, guest.limits.blob_bytes)


def operation_bytes(guest: Guest) -> int:
    """Of what the node has a limit for."""
    return MOST_BYTES


def exit_bytes(guest: Guest) -> int:
    """Of a body or blob that is sent when the process has ended. The node keeps it until then."""
    return EXIT_BYTES
