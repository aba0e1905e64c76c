"""What follows from how long a slice was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from guesthouse.wasm.engine.epoch_timer import ROUND_SECONDS, SHORT_SECONDS
from guesthouse.worker.guest import WaitingFor

from .driven import Driven

QUICK: Final = 2.0**-12
SLOW: Final = 2.0**-11
LONG: Final = 2.0**-9
TOO_LONG: Final = 2.0**-8
"""Seconds; binary fractions, as sums of them are exact."""


def run_woken(stage: Driven, seconds: float) -> bool:
    def spend() -> None:
        stage.now += seconds
        stage.on_cpu += seconds

    stage.spend = spend
    stage.scheduler.wake(stage.guest)
    return stage.scheduler.run_woken()


@pytest.mark.parametrize("seconds", [QUICK, SLOW, LONG])
def test_a_guest_counts_as_quick_when_it_waits_again_within_a_short_slice(
    driven: Callable[..., Driven], seconds: float
) -> None:
    assert QUICK < SHORT_SECONDS < SLOW
    assert run_woken(driven(), seconds) is (seconds == QUICK)


def test_a_guest_that_was_not_done_is_not_quick_and_goes_on_later(driven: Callable[..., Driven]) -> None:
    stage = driven()
    stage.guest.waiting = WaitingFor.NOTHING
    assert not run_woken(stage, QUICK)
    assert stage.scheduler.preempted is stage.guest
    stage.scheduler.run_preempted()
    assert stage.polls == 2


@pytest.mark.parametrize("seconds", [QUICK, SLOW, LONG, TOO_LONG])
@pytest.mark.parametrize("done", [True, False])
def test_a_long_slice_makes_ticks_fast_though_the_guest_waited_before_the_next_one(
    seconds: float, done: bool, driven: Callable[..., Driven]
) -> None:
    assert LONG < ROUND_SECONDS < TOO_LONG
    stage = driven()
    if not done:
        stage.guest.waiting = WaitingFor.NOTHING
    run_woken(stage, seconds)
    assert stage.preempted == ([] if done and seconds != TOO_LONG else [seconds])


def test_that_one_was_quick_is_forgotten_by_the_next_round(driven: Callable[..., Driven]) -> None:
    stage = driven()
    assert run_woken(stage, QUICK)
    assert not stage.scheduler.run_woken()
    assert stage.scheduler.preempted is None


@pytest.mark.parametrize("seconds", [QUICK, SLOW, LONG])
def test_what_was_said_waits_for_the_end_of_the_round_unless_a_slice_was_long(
    driven: Callable[..., Driven], seconds: float
) -> None:
    stage = driven()
    run_woken(stage, seconds)
    assert stage.let_go == (seconds == LONG)
