"""Who runs next. One thread, any number of guests, none of which can hold the others up.

A guest is polled when what it waited for is there. One whose time slice ended before it was done is
pre-empted: those take turns, one a round, behind all that were woken. So a guest that computes for
ever costs the others at most one slice.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from time import monotonic, perf_counter, thread_time
from typing import Final

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.wasm.engine.epoch_timer import ROUND_SECONDS, SHORT_SECONDS
from guesthouse.wasm.errors import GuestTrap
from guesthouse.worker.guest import Guest, WaitingFor

_LONG: Final = 0.001
"""Seconds of a slice from which on it is worth system calls: to learn how much of it was on a CPU, and to let go what
was said.
"""

FARTHEST: float = 365 * 24 * 3600.0
"""Seconds: a sleep beyond it is one of this length (then the guest sees that it is not over)."""
_SLACK: Final = 1024
"""Sleepers that are not looked through for such as ended."""


class Scheduler:
    """Polls guests. `ended` is told of each that ends, with why;
    `was_preempted`, with what `perf_counter` read at its begin and how long it was, of each slice that ended before
    the guest was done, or would have in a round while guests compute for long: else one that always waits for
    something just before the next of few ticks would have ten times as much as others. `took_long` is called after
    each long slice: what the guest said then, and those before it, should not wait for those behind it.
    """

    def __init__(
        self,
        ended: Callable[[Guest, GuestTrap], None],
        was_preempted: Callable[[float, float], None],
        took_long: Callable[[], None],
    ) -> None:
        self._ended = ended
        self._was_preempted = was_preempted
        self._took_long = took_long
        self._woken: deque[Guest] = deque()
        self._preempted: deque[Guest] = deque()
        self._sleepers: list[tuple[float, int, Guest]] = []
        self._compact_at = _SLACK
        self._held: list[tuple[float, int, Guest]] = []
        self._tie = count()
        self._was_quick = False
        self._cpu = thread_time()

    def wake(self, guest: Guest) -> None:
        """Poll it in the next round."""
        if not guest.queued:
            guest.queued = True
            self._woken.append(guest)

    def wake_at(self, guest: Guest, when: float) -> None:
        """Wake it from its sleep when the monotonic clock reads `when`."""
        when = min(monotonic() + FARTHEST, when)  # in this order it is never what is no number
        if len(self._sleepers) >= self._compact_at:  # those that ended in their sleep are dropped
            self._sleepers = [entry for entry in self._sleepers if not entry[2].gone]
            heapq.heapify(self._sleepers)
            self._compact_at = 2 * len(self._sleepers) + _SLACK
        heapq.heappush(self._sleepers, (when, next(self._tie), guest))

    def wait_seconds(self) -> float | None:
        """How long nothing will happen unless the link brings something; None is for ever."""
        if self._woken or self._preempted:
            return 0.0
        while self._sleepers and self._sleepers[0][2].waiting is not WaitingFor.TIME:
            heapq.heappop(self._sleepers)  # ended while it slept
        nearest = min((queue[0][0] for queue in (self._sleepers, self._held) if queue), default=None)
        return None if nearest is None else max(0.0, nearest - monotonic())

    def run_round(self) -> None:
        """Give every woken guest, and one pre-empted, its slice."""
        self.run_woken()
        self.run_preempted()

    def run_woken(self) -> bool:
        """Give every woken guest its slice; returns whether there was one that was done soon."""
        self._wake_sleepers()
        self._release_held()
        self._was_quick = False
        for _ in range(len(self._woken)):
            self._run(self._woken.popleft())
        return self._was_quick

    @property
    def preempted(self) -> Guest | None:
        """Who `run_preempted` gives a slice."""
        return self._preempted[0] if self._preempted else None

    def run_preempted(self) -> None:
        """Give one pre-empted guest its slice."""
        if self._preempted:
            self._run(self._preempted.popleft())

    def end(self, guest: Guest, trap: GuestTrap) -> None:
        """End a guest wherever it is, and tell `ended` why."""
        guest.waiting = WaitingFor.NOTHING
        self._drop(guest, trap)

    def _wake_sleepers(self) -> None:
        if not self._sleepers:
            return
        now = monotonic()
        while self._sleepers and self._sleepers[0][0] <= now:
            heapq.heappop(self._sleepers)[2].wake_from_sleep()

    def _on_cpu(self, seconds: float) -> float:
        """Of the seconds that a slice took, those that this worker had a CPU for, or a few more: what it used since
        this was asked last. On a busy machine much of a slice may be others'.
        """
        before, self._cpu = self._cpu, thread_time()
        return min(seconds, self._cpu - before)

    def _hold_back(self, guest: Guest) -> bool:
        """Leave a guest alone that used more than its budget, until it is within it; returns whether it is held."""
        now = monotonic()
        seconds, text = guest.budget.hold_seconds(guest.cpu_seconds, guest.fiber.calls, now)
        if text is not None:
            guest.log.warn(text)
        if seconds:
            guest.queued = True  # what wakes it meanwhile leaves it where it is
            heapq.heappush(self._held, (now + seconds, next(self._tie), guest))
        return seconds > 0

    def _release_held(self) -> None:
        if not self._held:
            return
        now = monotonic()
        while self._held and self._held[0][0] <= now:
            self._preempted.append(heapq.heappop(self._held)[2])

    def _run(self, guest: Guest) -> None:
        guest.queued = False
        if guest.gone:
            return
        begin = perf_counter()
        try:
            step_over = guest.fiber.poll()
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
        if guest.budget.is_used_up(guest.cpu_seconds, guest.fiber.calls) and self._hold_back(guest):
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
        """The guest was instantiated (then it starts), or its run function returned (then it is over)."""
        if guest.fiber.started:
            raise GuestTrap(ExitCause.RETURNED, "its run function returned")
        guest.fiber.start(*guest.arguments())

    def _drop(self, guest: Guest, trap: GuestTrap) -> None:
        guest.gone = True
        if trap.cause == ExitCause.TRAP:
            had, limit = guest.fiber.memory_bytes(), guest.limits.memory_bytes
            if had > limit - limit // 16 - WASM_PAGE:
                detail = f"its memory was full ({had} of {limit} bytes): {trap.detail}"
                trap = GuestTrap(ExitCause.OUT_OF_MEMORY, detail, trap.trace)
        guest.fiber.drop()
        self._ended(guest, trap)


def _overrun(guest: Guest) -> str:
    limits = guest.limits
    if guest.serves:
        return f"it computed for over {limits.cpu_seconds_per_message:g} s on one message"
    return f"it computed for over {limits.start_seconds:g} s before it asked for a message"
