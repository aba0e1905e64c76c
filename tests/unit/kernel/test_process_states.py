"""The states of a process: every order of events, beside a model of what must hold."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.examples import examples

from guesthouse.core.config import RestartSettings
from guesthouse.core.exit_cause import CAUSES, ExitCause
from guesthouse.kernel.supervision.backoff import Backoff
from guesthouse.kernel.supervision.process_states import (
    START_ATTEMPTS,
    End,
    Ended,
    GiveUp,
    Lifecycle,
    Next,
    Pausing,
    Purpose,
    RunAfter,
    RunAgain,
    Running,
    Starting,
    Stopping,
    Waiting,
)

SETTINGS = RestartSettings(first_delay=0.5, longest_delay=4.0, healthy_after=60)
WORKER: Any = object()
VERSION: Any = object()
ALL_CAUSES = sorted({*CAUSES, ExitCause.WORKER_LOST})
SELDOM = st.integers(0, 9).map(lambda number: number == 9)  # what ends most lives at once


class Timer:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Lives(RuleBasedStateMachine):
    """One process, whatever happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.life = Lifecycle(Backoff(SETTINGS))
        self.timer = Timer()
        self.purposes: list[Purpose] = []
        """Why its run was told to stop, in order."""
        self.lost = 0
        """Workers that died under a component that had not asked for a message, one after the other."""
        self.over: asyncio.Future[None] | None = None

    def teardown(self) -> None:
        self.loop.close()

    @precondition(lambda self: self.life.is_ending and self.life.worker is None)
    @rule(strict=st.booleans())
    def is_added_again(self, strict: bool) -> None:
        self.life, self.lost = Lifecycle(Backoff(SETTINGS)), 0
        self.life.strict = strict

    @precondition(lambda self: isinstance(self.life.state, Waiting | Pausing))
    @rule(there_is_a_worker=st.booleans())
    def run_is_due(self, there_is_a_worker: bool) -> None:
        pausing = isinstance(self.life.state, Pausing)
        if there_is_a_worker:
            self.life.begin(WORKER)
            assert isinstance(self.life.state, Starting)
        else:
            self.life.wait()
            assert isinstance(self.life.state, Waiting)
        assert self.timer.cancelled or not pausing

    @rule()
    def asks_for_a_message(self) -> None:
        counts = isinstance(self.life.state, Starting)
        assert self.life.asked() == counts
        if counts:
            assert not self.life.awaited
            assert self.life.fallback is None
            self.lost = 0

    @precondition(lambda self: self.life.worker is not None)
    @rule(purpose=st.sampled_from(Purpose))
    def is_told_to_stop(self, purpose: Purpose) -> None:
        self.purposes.append(purpose)

        async def stop() -> asyncio.Future[None]:
            return self.life.stop(purpose)

        over = self.loop.run_until_complete(stop())
        assert self.over in (None, over), "all wait for the same end"
        self.over = over

    @precondition(lambda self: not self.life.is_ending)
    @rule(replaced=st.booleans())
    def is_restarted_or_replaced(self, replaced: bool) -> None:
        if not self.life.awaited:
            self.lost = 0
        self.life.expect_start(Backoff(SETTINGS))
        if replaced:
            self.life.fallback = VERSION
        if self.life.worker is not None:
            self.is_told_to_stop(Purpose.RUN_AGAIN)

    @precondition(lambda self: self.life.worker is not None)
    @rule(
        cause=st.just(ExitCause.WORKER_LOST) | st.sampled_from(ALL_CAUSES),
        ran=st.floats(0, 100),
        restarts=SELDOM.map(lambda seldom: not seldom),
        closing=SELDOM,
    )
    def run_ends(self, cause: str, ran: float, restarts: bool, closing: bool) -> None:
        life = self.life
        awaited, fallback = life.awaited, life.fallback
        follows = life.run_ended(cause, ran, restarts=restarts, closing=closing)
        assert life.state == Waiting()
        if self.over is not None:
            assert self.over.done()
        told = max(self.purposes, default=None)
        self.purposes, self.over = [], None
        if closing or told is Purpose.END:
            assert follows == End(stopped=True)
        elif told is Purpose.RUN_AGAIN:
            assert follows == RunAgain()
        elif told is Purpose.GIVE_UP:
            assert follows == GiveUp(overdue=True)
        else:
            self.lost += awaited and cause == ExitCause.WORKER_LOST
            self.failed_or_returned(follows, cause, awaited, fallback is not None, restarts)
        self.carry_out(follows, cause)

    def failed_or_returned(
        self, follows: Next, cause: str, awaited: bool, fallback: bool, restarts: bool
    ) -> None:
        gives_up = isinstance(follows, GiveUp)
        if not awaited:
            assert not gives_up, "what has asked for a message is not given up"
        elif cause == ExitCause.NOT_STARTED:
            assert gives_up
        elif cause == ExitCause.WORKER_LOST:
            assert gives_up or self.lost < START_ATTEMPTS
        elif fallback:
            assert gives_up, "there is a version to go back to"
        if not gives_up:
            assert isinstance(follows, RunAgain | RunAfter) == restarts
        if isinstance(follows, RunAfter):
            assert SETTINGS.first_delay <= follows.seconds <= SETTINGS.longest_delay

    def carry_out(self, follows: Next, cause: str) -> None:
        """As the supervisor does."""
        life = self.life
        match follows:
            case RunAfter():
                self.timer = Timer()
                life.pause(cast(asyncio.TimerHandle, self.timer))
            case GiveUp() if life.fallback is not None:
                life.fallback, life.awaited, self.lost = None, False, 0
            case GiveUp() | End():
                life.end(cause)

    @precondition(lambda self: isinstance(self.life.state, Waiting | Pausing))
    @rule(seldom=SELDOM)
    def is_stopped_between_runs(self, seldom: bool) -> None:
        if not seldom:
            return
        pausing = isinstance(self.life.state, Pausing)
        self.life.end(ExitCause.STOPPED)
        assert self.timer.cancelled or not pausing

    @invariant()
    def nothing_follows_an_end(self) -> None:
        if isinstance(self.life.state, Ended):
            assert self.life.is_ending
            assert self.life.state.cause in {*ALL_CAUSES, ExitCause.STOPPED, ExitCause.WORKER_LOST}
            assert self.life.worker is None
            with pytest.raises(RuntimeError):
                self.life.begin(WORKER)

    @invariant()
    def a_worker_is_there_with_a_run_alone(self) -> None:
        has_run = isinstance(self.life.state, Starting | Running | Stopping)
        assert (self.life.worker is WORKER) == has_run
        if has_run:
            with pytest.raises(RuntimeError):
                self.life.begin(WORKER)

    @invariant()
    def what_has_asked_for_a_message_has_nothing_to_go_back_to(self) -> None:
        if isinstance(self.life.state, Running):
            assert self.life.fallback is None or self.life.awaited


