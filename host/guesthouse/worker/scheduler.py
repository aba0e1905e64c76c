"""Schedules any number of guests on one thread, so that none blocks the others.

A guest is polled when what it waited for is there. One whose time slice ended before it was done is
pre-empted; pre-empted guests run one per round, after all woken ones. So a CPU-bound guest delays the
others by at most one slice.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from time import monotonic, perf_counter, thread_time
from typing import Final

from guesthouse.core.exit_cause import ExitCause
from guesthouse.core.timing.clock import Clock
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.wasm.engine.epoch_timer import ROUND_SECONDS, SHORT_SECONDS
from guesthouse.wasm.errors import GuestTrap
from guesthouse.worker.guest import Guest, WaitingFor

_LONG: Final = 0.001
"""Seconds of a slice above which system calls pay off: to measure its CPU time, and to flush the guest's
output.
"""

MOST_BATCHES: Final = 4096
"""Guests of a worker that have a batch at a time. Each takes two of its 65,530 mappings, and 4 GiB of addresses."""
FARTHEST: float = 365 * 24 * 3600.0
"""Seconds: the longest sleep at a time; a longer one is continued."""
_SLACK: Final = 1024
"""Entries of the sleep queue that are not searched for ended guests."""


class Scheduler:
    """Polls guests.

    Args:
        ended: called with each guest that ends, and why.
        was_preempted: called with start (`perf_counter`) and length of each slice that ended before the guest was done,
            or would have while there are CPU-bound guests: a guest that always blocks
            just before one of the slow ticks would otherwise get ten times as much as others.
        took_long: called after each long slice, to send output that should not wait for the next guests.
        clock: the time that guests see and sleep by.
    """

    def __init__(
        self,
        ended: Callable[[Guest, GuestTrap], None],
        was_preempted: Callable[[float, float], None],
        took_long: Callable[[], None],
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self._ended = ended
        self._was_preempted = was_preempted
        self._took_long = took_long
        self._woken: deque[Guest] = deque()
        self._preempted: deque[Guest] = deque()
        self._sleepers: list[tuple[float, int, Guest]] = []
        self._compact_at = _SLACK
        self._throttled: list[tuple[float, int, Guest]] = []
        self._wanting: list[Guest] = []
        self._batches = 0
        self._tie = count()
        self._was_quick = False
        self._cpu = thread_time()

    def wake(self, guest: Guest) -> None:
        """Poll it in the next round."""
        if not guest.queued:
            guest.queued = True
            self._woken.append(guest)

    def want_batch(self, guest: Guest) -> None:
        """Make its batch once it is not running."""
        self._wanting.append(guest)

    def wake_at(self, guest: Guest, when: float) -> None:
        """Wake it from its sleep at that time of the monotonic clock."""
        when = min(self.clock.monotonic() + FARTHEST, when)  # in this order never NaN
        if len(self._sleepers) >= self._compact_at:  # drop ended ones
            self._sleepers = [entry for entry in self._sleepers if not entry[2].gone]
            heapq.heapify(self._sleepers)
            self._compact_at = 2 * len(self._sleepers) + _SLACK
        heapq.heappush(self._sleepers, (when, next(self._tie), guest))

    def wait_seconds(self) -> float | None:
        """Seconds until the next timer; None if there is none."""
        if self._woken or self._preempted:
            return 0.0
        while self._sleepers and self._sleepers[0][2].waiting is not WaitingFor.TIME:
            heapq.heappop(self._sleepers)  # ended while it slept
        seconds = self.clock.seconds_until(self._sleepers[0][0]) if self._sleepers else None
        if self._throttled:
            until = max(0.0, self._throttled[0][0] - monotonic())
            seconds = until if seconds is None else min(seconds, until)
        return seconds

    @property
    def at_rest(self) -> bool:
        """Whether nothing is to be run before a message comes, or a sleeper's time."""
        return not (self._woken or self._preempted or self._throttled)

    @property
    def next_wake(self) -> float | None:
        """When the next sleeper wakes, by the monotonic clock."""
        times = (when for when, _, guest in self._sleepers if guest.waiting is WaitingFor.TIME)
        return min(times, default=None)

    def run_round(self) -> None:
        """Run every woken guest, and one pre-empted one."""
        self.run_woken()
        self.run_preempted()

    def run_woken(self) -> bool:
        """Run every woken guest; returns whether one finished quickly."""
        if self._sleepers:
            self._wake_sleepers()
        if self._throttled:
            self._release_throttled()
        self._was_quick = False
        for _ in range(len(self._woken)):
            self._run(self._woken.popleft())
        if self._wanting:
            self._make_batches()
        return self._was_quick

    @property
    def preempted(self) -> Guest | None:
        """The guest that `run_preempted` will run."""
        return self._preempted[0] if self._preempted else None

    def run_preempted(self) -> None:
        """Run one pre-empted guest."""
        if self._preempted:
            self._run(self._preempted.popleft())

    def end(self, guest: Guest, trap: GuestTrap) -> None:
        """End a guest in any state, and call `ended`."""
        guest.waiting = WaitingFor.NOTHING
        self._drop(guest, trap)

    def _make_batches(self) -> None:
        wanting, self._wanting = self._wanting, []
        for guest in wanting:
            if self._batches < MOST_BATCHES:
                guest.make_batch()
                self._batches += guest.batch is not None
            else:
                guest.may_batch = True  # some may end

    def _wake_sleepers(self) -> None:
        now = self.clock.monotonic()
        while self._sleepers and self._sleepers[0][0] <= now:
            heapq.heappop(self._sleepers)[2].wake_from_sleep()

    def _on_cpu(self, seconds: float) -> float:
        """The CPU time of a slice, measured since the last call and so possibly slightly more. On a busy machine the
        worker may not have a CPU for much of a slice.
        """
        before, self._cpu = self._cpu, thread_time()
        return min(seconds, self._cpu - before)

    def _throttle(self, guest: Guest) -> bool:
        """Throttle a guest that exceeds its rate limits until it is within them; returns whether it is throttled."""
        now = monotonic()
        seconds, text = guest.budget.hold_seconds(guest.cpu_seconds, guest.fiber.calls, now)
        if text is not None:
            guest.log.warn(text)
        if seconds:
            guest.queued = True  # so that waking does not queue it again
            heapq.heappush(self._throttled, (now + seconds, next(self._tie), guest))
        return seconds > 0

    def _release_throttled(self) -> None:
        now = monotonic()
        while self._throttled and self._throttled[0][0] <= now:
            self._preempted.append(heapq.heappop(self._throttled)[2])

    def _run(self, guest: Guest) -> None:
        guest.queued = False
        if guest.gone:
            return
        begin = perf_counter()
        try:
            step_over = guest.fiber.poll()
            if guest.batch is not None and guest.fiber.before_call is not None:
                guest.batch.after_slice()
            if step_over:
                self._next_step(guest)
        except GuestTrap as trap:
            self._drop(guest, trap)
            return
        spent = perf_counter() - begin
        if spent > _LONG:
            self._took_long()
            spent = self._on_cpu(spent)
        guest.cpu_seconds += spent
        guest.slice_budget -= spent
        if guest.slice_budget < 0 and guest.waiting is not WaitingFor.MESSAGE:
            self._drop(guest, GuestTrap(ExitCause.OUT_OF_TIME, _overrun(guest)))
            return
        if guest.budget.is_used_up(guest.cpu_seconds, guest.fiber.calls) and self._throttle(guest):
            return
        if step_over or guest.waiting is WaitingFor.NOTHING:
            self._was_preempted(begin, spent)
            guest.queued = True
            self._preempted.append(guest)
        elif spent < SHORT_SECONDS:
            self._was_quick = True
        elif spent > ROUND_SECONDS:
            self._was_preempted(begin, spent)

    def _next_step(self, guest: Guest) -> None:
        """The guest was instantiated (start it), or its run function returned (it has ended)."""
        if guest.fiber.started:
            raise GuestTrap(ExitCause.RETURNED, "its run function returned")
        guest.fiber.start(*guest.arguments())

    def _drop(self, guest: Guest, trap: GuestTrap) -> None:
        guest.gone = True
        if guest.batch is not None and guest.fiber.before_call is not None:
            try:
                guest.batch.after_slice()
            except GuestTrap as earlier:  # what it had sent before it ended
                trap = earlier
        if trap.cause == ExitCause.TRAP:
            had, limit = guest.fiber.memory_bytes(), guest.limits.memory_bytes
            if had > limit - limit // 16 - WASM_PAGE:
                detail = f"its memory was full ({had} of {limit} bytes): {trap.detail}"
                trap = GuestTrap(ExitCause.OUT_OF_MEMORY, detail, trap.trace)
        self._batches -= guest.batch is not None
        guest.fiber.drop()
        self._ended(guest, trap)


def _overrun(guest: Guest) -> str:
    limits = guest.limits
    if guest.serves:
        return f"it used over {limits.cpu_seconds_per_message:g} s of CPU on one message"
    return f"it used over {limits.start_seconds:g} s of CPU before it asked for a message"
