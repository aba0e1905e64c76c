"""Frames of other nodes that wait for their turn.

They are taken for `TURN_SECONDS` of each turn of the event loop; the rest waits for the next, within a bound. So those
who send without end hold up themselves, and nobody else.
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
    """Takes frames in their order. Needs a running event loop.

    Args:
        take: carries out one frame; raises nothing.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._until = 0.0
        """When this turn's time is over; 0 before the first frame of a turn."""

    def add(self, frame: bytes) -> Literal["full"] | None:
        """Carry out a frame, at once or in one of the next turns; "full": there is no room for it."""
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
