"""Outgoing messages of one channel, and what happens when the client reads too slowly."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from guesthouse.http_server.channel.credit_window import CreditWindow, write_limits
from guesthouse.link.credit import PUSH_OVERHEAD, push_cost

UNLIMITED: Final = 2**60
"""Credit, in bytes, granted when the node decides about each message itself."""

Reply: TypeAlias = Callable[[str | None], None]


class Policy(StrEnum):
    """What to do with a push when the outbox is full."""

    REFUSE = "refuse"
    """Fail with `channel-full`."""
    WAIT = "wait"
    """Block the process if the call allows that, else fail with `channel-full`."""
    DROP_OLDEST = "drop-oldest"
    """Discard the oldest unsent messages."""
    CLOSE = "close"
    """Close the channel."""


_NODE_DECIDES: Final = (Policy.DROP_OLDEST, Policy.CLOSE)


class Owner(Protocol):
    """The channel's connection."""

    def grant_credit(self, size: int) -> None:
        """Change the worker's credit by `size` bytes, which may be negative."""

    def too_slow(self) -> None:
        """Close the channel: the client reads too slowly."""

    def dropped(self) -> None:
        """A message was discarded for a newer one."""


class _Waiter(Struct, frozen=True):
    """A push that waits for room; `paid` if the worker will spend credit on it."""

    cost: int
    reply: Reply
    paid: bool


_EMPTY_QUEUE: Final[deque[tuple[int, bytes]]] = deque()
_NO_WAITERS: Final[deque[_Waiter]] = deque()
"""Shared empty placeholders: a deque takes 760 bytes, and few channels need one. Never appended to."""


