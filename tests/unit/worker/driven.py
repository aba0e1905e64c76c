"""A scheduler whose time a test drives."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

import pytest

from guesthouse.core.address import Address
from guesthouse.link.to_worker import GuestLimits
from guesthouse.wasm.engine.fiber import Fiber
from guesthouse.wasm.errors import GuestTrap
from guesthouse.worker import guest as guest_module
from guesthouse.worker import scheduler
from guesthouse.worker.guest import Guest, WaitingFor
from guesthouse.worker.link import LinkWriter
from guesthouse.worker.scheduler import Scheduler

from .process import LIMITS, OUR


class Driven:
    """A scheduler and one guest whose every slice takes as much as a test says, by a clock of its own."""

    def __init__(self, patch: pytest.MonkeyPatch, link: socket.socket, **limits: Any) -> None:
        self.now = 1024.0
        self.on_cpu = 0.0
        self.calls = 0
        """Of the guest: what the scheduler asks of its fiber is asked of this object."""
        self.spend: Callable[[], None] = lambda: None
        self.ended: list[GuestTrap] = []
        self.polls = 0
        self.preempted: list[float] = []
        """How long the slices were that the ticker hears of."""
        self.let_go = 0
        """How often what was said is let go between slices."""
        for module, clocks in ((scheduler, ("monotonic", "perf_counter")), (guest_module, ("monotonic",))):
            for clock in clocks:
                patch.setattr(module, clock, lambda: self.now)
        patch.setattr(scheduler, "thread_time", lambda: self.on_cpu)
        self.scheduler = Scheduler(
            lambda _, trap: self.ended.append(trap),
            lambda _, spent: self.preempted.append(spent),
            self._let_go,
        )
        known = {name: {**LIMITS, **limits}[name] for name in GuestLimits.__struct_fields__}
        self.guest = Guest(
            1, Address.parse(OUR), GuestLimits(**known), "none", LinkWriter(link), self.scheduler
        )
        self.guest.fiber = cast(Fiber, self)
        self.guest.waiting = WaitingFor.TIME

    def poll(self) -> bool:
        """See `Fiber`."""
        self.polls += 1
        self.spend()
        return False

    def drop(self) -> None:
        """See `Fiber`."""

    def _let_go(self) -> None:
        self.let_go += 1

    def run_slice(self, *, seconds: float = 0.0, elsewhere: float = 0.0, calls: int = 0) -> None:
        """Let the guest run once, and use that much, while the machine is `elsewhere` for so many seconds more."""

        def spend() -> None:
            self.now += seconds + elsewhere
            self.on_cpu += seconds
            self.calls += calls

        self.spend = spend
        self.scheduler.wake(self.guest)
        self.scheduler.run_round()
        self.spend = lambda: None

    def is_held(self, seconds: float) -> bool:
        """Whether the guest is left alone for exactly so long, and then runs again; else it is not held at all."""
        if self.scheduler.wait_seconds() is None:
            return False
        assert self.scheduler.wait_seconds() == seconds
        before = self.polls
        self.scheduler.run_round()
        assert self.polls == before
        self.now += seconds
        self.scheduler.run_round()
        assert self.polls == before + 1
        return True
