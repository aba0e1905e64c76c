"""Requests that wait for their response: who asked, who may answer, and until when.

One table and one heap for a whole node, however many requests wait. Pure: the time is an argument.

A request has *holders*: the processes that received it and may answer it. There is one at first;
forwarding with `inherit` adds the next (its answer then goes straight to the first sender). The first
answer settles the request. When the last holder ended without an answer, it fails at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from guesthouse.address import ProcessId
from guesthouse.link.to_node import Send

LONGEST_WAIT: Final = 366 * 24 * 3600
"""Seconds after which any request times out, whatever it asked for."""

REQUEST_OVERHEAD: Final = 512
"""Bytes that a waiting request costs the node beside what was sent."""

_HEAP_SLACK: Final = 1024


@dataclass(slots=True)
class Waiting:
    """A request that waits. `sent` made it, to be given back when it fails; None: nobody is to get it back."""

    id: int
    sender: ProcessId
    sent: Send | None
    size: int
    holders: set[ProcessId] = field(default_factory=set)


class Requests:
    """All requests of a node that wait for a response."""

    def __init__(self) -> None:
        self._waiting: dict[int, Waiting] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._last_id = 0
        self._sizes: dict[ProcessId, int] = {}
        self._sent: dict[ProcessId, set[int]] = {}  # ids by sender
        self._held: dict[ProcessId, set[int]] = {}  # ids by holder

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, sender: ProcessId, sent: Send | None, size: int, deadline: float) -> Waiting:
        """Keep a request until `deadline`. It has no holder yet."""
        self._last_id += 1
        waiting = Waiting(self._last_id, sender, sent, size + REQUEST_OVERHEAD)
        self._waiting[waiting.id] = waiting
        self._sizes[sender] = self._sizes.get(sender, 0) + waiting.size
        self._sent.setdefault(sender, set()).add(waiting.id)
        heapq.heappush(self._deadlines, (deadline, waiting.id))
        return waiting

    def hold(self, waiting: Waiting, process: ProcessId) -> None:
        """`process` was handed the request, and may answer it from now on."""
        waiting.holders.add(process)
        self._held.setdefault(process, set()).add(waiting.id)

    def get(self, request_id: int) -> Waiting | None:
        """The request, when it still waits."""
        return self._waiting.get(request_id)

    def settle(self, waiting: Waiting) -> None:
        """The request was answered or has failed: forget it."""
        del self._waiting[waiting.id]
        _remove(self._sent, waiting.sender, waiting.id)
        for holder in waiting.holders:
            _remove(self._held, holder, waiting.id)
        remaining = self._sizes[waiting.sender] - waiting.size
        if remaining:
            self._sizes[waiting.sender] = remaining
        else:
            del self._sizes[waiting.sender]
        if len(self._deadlines) > 2 * len(self._waiting) + _HEAP_SLACK:
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self._waiting]
            heapq.heapify(self._deadlines)

    def size_of(self, sender: ProcessId) -> int:
        """Bytes that the waiting requests of `sender` cost the node."""
        return self._sizes.get(sender, 0)

    def next_deadline(self) -> float | None:
        """When the next request times out; None when none waits."""
        while self._deadlines and self._deadlines[0][1] not in self._waiting:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def expire(self, now: float) -> Iterator[Waiting]:
        """Settle and yield each request whose time is over, the oldest deadline first."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            waiting = self._waiting[heapq.heappop(self._deadlines)[1]]
            self.settle(waiting)
            yield waiting

    def drop_holder(self, process: ProcessId, keep: set[int]) -> list[Waiting]:
        """`process` can no longer answer what it received, except the ids in `keep`. Settles and returns
        the requests that nobody can answer any more.
        """
        orphans = []
        for request_id in sorted(self._held.get(process, set()) - keep):
            waiting = self._waiting[request_id]
            waiting.holders.remove(process)
            _remove(self._held, process, request_id)
            if not waiting.holders:
                self.settle(waiting)
                orphans.append(waiting)
        return orphans

    def drop_sender(self, process: ProcessId, *, awaited_only: bool) -> None:
        """Forget the requests of `process`: all, or those that its ended run blocked on."""
        for request_id in sorted(self._sent.get(process, ())):
            waiting = self._waiting[request_id]
            if not awaited_only or (waiting.sent is not None and waiting.sent.await_id):
                self.settle(waiting)


def _remove(ids: dict[ProcessId, set[int]], process: ProcessId, request_id: int) -> None:
    of_process = ids[process]
    of_process.remove(request_id)
    if not of_process:
        del ids[process]
