"""The worker's side of what it tells the node: collected, then sent in whole frames.

What the guests consumed stands at the head of each frame. So the node learns that a message was taken
no later than of anything the process did with it, and a worker that dies can cause no message to be
delivered twice.
"""

from __future__ import annotations

from socket import socket
from typing import TYPE_CHECKING, Any, Final

from guesthouse.link.frames import MAX_FRAME, encode
from guesthouse.link.ops import ToNode

if TYPE_CHECKING:
    from guesthouse.worker.guest import Guest

FLUSH_BYTES: Final = 4 * 1024 * 1024
"""Payload bytes after which a frame is sent without waiting for the end of the turn."""
FLUSH_OPERATIONS: Final = 32
"""Operations after which one is: the node sends the first answers while the guest makes the others."""
_OPERATION_BYTES: Final = 64
"""What an operation counts besides its payload."""
MAX_OPERATION: Final = MAX_FRAME - 2 * FLUSH_BYTES
"""Payload bytes of one operation: with what may be queued before it, it still fits a frame."""
_ITEM_BYTES: Final = 8


def payload_size(value: Any) -> int:
    """The bytes that a value takes of a frame, or a few more."""
    kind = type(value)
    if kind is bytes:
        return len(value)
    if kind is str:
        return len(value) if value.isascii() else 4 * len(value)
    if kind is list or kind is tuple:
        return _ITEM_BYTES * len(value) + sum(map(payload_size, value))
    return _ITEM_BYTES


class Outgoing:
    """Operations for the node. `flush` blocks while the node reads slower than the guests write."""

    __slots__ = ("_bytes", "_consumers", "_link", "_operations")

    def __init__(self, link: socket) -> None:
        self._link = link
        self._operations: list[Any] = []
        self._consumers: list[Guest] = []
        self._bytes = 0

    def add(self, operation: list[Any], payload_bytes: int = 0) -> None:
        """Queue an operation. With too much queued, sends it: the guest that goes on has to wait."""
        self._operations.append(operation)
        self._bytes += payload_bytes + _OPERATION_BYTES
        if self._bytes > FLUSH_BYTES or len(self._operations) >= FLUSH_OPERATIONS:
            self.flush()

    def note_consumer(self, guest: Guest) -> None:
        """The guest took a message, the first since the last flush."""
        self._consumers.append(guest)

    def flush(self) -> None:
        """Send what is queued as one frame.

        Raises:
            OSError: the node is gone.
        """
        if not self._operations and not self._consumers:
            return
        operations = [[ToNode.CONSUMED, guest.handle, guest.taken] for guest in self._consumers]
        for guest in self._consumers:
            guest.taken = 0
        self._consumers.clear()
        operations += self._operations
        self._operations.clear()
        self._bytes = 0
        self._link.sendall(encode(operations))