Lives.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=40, deadline=None)
TestLives = Lives.TestCase


def test_who_was_told_to_end_ends_whatever_else_it_was_told() -> None:
    for others in ([Purpose.KILL], [Purpose.RUN_AGAIN, Purpose.GIVE_UP], list(Purpose)):

        async def told(purposes: list[Purpose]) -> Next:
            life = Lifecycle(Backoff(SETTINGS))
            life.begin(WORKER)
            for purpose in purposes:
                life.stop(purpose)
            return life.run_ended(ExitCause.TRAP, 1.0, restarts=True, closing=False)

        assert asyncio.run(told([Purpose.END, *others])) == End(stopped=True)
        assert asyncio.run(told([*others, Purpose.END])) == End(stopped=True)


def test_a_component_that_has_not_asked_is_given_up_with_its_third_worker() -> None:
    life = Lifecycle(Backoff(SETTINGS))
    follows: list[Next] = []
    for _ in range(START_ATTEMPTS):
        life.begin(WORKER)
        follows.append(life.run_ended(ExitCause.WORKER_LOST, 1.0, restarts=True, closing=False))
    assert follows == [RunAgain()] * (START_ATTEMPTS - 1) + [GiveUp(overdue=False)]


def test_one_that_has_asked_is_not_given_up_however_many_workers_it_loses() -> None:
    life = Lifecycle(Backoff(SETTINGS))
    for _ in range(2 * START_ATTEMPTS):
        life.begin(WORKER)
        assert life.asked()
        assert life.run_ended(ExitCause.WORKER_LOST, 1.0, restarts=True, closing=False) == RunAgain()
