"""Requests that wait for their response: who asked, who may answer, and until when.

One table and one heap for a whole node, however many requests wait. Pure: the time is an argument.

A request has *holders*: the processes that received it and may answer it. There is one at first;
forwarding with `inherit` adds the next (its answer then goes straight to the first sender). The first
answer settles the request. When the last holder ended without an answer, it fails.

A process may hold a hundred thousand requests when it ends, or have sent them. Its end itself costs the same whatever
there is: what it left is settled by whoever takes `left`, a little at a time. Meanwhile its next run, or another
process of its id, has nothing to do with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct, field

from guesthouse.core.address import ProcessId
from guesthouse.kernel.messaging.due import Due
from guesthouse.link.to_node import Send

LONGEST_WAIT: Final = 366 * 24 * 3600
"""Seconds after which any request times out, whatever it asked for."""

REQUEST_OVERHEAD: Final = 512
"""Bytes that a waiting request costs the node beside what was sent."""


class _Sender(Struct, eq=False):
    """What one process sent, until it ends: another of its id is another."""

    process: ProcessId
    ids: dict[int, None] = field(default_factory=dict)
    awaited: dict[int, None] = field(default_factory=dict)
    """Those that a run blocks on."""
    size: int = 0
    gone: bool = False


class PendingRequest(Struct, eq=False):
    """A request that waits. `sent` made it, to be given back when it fails; None: nobody is to get it back."""

    id: int
    by: _Sender
    sent: Send | None
    size: int
    deadline: float
    holders: set[ProcessId] = field(default_factory=set)
    """Who received it; of those that ended since, some may still be here: see `PendingRequests.holds`."""

    @property
    def sender(self) -> ProcessId:
        """Who is told what became of it."""
        return self.by.process


class PendingRequests:
    """All requests of a node that wait for a response."""

    def __init__(self) -> None:
        self._waiting: dict[int, PendingRequest] = {}
        self._due = Due(self._waiting)
        self._last_id = 0
        self._senders: dict[ProcessId, _Sender] = {}
        self._held: dict[ProcessId, dict[int, None]] = {}  # ids by holder
        self._left: deque[tuple[Iterator[int], Callable[[int], PendingRequest | None]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, sender: ProcessId, sent: Send | None, size: int, deadline: float) -> PendingRequest:
        """Keep a request until `deadline`. It has no holder yet."""
        self._last_id += 1
        by = self._senders.get(sender)
        if by is None:
            by = self._senders[sender] = _Sender(sender)
        waiting = PendingRequest(self._last_id, by, sent, size + REQUEST_OVERHEAD, deadline)
        self._waiting[waiting.id] = waiting
        by.size += waiting.size
        by.ids[waiting.id] = None
        if sent is not None and sent.await_id:
            by.awaited[waiting.id] = None
        self._due.add(deadline, waiting.id)
        return waiting

    def hold(self, waiting: PendingRequest, process: ProcessId) -> None:
        """`process` was handed the request, and may answer it from now on."""
        waiting.holders.add(process)
        self._held.setdefault(process, {})[waiting.id] = None

    def holds(self, waiting: PendingRequest, process: ProcessId) -> bool:
        """Whether `process` may answer the request."""
        return waiting.id in self._held.get(process, ())

    def get(self, request_id: int) -> PendingRequest | None:
        """The request, when it still waits."""
        waiting = self._waiting.get(request_id)
        return None if waiting is None or waiting.by.gone else waiting

    def settle(self, waiting: PendingRequest) -> None:
        """The request was answered or has failed: forget it."""
        del self._waiting[waiting.id]
        self._forget_sent(waiting)
        for holder in waiting.holders:
            held = self._held.get(holder)
            if held is not None and held.pop(waiting.id, 0) is None and not held:
                del self._held[holder]
        self._due.sweep(len(self._waiting))

    def _forget_sent(self, waiting: PendingRequest) -> None:
        by = waiting.by
        if by.gone:
            return
        del by.ids[waiting.id]
        by.awaited.pop(waiting.id, None)
        by.size -= waiting.size
        if not by.ids:
            del self._senders[by.process]

    def size_of(self, sender: ProcessId) -> int:
        """Bytes that the waiting requests of `sender` cost the node."""
        by = self._senders.get(sender)
        return 0 if by is None else by.size

    def next_deadline(self) -> float | None:
        """When the next request times out; None when none waits."""
        due = self._due.next()
        return None if due is None else due[0]

    def expire(self, now: float) -> Iterator[PendingRequest]:
        """Settle and yield each request whose time is over, the oldest deadline first."""
        while (due := self._due.next()) is not None and due[0] <= now:
            waiting = self._waiting[due[1]]
            self.settle(waiting)
            yield waiting

    def drop_holder(self, process: ProcessId, keep: set[int]) -> None:
        """`process` can no longer answer what it received, except the ids in `keep`: the rest is left."""
        held = self._held.pop(process, None)
        if held is None:
            return
        kept = {request_id: None for request_id in keep if request_id in held}
        if kept:
            self._held[process] = kept

        def leave(request_id: int) -> PendingRequest | None:
            return self._without_holder(request_id, process)

        if len(kept) < len(held):
            self._left.append((iter(held), leave))

    def drop_sender(self, process: ProcessId, *, awaited_only: bool) -> None:
        """Nobody waits for the requests of `process` any more: for none, or not for those that its ended run blocked
        on. They are left.
        """
        by = self._senders.get(process)
        if by is None:
            return
        if awaited_only:
            ids, by.awaited = by.awaited, {}
        else:
            ids, by.gone = by.ids, True
            del self._senders[process]
        if ids:
            self._left.append((iter(ids), self._without_sender))

    @property
    def anything_left(self) -> bool:
        """Whether processes that ended left anything that is not settled yet."""
        return bool(self._left)

    def left(self) -> Iterator[PendingRequest | None]:
        """Settle what processes left that ended, one request a step: yields it when its sender is to be told that
        nobody can answer it any more, else None. Whoever stops taking goes on with another call.
        """
        while self._left:
            ids, leave = self._left[0]
            for request_id in ids:
                yield leave(request_id)
            self._left.popleft()

    def _without_holder(self, request_id: int, process: ProcessId) -> PendingRequest | None:
        waiting = self.get(request_id)
        if waiting is None or self.holds(waiting, process):  # it was kept, or the next run was handed it, too
            return None
        waiting.holders.discard(process)
        if waiting.holders:
            return None
        self.settle(waiting)
        return waiting

    def _without_sender(self, request_id: int) -> None:
        waiting = self._waiting.get(request_id)
        if waiting is not None:
            self.settle(waiting)