class Outbox:
    """The outgoing side of one channel.

    `push(size, frame)` sends a frame that the worker has spent credit on; `size` is that of its payload.
    Frames go into the socket's write buffer. Only under `drop-oldest` are those above its high-water mark queued here,
    where they can still be discarded. The newest never is.

    Args:
        owner: the channel's connection.
        transport: its socket.
        window: bytes that may be buffered.
        batch: bytes of credit that are returned at a time; see `CreditWindow`.
    """

    __slots__ = (
        "_credit", "_high", "_owner", "_queue", "_queued", "_transport", "_unpaid_waiting", "_waiters", "_window",
        "messages", "policy", "push",
    )  # fmt: skip

    def __init__(self, owner: Owner, transport: asyncio.WriteTransport, window: int, batch: int = 0) -> None:
        self._owner = owner
        self._transport = transport
        self._window = window
        self._credit = CreditWindow(window, batch=batch)
        self._high, _ = write_limits(window)
        self._queue = _EMPTY_QUEUE
        self._queued = 0
        self._waiters = _NO_WAITERS
        self._unpaid_waiting = 0
        self.messages = 0
        self.policy = Policy.REFUSE
        self.push: Callable[[int, bytes], bool] = self._push_paid

    @property
    def waiting(self) -> int:
        """Bytes queued or in the socket's write buffer."""
        return self._queued + self._transport.get_write_buffer_size()

    def _push_paid(self, size: int, frame: bytes) -> bool:
        """Send a frame; False when the worker lacks the credit."""
        credit = self._credit
        spent = credit.spent + size + PUSH_OVERHEAD  # `CreditWindow.take`, without calls
        if spent > credit.window:
            return False
        credit.spent = spent
        self.messages += 1
        self._transport.write(frame)
        if spent >= credit.batch:
            self.settle()
        return True

    def push_beside(self, size: int, header: bytes, payload: bytes) -> bool:
        """`push` of a frame that is not joined; only if it `gathers`."""
        credit = self._credit
        if not credit.take(size):
            return False
        self.messages += 1
        self._transport.writelines((header, payload))
        if credit.spent >= credit.batch:
            self.settle()
        return True

    @property
    def gathers(self) -> bool:
        """Whether frames go to the socket at once, and are kept nowhere."""
        return self.policy not in _NODE_DECIDES

    def _push_dropping(self, size: int, frame: bytes) -> bool:
        cost = push_cost(size)
        self._credit.spent += cost
        self.messages += 1
        buffered = self._transport.get_write_buffer_size()
        if not self._queue and buffered <= self._high:
            self._transport.write(frame)
            return True
        if self._queue is _EMPTY_QUEUE:
            self._queue = deque()
        self._queue.append((cost, frame))
        self._queued += cost
        while len(self._queue) > 1 and buffered + self._queued > self._window:
            self._queued -= self._queue.popleft()[0]
            self._owner.dropped()
        return True

    def _push_closing(self, size: int, frame: bytes) -> bool:
        cost = push_cost(size)
        self._credit.spent += cost
        if self._transport.get_write_buffer_size() + cost > self._window:
            self._owner.too_slow()
            return True
        self.messages += 1
        self._transport.write(frame)
        return True

    def push_unpaid(self, size: int, frame: bytes) -> bool:
        """Send a frame without credit; False when the outbox is full."""
        if self.policy in _NODE_DECIDES:
            return self.push(size, frame)
        if not self.has_room(size):
            return False
        self.messages += 1
        self._transport.write(frame)
        return True

    def has_room(self, size: int) -> bool:
        """Whether `push_unpaid` of a payload of `size` bytes would succeed."""
        return self.policy in _NODE_DECIDES or self._credit.has_room(size, self.waiting)

    def set_policy(self, policy: Policy) -> None:
        """Set the policy for a full outbox, from the next push on."""
        was, now = self.policy in _NODE_DECIDES, policy in _NODE_DECIDES
        self.flush()
        self.policy = policy
        self.push = {Policy.DROP_OLDEST: self._push_dropping, Policy.CLOSE: self._push_closing}.get(
            policy, self._push_paid
        )
        if policy is not Policy.WAIT:
            self._end_waiting("channel-full")
        if now and not was:
            self._credit.window += UNLIMITED
            self._owner.grant_credit(UNLIMITED)
        elif was and not now:
            waiting, spent = self.waiting, self._credit.spent
            self._credit = CreditWindow(self._window, spent=waiting)
            self._owner.grant_credit(spent - waiting - UNLIMITED)

    def when_room(self, size: int, reply: Reply) -> None:
        """Call `reply` once the worker has credit for a payload of `size` bytes.

        Args:
            size: bytes of the payload.
            reply: called with None, or with a `push-error`: `channel-full` when the policy is not to wait,
                `channel-not-found` when the channel closes first.
        """
        cost = push_cost(size)
        if self.policy in _NODE_DECIDES:
            reply(None)
        elif self.policy is not Policy.WAIT or cost > self._window:
            reply("channel-full")
        elif self._waiters or not self._make_room(cost, paid=True):
            self._wait(_Waiter(cost, reply, paid=True))
        else:
            reply(None)

    def may_wait(self, size: int) -> bool:
        """Whether a push without credit must wait, and may: at most `window` bytes wait."""
        cost = push_cost(size)
        full = bool(self._waiters) or not self.has_room(size)
        return self.policy is Policy.WAIT and full and self._unpaid_waiting + cost <= self._window

    def push_when_room(self, size: int, reply: Reply) -> None:
        """Like `when_room`, for a push without credit: `reply(None)` may call `push_now`. Ask `may_wait` first."""
        cost = push_cost(size)
        self._unpaid_waiting += cost
        self._wait(_Waiter(cost, reply, paid=False))

    def push_now(self, frame: bytes) -> None:
        """Send a frame that has waited for room."""
        self.messages += 1
        self._transport.write(frame)

    def _make_room(self, cost: int, *, paid: bool) -> bool:
        waiting = self.waiting
        if waiting > self._high and waiting + cost > self._window:
            return False
        spent = min(waiting, self._window - cost)
        if paid and spent < self._credit.spent:
            self._owner.grant_credit(self._credit.spent - spent)
            self._credit.spent = spent
        return True

    def _wait(self, waiter: _Waiter) -> None:
        if self._waiters is _NO_WAITERS:
            self._waiters = deque()
        self._waiters.append(waiter)

    def _next_waiter(self) -> Reply:
        waiter = self._waiters.popleft()
        if not waiter.paid:
            self._unpaid_waiting -= waiter.cost
        return waiter.reply

    def resume(self) -> None:
        """The socket's write buffer fell below its low-water mark."""
        while self._queue and self._transport.get_write_buffer_size() <= self._high:
            self._send_oldest()
        self.settle()
        while self._waiters and self._make_room(self._waiters[0].cost, paid=self._waiters[0].paid):
            self._next_waiter()(None)

    def settle(self) -> None:
        """Return credit for what has left the write buffer."""
        if self.policy not in _NODE_DECIDES:
            granted = self._credit.settle(self._transport.get_write_buffer_size())
            if granted:
                self._owner.grant_credit(granted)

    def flush(self) -> None:
        """Write the queue to the socket."""
        while self._queue:
            self._send_oldest()

    def reset(self) -> int:
        """Start over for a restarted process; returns its initial credit in bytes."""
        self.flush()
        self._waiters.clear()
        self._unpaid_waiting = 0
        waiting = min(self._window, self.waiting)
        self._credit = CreditWindow(self._window, spent=waiting)
        self.policy, self.push = Policy.REFUSE, self._push_paid
        return self._window - waiting

    def set_transport(self, transport: asyncio.WriteTransport) -> None:
        """Replace the socket."""
        self._transport = transport

    def break_cycle(self) -> None:
        """Drop the reference to itself. Not usable afterwards."""
        del self.push

    def end(self) -> None:
        """The channel is closed: flush the queue and fail those that wait."""
        self.flush()
        self._end_waiting("channel-not-found")

    def _end_waiting(self, why: str) -> None:
        while self._waiters:
            self._next_waiter()(why)

    def _send_oldest(self) -> None:
        cost, frame = self._queue.popleft()
        self._queued -= cost
        self._transport.write(frame)
