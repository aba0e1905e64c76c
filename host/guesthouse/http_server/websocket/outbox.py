"""What goes to one client: frames into its socket, and what happens when the client does not read them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from guesthouse.http_server.websocket.credit_window import CreditWindow, write_limits
from guesthouse.link.credit import push_cost

UNLIMITED: Final = 2**60
"""Bytes of credit that no worker spends: the node itself decides about every message."""

Reply: TypeAlias = Callable[[str | None], None]


class Policy(StrEnum):
    """What becomes of a push when the outbox of its channel is full."""

    REFUSE = "refuse"
    """The process is told `channel-full`."""
    WAIT = "wait"
    """A push that can wait does; one that cannot is refused."""
    DROP_OLDEST = "drop-oldest"
    """The messages that wait longest make room."""
    CLOSE = "close"
    """The channel is closed."""


_NODE_DECIDES: Final = (Policy.DROP_OLDEST, Policy.CLOSE)


class Owner(Protocol):
    """The channel."""

    def grant_credit(self, size: int) -> None:
        """The process may push so many more bytes; less when negative."""

    def too_slow(self) -> None:
        """Close it: the client reads too slowly."""

    def dropped(self) -> None:
        """A message made room for another."""


@dataclass(frozen=True, slots=True)
class _Waiter:
    """A push that waits for room; `paid` when the worker makes it then, with credit."""

    cost: int
    reply: Reply
    paid: bool


_NO_FRAMES: Final[deque[tuple[int, bytes]]] = deque()
_NOBODY: Final[deque[_Waiter]] = deque()
"""Stand for a channel's own until it needs them, and stay empty: a deque takes 760 bytes, and few channels wait."""


