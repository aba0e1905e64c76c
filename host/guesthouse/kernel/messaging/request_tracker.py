"""Tracks the requests of a node that await a response: each gets exactly one outcome, an answer or a failure.

The sender is a process, or a part of the node that gave a callback. What is pending is kept in
`kernel/messaging/pending_requests.py`; this adds the timer and the ways back.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from guesthouse.core.address import ProcessId
from guesthouse.core.messages import LazyLoadBlob, Response, SendErrorKind
from guesthouse.core.ports import Answer
from guesthouse.core.timing.clock import Clock
from guesthouse.core.turn import TURN_SECONDS
from guesthouse.kernel.messaging.deadline_timer import DeadlineTimer
from guesthouse.kernel.messaging.pending_requests import LONGEST_WAIT, PendingRequest, PendingRequests
from guesthouse.kernel.messaging.replies import Replies
from guesthouse.kernel.messaging.sender import Sender, size_of
from guesthouse.kernel.messaging.settling import Settling
from guesthouse.kernel.process.handed_mailbox import HandedRequest
from guesthouse.link.frames import LinkError
from guesthouse.link.to_node import Send
from guesthouse.link.traced import plain


class RequestTracker:
    """Requests that await a response. Needs a running event loop for its timer; `close` cancels it.

    Args:
        replies: returns outcomes to processes.
        find_sender: the sender of an id, unless it ended.
        clock: the time that time-outs go by.
    """

    def __init__(
        self, replies: Replies, find_sender: Callable[[ProcessId], Sender | None], clock: Clock
    ) -> None:
        self._replies = replies
        self._find_sender = find_sender
        self._clock = clock
        self.pending = PendingRequests()
        self.callbacks: dict[int, Callable[[Answer | SendErrorKind], None]] = {}
        """What parts of the node await, by the id of the request."""
        self._settling = Settling(self.pending, self._fail_orphan)
        self._timer = DeadlineTimer(self.pending.next_deadline, self._expire, clock)

    def close(self) -> None:
        """Stop the timer; what still awaits the outcome of an ended process fails."""
        self._timer.close()
        self.finish()

    def sender(self, waiting: PendingRequest) -> Sender | None:
        """Who sent the request, unless it ended."""
        return self._find_sender(waiting.sender)

    # Requests begin.

    def expect(
        self, sender: ProcessId, seconds: float, callback: Callable[[Answer | SendErrorKind], None]
    ) -> PendingRequest:
        """Add a request of a part of the node, without holders yet; `callback` is called once with the outcome."""
        waiting = self.pending.add(sender, None, 0, self._clock.monotonic() + min(seconds, LONGEST_WAIT))
        self.callbacks[waiting.id] = callback
        self._timer.set()
        return waiting

    def add(self, sender: Sender, sent: Send, holder: ProcessId) -> int:
        """Add a request of a process with a holder, or the holder to the request that it inherits.

        Returns:
            The id of the request, or 0 if no response is expected.

        Raises:
            LinkError: the sender inherits a request that it did not receive.
        """
        if sent.expects_response is None:
            waiting = self.inherited(sender, sent)
            if waiting is None:
                return 0
        else:
            deadline = self._clock.monotonic() + min(sent.expects_response, LONGEST_WAIT)
            waiting = self.pending.add(sender.id, sent, size_of(sent), deadline)
            self._timer.set()
        self.pending.hold(waiting, holder)
        return waiting.id

    def inherited(self, sender: Sender, sent: Send) -> PendingRequest | None:
        """The pending request that `sent` inherits, if any.

        Raises:
            LinkError: the sender did not receive that request.
        """
        if not sent.inherit or sent.expects_response is not None:
            return None
        waiting = self.pending.get(sent.inherited_id)
        if waiting is not None and not self.pending.holds(waiting, sender.id):
            raise LinkError(f"a worker inherits a request that {sender.id} did not receive")
        return waiting

    def seconds_left(self, request_id: int) -> float | None:
        """Seconds to the request's time-out, or None if it is not pending."""
        waiting = self.pending.get(request_id)
        return None if waiting is None else waiting.deadline - self._clock.monotonic()

    # Requests end.

    def settle(self, waiting: PendingRequest) -> Callable[[Answer | SendErrorKind], None] | None:
        """Remove a request that has its outcome. Returns the callback that awaits it, if a part of the node does."""
        self.pending.settle(waiting)
        return self.callbacks.pop(waiting.id, None)

    def forget(self, request_id: int) -> None:
        """Nobody awaits the outcome any more."""
        waiting = self.pending.get(request_id)
        self.callbacks.pop(request_id, None)
        if waiting is not None:
            self.pending.settle(waiting)

    def answer(self, waiting: PendingRequest, source: str, body: bytes, blob: LazyLoadBlob | None) -> None:
        """Deliver the response of the HTTP server or a module to the request's first sender."""
        callback, sender = self.settle(waiting), self.sender(waiting)
        if callback is not None:
            callback(Answer(body, None, blob, source))
        elif sender is not None and waiting.sent is not None:
            self._replies.answer(sender, waiting.sent, source, Response(body), blob)

    def fail(self, request_id: int, kind: SendErrorKind) -> None:
        """Fail a request, if it is pending."""
        waiting = self.pending.get(request_id)
        if waiting is not None:
            self.pending.settle(waiting)
            self._fail(waiting, kind)

    def sender_is_gone(self, process: ProcessId) -> None:
        """Drop the requests that a process sent and fail those that it holds, over several iterations of the loop if
        there are many.
        """
        self.pending.drop_sender(process, awaited_only=False)
        self.pending.drop_holder(process, set())
        self._settling.begin()

    def run_ended(self, process: ProcessId, in_mailbox: set[int]) -> None:
        """A run of a process ended: drop what it blocked on, and fail what it holds except `in_mailbox`."""
        self.pending.drop_sender(process, awaited_only=True)
        self.pending.drop_holder(process, in_mailbox)
        self._settling.begin()

    def node_lost(self, holder: ProcessId) -> None:
        """Another node, which holds requests as `holder`, cannot answer them any more: they fail as "offline"."""
        self.pending.drop_holder(holder, set(), "offline")
        self._settling.begin()

    def finish(self) -> None:
        """Fail the requests of ended processes now."""
        self._settling.finish()

    # The next run of the node.

    @property
    def anyone_blocks(self) -> bool:
        """Whether a process blocks on a request."""
        return any(waiting.sent is not None and waiting.sent.await_id for waiting in self.pending.all())

    def hand_over(self, stays: Callable[[ProcessId], bool]) -> list[HandedRequest]:
        """Requests of processes, after all runs ended: who holds one has not taken it.

        Args:
            stays: whether the next run of the node has that sender or holder.
        """
        self.finish()
        now, handed = self._clock.monotonic(), []
        for waiting in self.pending.all():
            sent, holders = waiting.sent, tuple(waiting.holders)
            if sent is None or sent.await_id:
                continue
            if holders and stays(waiting.sender) and all(map(stays, holders)):
                left = max(0.0, waiting.deadline - now)
                handed.append(
                    HandedRequest(
                        waiting.id, str(waiting.sender), plain(sent), left, tuple(map(str, holders))
                    )
                )
        return handed

    def take_over(self, handed: HandedRequest, left_seconds: float) -> PendingRequest:
        """Wait for the response to a request that the node's run before had left.

        Raises:
            BadProcessId: it is of nobody, or nobody has it.
        """
        sender, holders = ProcessId.parse(handed.sender), map(ProcessId.parse, handed.holders)
        deadline = self._clock.monotonic() + min(left_seconds, LONGEST_WAIT)
        waiting = self.pending.add(sender, handed.sent, size_of(handed.sent), deadline)
        for holder in holders:
            self.pending.hold(waiting, holder)
        self._timer.set()
        return waiting

    def _fail_orphan(self, waiting: PendingRequest) -> None:
        self._fail(waiting, waiting.failure)

    def _fail(self, waiting: PendingRequest, kind: SendErrorKind) -> None:
        callback = self.callbacks.pop(waiting.id, None)
        if callback is not None:
            callback(kind)
            return
        sender = self.sender(waiting)
        if sender is not None and waiting.sent is not None:
            self._replies.give_back(sender, waiting.sent, kind)

    def _expire(self) -> None:
        """Fail requests that timed out. If there are many, the rest follows in later iterations of the loop."""
        until = perf_counter() + TURN_SECONDS
        for waiting in self.pending.expire(self._clock.monotonic()):
            self._fail(waiting, "timeout")
            if perf_counter() > until:
                return
