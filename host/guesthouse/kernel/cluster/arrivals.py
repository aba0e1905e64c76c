"""Queues of frames from other nodes.

They are processed for `TURN_SECONDS` in each iteration of the event loop; the rest waits in bounded queues, one for
each session, which take turns. So a node that floods this one delays neither its processes nor other nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final, Literal, Protocol

from guesthouse.core.timing.clock import Cancellable
from guesthouse.core.turn import TURN_SECONDS
from guesthouse.kernel.cluster.send_queues import MESSAGE_OVERHEAD


class EventLoop(Protocol):
    """What the session layer needs of an event loop."""

    def time(self) -> float:
        """Seconds of a monotonic clock."""

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Call in the next iteration."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Cancellable:
        """Call after some seconds."""


class Lane:
    """Frames of one session, or of handshakes.

    Args:
        take: processes one frame; must not raise.
        most_bytes: that may wait, each frame counting `MESSAGE_OVERHEAD` more.
    """

    __slots__ = ("frames", "most_bytes", "queued", "size", "take")

    def __init__(self, take: Callable[[bytes], None], most_bytes: int) -> None:
        self.take: Final = take
        self.most_bytes: Final = most_bytes
        self.frames: deque[bytes] = deque()
        self.size = 0
        self.queued = False
        """Whether it is among those that take turns."""

    def clear(self) -> None:
        """Discard what waits: the session ended."""
        self.frames.clear()
        self.size = 0


class Arrivals:
    """Processes the frames of each lane in order."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._lanes: deque[Lane] = deque()
        """With frames, or just cleared; the next in turn first."""
        self._until = 0.0
        """End of this iteration's time; 0 before its first frame."""

    def add(self, lane: Lane, frame: bytes) -> Literal["full"] | None:
        """Process a frame now or in a later iteration; "full" if its lane is full."""
        if not self._until:
            self._until = perf_counter() + TURN_SECONDS
            self._loop.call_soon(self._next_turn)
        if not self._lanes and not lane.frames and perf_counter() < self._until:
            lane.take(frame)
            return None
        size = len(frame) + MESSAGE_OVERHEAD
        if lane.size + size > lane.most_bytes:
            return "full"
        lane.frames.append(frame)
        lane.size += size
        self._queue(lane)
        return None

    def _queue(self, lane: Lane) -> None:
        if not lane.queued:
            lane.queued = True
            self._lanes.append(lane)

    def _next_turn(self) -> None:
        self._until = 0.0
        if not self._lanes:
            return
        self._until = perf_counter() + TURN_SECONDS
        self._loop.call_soon(self._next_turn)
        while self._lanes:
            lane = self._lanes.popleft()
            lane.queued = False
            if lane.frames:
                frame = lane.frames.popleft()
                lane.size -= len(frame) + MESSAGE_OVERHEAD
                lane.take(frame)
            if lane.frames:
                self._queue(lane)
            if perf_counter() > self._until:
                return
