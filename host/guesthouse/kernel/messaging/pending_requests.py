"""Pending requests of a node: who sent them, who may answer, and until when. Pure: the time is an argument.

A request has *holders*: the processes that received it and may answer it. There is one at first; forwarding it with
`inherit` adds the next, whose response goes to the first sender. The first response settles the request. It fails when
the last holder ends.

A process may have sent or hold a hundred thousand requests when it ends. `drop_sender` and `drop_holder` take constant
time; the requests are settled by iterating `left`, a few at a time. Meanwhile they do not affect the next run or
another process of the same id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct, field

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import SendErrorKind
from guesthouse.kernel.messaging.due import Due
from guesthouse.link.to_node import Send

LONGEST_WAIT: Final = 366 * 24 * 3600
"""Maximum time-out in seconds."""

REQUEST_OVERHEAD: Final = 512
"""Bytes of memory that a pending request takes besides its content."""


class _Sender(Struct, eq=False):
    """Requests of one process. A later process of the same id gets another."""

    process: ProcessId
    ids: dict[int, None] = field(default_factory=dict)
    awaited: dict[int, None] = field(default_factory=dict)
    """Those that its run blocks on."""
    size: int = 0
    gone: bool = False


class PendingRequest(Struct, eq=False):
    """A pending request. `sent` is returned to the sender on failure, unless None."""

    id: int
    by: _Sender
    sent: Send | None
    size: int
    deadline: float
    holders: set[ProcessId] = field(default_factory=set)
    """Who received it. May still contain ended processes: see `PendingRequests.holds`."""
    failure: SendErrorKind = "no-such-process"
    """Why it failed, once its last holder was dropped."""

    @property
    def sender(self) -> ProcessId:
        """Who gets the response."""
        return self.by.process


class PendingRequests:
    """All pending requests of a node."""

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
        """Add a request, without holders yet."""
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
        """Add a holder: `process` received the request and may answer it."""
        waiting.holders.add(process)
        self._held.setdefault(process, {})[waiting.id] = None

    def holds(self, waiting: PendingRequest, process: ProcessId) -> bool:
        """Whether `process` may answer the request."""
        return waiting.id in self._held.get(process, ())

    def held_by(self, process: ProcessId) -> bool:
        """Whether a request is pending that `process` may answer."""
        return any(request_id in self._waiting for request_id in self._held.get(process, ()))

    def get(self, request_id: int) -> PendingRequest | None:
        """The request, if it is still pending."""
        waiting = self._waiting.get(request_id)
        return None if waiting is None or waiting.by.gone else waiting

    def all(self) -> Iterator[PendingRequest]:
        """All whose sender is still there."""
        return (waiting for waiting in tuple(self._waiting.values()) if not waiting.by.gone)

    def settle(self, waiting: PendingRequest) -> None:
        """Remove a request: it was answered or has failed."""
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
        """Bytes of the pending requests of `sender`."""
        by = self._senders.get(sender)
        return 0 if by is None else by.size

    def next_deadline(self) -> float | None:
        """The nearest deadline, or None."""
        due = self._due.next()
        return None if due is None else due[0]

    def expire(self, now: float) -> Iterator[PendingRequest]:
        """Settle and yield each request whose deadline has passed, in order of deadlines."""
        while (due := self._due.next()) is not None and due[0] <= now:
            waiting = self._waiting[due[1]]
            self.settle(waiting)
            yield waiting

    def drop_holder(
        self, process: ProcessId, keep: set[int], failure: SendErrorKind = "no-such-process"
    ) -> None:
        """`process` can no longer answer the requests that it received, except those in `keep`. They fail as
        `failure` says, unless another holder is left.
        """
        held = self._held.pop(process, None)
        if held is None:
            return
        kept = {request_id: None for request_id in keep if request_id in held}
        if kept:
            self._held[process] = kept

        def leave(request_id: int) -> PendingRequest | None:
            return self._without_holder(request_id, process, failure)

        if len(kept) < len(held):
            self._left.append((iter(held), leave))

    def drop_sender(self, process: ProcessId, *, awaited_only: bool) -> None:
        """`process` no longer waits for responses: to any request, or to those that its ended run blocked on."""
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
        """Whether requests of ended processes are still to be settled."""
        return bool(self._left)

    def left(self) -> Iterator[PendingRequest | None]:
        """Settle requests of ended processes, one in each step. Yields a request if its sender must be told that it
        failed, else None. Iteration may stop at any point and continue with another call.
        """
        while self._left:
            ids, leave = self._left[0]
            for request_id in ids:
                yield leave(request_id)
            self._left.popleft()

    def _without_holder(
        self, request_id: int, process: ProcessId, failure: SendErrorKind
    ) -> PendingRequest | None:
        waiting = self.get(request_id)
        if waiting is None or self.holds(waiting, process):  # kept, or also received by the next run
            return None
        waiting.holders.discard(process)
        if waiting.holders:
            return None
        self.settle(waiting)
        waiting.failure = failure
        return waiting

    def _without_sender(self, request_id: int) -> None:
        waiting = self._waiting.get(request_id)
        if waiting is not None:
            self.settle(waiting)
