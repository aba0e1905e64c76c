"""Queue of frames from other nodes.

They are processed for `TURN_SECONDS` in each iteration of the event loop; the rest waits in a bounded queue. So a node
that floods this one delays only itself and other nodes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final, Literal

from guesthouse.core.turn import TURN_SECONDS
from guesthouse.kernel.cluster.envelopes import MAX_ENVELOPE

MOST_BYTES: Final = 2 * MAX_ENVELOPE
MOST_FRAMES: Final = 4096


class Arrivals:
    """Processes frames in order. Needs a running event loop.

    Args:
        take: processes one frame; must not raise.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._until = 0.0
        """End of this iteration's time; 0 before its first frame."""

    def add(self, frame: bytes) -> Literal["full"] | None:
        """Process a frame now or in a later iteration; "full" if the queue is full."""
        if not self._until:
            self._until = perf_counter() + TURN_SECONDS
            self._loop.call_soon(self._next_turn)
        if not self._waiting and perf_counter() < self._until:
            self._take(frame)
            return None
        if len(self._waiting) >= MOST_FRAMES or self._size + len(frame) > MOST_BYTES:
            return "full"
        self._waiting.append(frame)
        self._size += len(frame)
        return None

    def _next_turn(self) -> None:
        self._until = 0.0
        if not self._waiting:
            return
        self._until = perf_counter() + TURN_SECONDS
        self._loop.call_soon(self._next_turn)
        while self._waiting:
            frame = self._waiting.popleft()
            self._size -= len(frame)
            self._take(frame)
            if perf_counter() > self._until:
                return
