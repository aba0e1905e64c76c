"""Messages that wait for room in a session with another node. Pure.

Each service has a queue of its own. They take turns by frame, so that a large message does not hold back the small ones
of another service.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct, field

QUEUE_BYTES: Final = 8 * 1024 * 1024
"""Bytes of one service that may wait for one node, and one message."""
MESSAGE_OVERHEAD: Final = 64
"""Bytes that a waiting message, and a frame on its way, count besides their own."""


class _Queue(Struct, eq=False):
    """Messages of one service."""

    messages: deque[bytes] = field(default_factory=deque)
    size: int = 0
    done: int = 0
    """Bytes of the first message that were taken."""
    refused: bool = False


class SendQueues:
    """What waits for one node."""

    __slots__ = ("_queues", "_turns")

    def __init__(self) -> None:
        self._queues: dict[int, _Queue] = {}
        self._turns: deque[int] = deque()
        """Services with messages; the next in turn first."""

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __len__(self) -> int:
        """Messages that wait."""
        return sum(len(queue.messages) for queue in self._queues.values())

    def size(self, service: int) -> int:
        """Bytes of a service that wait."""
        queue = self._queues.get(service)
        return 0 if queue is None else queue.size

    @property
    def total(self) -> int:
        """Bytes of all services that wait."""
        return sum(queue.size for queue in self._queues.values())

    def add(self, service: int, body: bytes) -> None:
        """Add a message."""
        queue = self._queues.get(service)
        if queue is None:
            queue = self._queues[service] = _Queue()
        if not queue.messages:
            self._turns.append(service)
        queue.messages.append(body)
        queue.size += len(body) + MESSAGE_OVERHEAD

    def refuse(self, service: int) -> None:
        """Remember that a message was refused, so that `roomy` names the service later."""
        self._queues[service].refused = True

    def next_bytes(self, most: int) -> int:
        """Size of what `take` returns next."""
        queue = self._queues[self._turns[0]]
        return min(len(queue.messages[0]) - queue.done, most)

    def take(self, most: int) -> tuple[int, bytes | memoryview, bool]:
        """Take the next frame's body, of the service whose turn it is.

        Returns:
            The service, at most `most` bytes of its first message, and whether more of that message follows.
        """
        service = self._turns.popleft()
        queue = self._queues[service]
        message = queue.messages[0]
        end = queue.done + most
        more = end < len(message)
        piece = message if not queue.done and not more else memoryview(message)[queue.done : end]
        if more:
            queue.done = end
        else:
            queue.messages.popleft()
            queue.done = 0
            queue.size -= len(message) + MESSAGE_OVERHEAD
        if queue.messages:
            self._turns.append(service)
        return service, piece, more

    def roomy(self) -> list[int]:
        """Services that were refused a message and have room again; each is named once."""
        found = []
        for service, queue in self._queues.items():
            if queue.refused and queue.size < QUEUE_BYTES // 2:
                queue.refused = False
                found.append(service)
        return found

    def clear(self) -> int:
        """Discard everything; returns how many messages that were."""
        count = len(self)
        self._queues.clear()
        self._turns.clear()
        return count