class Outbox:
    """The outgoing side of one channel. `push` is what a worker's credit pays for.

    Frames go into the socket's write buffer, which is the outbox. Only under `drop-oldest`, and only what
    is over the buffer's high mark, waits here instead, where it can still be dropped. The newest never is.
    """

    __slots__ = (
        "_account", "_high", "_owner", "_queue", "_queued", "_transport", "_unpaid_waiting", "_waiters", "_window",
        "messages", "policy", "push",
    )  # fmt: skip

    def __init__(self, owner: Owner, transport: asyncio.WriteTransport, window: int) -> None:
        self._owner = owner
        self._transport = transport
        self._window = window
        self._account = CreditWindow(window)
        self._high, _ = write_limits(window)
        self._queue = _NO_FRAMES
        self._queued = 0
        self._waiters = _NOBODY
        self._unpaid_waiting = 0
        self.messages = 0
        self.policy = Policy.REFUSE
        self.push: Callable[[int, bytes], bool] = self._push_paid

    @property
    def waiting(self) -> int:
        """Bytes that the client has not read."""
        return self._queued + self._transport.get_write_buffer_size()

    def _push_paid(self, size: int, frame: bytes) -> bool:
        """Send a frame whose payload has `size` bytes; False when the worker had not that much credit."""
        account = self._account
        if not account.take(size):
            return False
        self.messages += 1
        self._transport.write(frame)
        if account.spent >= account.batch:
            self.settle()
        return True

    def _push_dropping(self, size: int, frame: bytes) -> bool:
        cost = push_cost(size)
        self._account.spent += cost
        self.messages += 1
        buffered = self._transport.get_write_buffer_size()
        if not self._queue and buffered <= self._high:
            self._transport.write(frame)
            return True
        if self._queue is _NO_FRAMES:
            self._queue = deque()
        self._queue.append((cost, frame))
        self._queued += cost
        while len(self._queue) > 1 and buffered + self._queued > self._window:
            self._queued -= self._queue.popleft()[0]
            self._owner.dropped()
        return True

    def _push_closing(self, size: int, frame: bytes) -> bool:
        cost = push_cost(size)
        self._account.spent += cost
        if self._transport.get_write_buffer_size() + cost > self._window:
            self._owner.too_slow()
            return True
        self.messages += 1
        self._transport.write(frame)
        return True

    def push_unpaid(self, size: int, frame: bytes) -> bool:
        """Send a frame without credit; False when the outbox has no room."""
        if self.policy in _NODE_DECIDES:
            return self.push(size, frame)
        if not self.has_room(size):
            return False
        self.messages += 1
        self._transport.write(frame)
        return True

    def has_room(self, size: int) -> bool:
        """Whether `push_unpaid` of a payload of `size` bytes would succeed."""
        return self.policy in _NODE_DECIDES or self._account.has_room(size, self.waiting)

    def set_policy(self, policy: Policy) -> None:
        """Change what a full outbox means, from the next push on."""
        was, now = self.policy in _NODE_DECIDES, policy in _NODE_DECIDES
        self.flush()
        self.policy = policy
        self.push = {Policy.DROP_OLDEST: self._push_dropping, Policy.CLOSE: self._push_closing}.get(
            policy, self._push_paid
        )
        if policy is not Policy.WAIT:
            self._end_waiting("channel-full")
        if now and not was:
            self._account.window += UNLIMITED
            self._owner.grant_credit(UNLIMITED)
        elif was and not now:
            waiting, spent = self.waiting, self._account.spent
            self._account = CreditWindow(self._window, spent=waiting)
            self._owner.grant_credit(spent - waiting - UNLIMITED)

    def when_room(self, size: int, reply: Reply) -> None:
        """Call `reply` with None once the worker has credit for a payload of `size` bytes; with why not when
        the channel's policy is not to wait, or the channel is closed before.
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
        """Whether a push without credit has to wait and can: at most as much waits as the outbox holds."""
        cost = push_cost(size)
        full = bool(self._waiters) or not self.has_room(size)
        return self.policy is Policy.WAIT and full and self._unpaid_waiting + cost <= self._window

    def push_when_room(self, size: int, reply: Reply) -> None:
        """Call `reply` with None once it may `push_now`, and with why not as `when_room`; after `may_wait`."""
        cost = push_cost(size)
        self._unpaid_waiting += cost
        self._wait(_Waiter(cost, reply, paid=False))

    def push_now(self, frame: bytes) -> None:
        """Send a frame that waited for its room."""
        self.messages += 1
        self._transport.write(frame)

    def _make_room(self, cost: int, *, paid: bool) -> bool:
        waiting = self.waiting
        if waiting > self._high and waiting + cost > self._window:
            return False
        spent = min(waiting, self._window - cost)
        if paid and spent < self._account.spent:
            self._owner.grant_credit(self._account.spent - spent)
            self._account.spent = spent
        return True

    def _wait(self, waiter: _Waiter) -> None:
        if self._waiters is _NOBODY:
            self._waiters = deque()
        self._waiters.append(waiter)

    def _next_waiter(self) -> Reply:
        waiter = self._waiters.popleft()
        if not waiter.paid:
            self._unpaid_waiting -= waiter.cost
        return waiter.reply

    def resume(self) -> None:
        """The client read most of what was waiting for it."""
        while self._queue and self._transport.get_write_buffer_size() <= self._high:
            self._send_oldest()
        self.settle()
        while self._waiters and self._make_room(self._waiters[0].cost, paid=self._waiters[0].paid):
            self._next_waiter()(None)

    def settle(self) -> None:
        """Give back credit for what the client has read."""
        if self.policy not in _NODE_DECIDES:
            granted = self._account.settle(self._transport.get_write_buffer_size())
            if granted:
                self._owner.grant_credit(granted)

    def flush(self) -> None:
        """Hand to the socket what still waits here."""
        while self._queue:
            self._send_oldest()

    def begin_anew(self) -> int:
        """The process was started again: returns the credit that it begins with."""
        self.flush()
        self._waiters.clear()
        self._unpaid_waiting = 0
        waiting = min(self._window, self.waiting)
        self._account = CreditWindow(self._window, spent=waiting)
        self.policy, self.push = Policy.REFUSE, self._push_paid
        return self._window - waiting

    def move_to(self, transport: asyncio.WriteTransport) -> None:
        """Write to another from now on."""
        self._transport = transport

    def let_go(self) -> None:
        """It is used no more: it refers to itself no more."""
        del self.push

    def end(self) -> None:
        """The channel is closed: what was pushed is still sent."""
        self.flush()
        self._end_waiting("channel-not-found")

    def _end_waiting(self, why: str) -> None:
        while self._waiters:
            self._next_waiter()(why)

    def _send_oldest(self) -> None:
        cost, frame = self._queue.popleft()
        self._queued -= cost
        self._transport.write(frame)
