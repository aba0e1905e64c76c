"""What one end sent and the other has not acknowledged, so that it can be sent again. Pure.

Messages are numbered by counting them; no number travels. In the order of their numbers they are *acknowledged* (and
forgotten), *written* to the present socket, or *waiting* to be written to it; without a socket all that is kept waits.
Messages that are given up leave a *gap*, which stands for their numbers, so that the other end is told how many it
does not get and both ends go on with the same counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from guesthouse.core.errors import GuesthouseError

Entry: TypeAlias = tuple[int, bytes]
"""The cost of a message and its frame; for a gap, how many messages it stands for, negative, and nothing."""

_NOTHING: Final[deque[Entry]] = deque()
"""Stands for a session's own until something waits, and stays empty."""


class BadCount(GuesthouseError):
    """The other end counts what cannot be: more than it was sent, or less than it said before."""


class Retained:
    """The messages of one direction of one session.

    Args:
        first: messages before the first that is kept.
        highest: what the other end can have received.
        entries: what waits, as `waiting` gives it.
    """

    __slots__ = ("_waiting", "_written", "acknowledged", "count", "first", "highest", "size")

    def __init__(self, first: int = 0, highest: int = 0, entries: Sequence[Entry] = ()) -> None:
        self._written: deque[Entry] = deque()
        self._waiting = deque(entries) if entries else _NOTHING
        self.first = first
        """Messages before the first that is kept."""
        self.count = first
        """Messages before the first that waits: what the other end can have received by the present socket."""
        self.acknowledged = first
        self.size = sum(cost for cost, _ in entries if cost > 0)
        """What is kept costs, in all."""
        self.highest = highest
        """What the other end can have received by any socket before the present one."""

    @property
    def waits(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._waiting)

    def add_written(self, cost: int, frame: bytes) -> None:
        """Keep a message that is written to the socket now; nothing may wait."""
        self._written.append((cost, frame))
        self.size += cost
        self.count += 1

    def add(self, cost: int, frame: bytes) -> None:
        """Keep a message that is to be written after all that waits."""
        if self._waiting is _NOTHING:
            self._waiting = deque()
        self._waiting.append((cost, frame))
        self.size += cost

    def take(self) -> bytes | int | None:
        """What to write next: a frame, of how many messages to say that they are lost, or None when nothing waits."""
        if not self._waiting:
            return None
        entry = self._waiting.popleft()
        self._written.append(entry)
        cost, frame = entry
        if cost < 0:
            self.count -= cost
            return -cost
        self.count += 1
        return frame

    def acknowledge(self, received: int) -> None:
        """The other end says how many it has received, in all.

        Raises:
            BadCount: it cannot be so.
        """
        if not self.acknowledged <= received <= self.count:
            raise BadCount("an acknowledgement counts what was never sent, or goes back")
        self.acknowledged = received
        self._forget_to(received, self._written)

    def cut(self) -> None:
        """The socket is gone: what it was given waits for the next one."""
        self.highest = max(self.highest, self.count)
        if self._written:
            self._written.extend(self._waiting)
            self._written, self._waiting = deque(), self._written
        self.count = self.first

    def can_resume(self, received: int) -> bool:
        """Whether the other end can have received so many."""
        return received <= max(self.highest, self.count)

    def resume(self, received: int) -> None:
        """There is another socket, and the other end says how many it has received, in all. What it lacks and what is
        not kept any more becomes a gap. After `cut`.

        Raises:
            BadCount: it cannot be so.
        """
        if not self.can_resume(received):
            raise BadCount("the client counts what was never sent")
        if received < self.first:
            gap, self.first = self.first - received + self._take_gaps(), received
            if self._waiting is _NOTHING:
                self._waiting = deque()
            self._waiting.appendleft((-gap, b""))
        else:
            self._forget_to(received, self._waiting)
        self.acknowledged = self.count = received

    def drop_waiting(self) -> bool:
        """Give up the message that has waited longest, unless it is the last that waits: it leaves a gap."""
        waiting = self._waiting
        lost = self._take_gaps()
        dropped = len(waiting) > 1
        if dropped:
            self.size -= waiting.popleft()[0]
            lost += 1 + self._take_gaps()
        if lost:
            waiting.appendleft((-lost, b""))
        return dropped

    def forget_written(self) -> bool:
        """Keep no longer what the socket was given first, unless it is all that there is: it is lost if that is."""
        written = self._written
        if len(written) + bool(self._waiting) < 2 or not written:
            return False
        cost, _ = written.popleft()
        self.first += 1 if cost > 0 else -cost
        self.size -= max(cost, 0)
        return True

    def recode(self, change: Callable[[bytes], bytes]) -> None:
        """Have each frame that waits as another client takes it."""
        self._waiting = deque((cost, frame if cost < 0 else change(frame)) for cost, frame in self._waiting)

    def waiting(self) -> tuple[Entry, ...]:
        """All that waits, which is all that is kept after `cut`: it stays."""
        return tuple(self._waiting)

    def rest(self) -> Iterator[bytes | int]:
        """All that waits, as `take` gives it."""
        while (taken := self.take()) is not None:
            yield taken

    def clear(self) -> None:
        """Nobody will ask for it."""
        self._written, self._waiting, self.size = deque(), _NOTHING, 0

    def _take_gaps(self) -> int:
        """Take what is lost next out of what waits; returns how many."""
        waiting, lost = self._waiting, 0
        while waiting and waiting[0][0] < 0:
            lost -= waiting.popleft()[0]
        return lost

    def _forget_to(self, received: int, kept: deque[Entry]) -> None:
        left, freed = received - self.first, 0
        while left > 0:  # a gap may be known in part: what is given up may have arrived before
            cost, _ = kept.popleft()
            if cost > 0:
                freed += cost
                left -= 1
            elif left < -cost:
                kept.appendleft((cost + left, b""))
                left = 0
            else:
                left += cost
        self.size -= freed
        self.first = max(self.first, received)
