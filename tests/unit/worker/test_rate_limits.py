"""What a guest may use each second: over it, it waits; under it, nothing is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire import ToNode

from guesthouse.link.usage import Usage
from guesthouse.worker.limits.rate import BURST_SECONDS, SAY_EVERY_SECONDS, RateLimits, TokenBucket

from .guests import ECHO, HOG, PUSH_CHANNEL, RECEIVE, RECEIVE_FOR_EVER, SCRATCH, process
from .process import Worker

CALLS = 50_000
STORM = process(
    ("messaging.receive", "messaging.has-blob", "http-server.send-ws-text"),
    f"""(local i32) {RECEIVE} {RECEIVE} (local.set 8 (i32.const {CALLS}))
      (loop $again (drop (call $has-blob)) (br_if $again (local.tee 8 (i32.sub (local.get 8) (i32.const 1)))))
      (call $send-ws-text {PUSH_CHANNEL} (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))
      {RECEIVE_FOR_EVER}""",
)
"""Makes many calls once it gets a message, then says that it has."""


def test_an_allowance_waits_for_no_more_and_no_less_than_its_rate() -> None:
    allowance = TokenBucket(64.0, now=0.0)
    assert allowance.enough == 64.0 * BURST_SECONDS
    assert allowance.wait_seconds(64.0, now=0.0) == 0.0
    assert allowance.wait_seconds(96.0, now=0.0) == 0.5
    assert allowance.wait_seconds(96.0, now=0.25) == 0.25
    assert allowance.wait_seconds(96.0, now=0.5) == 0.0


def test_what_was_not_used_is_saved_up_to_a_burst() -> None:
    allowance = TokenBucket(64.0, now=0.0)
    assert allowance.wait_seconds(64.0, now=1000.0) == 0.0
    assert allowance.enough == 128.0


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.floats(0, 3)),
        min_size=1,
        max_size=60,
    )
)
def test_on_average_no_more_is_used_than_the_rate_and_what_was_saved(
    slices: list[tuple[float, float]],
) -> None:
    """A guest that is polled whenever it may be, uses something each time, and waits when it is told to."""
    rate, total, now, largest = 0.5, 0.0, 0.0, 0.0
    allowance = TokenBucket(rate, now)
    for used, idle in slices:
        now += idle
        total += used
        largest = max(largest, used)
        if total >= allowance.enough:
            now += allowance.wait_seconds(total, now)
    assert total <= rate * (now + BURST_SECONDS) + largest + 1e-6


def test_a_budget_is_looked_at_only_when_it_may_be_used_up() -> None:
    budget = RateLimits(0.5, 1000, now=0.0)
    assert not budget.is_used_up(0.4999, 999)
    assert budget.is_used_up(0.5, 0)
    assert budget.is_used_up(0.0, 1000)
    assert budget.hold_seconds(0.0, 999, now=0.0) == (0.0, None)


@pytest.mark.parametrize(
    ("cpu_seconds", "calls", "said"),
    [
        (1.0, 0, "it uses over 50.0% of its worker's time: it is throttled to that (process.cpu_share)"),
        (
            0.0,
            1500,
            "it makes over 1000 host calls a second: it is throttled to that (process.host_calls_per_second)",
        ),
    ],
)
def test_the_log_says_which_budget_is_over_and_then_not_again_for_a_while(
    cpu_seconds: float, calls: int, said: str
) -> None:
    budget = RateLimits(0.5, 1000, now=0.0)
    seconds, text = budget.hold_seconds(cpu_seconds, calls, now=0.0)
    assert seconds > 0
    assert text == said
    assert budget.hold_seconds(2 * cpu_seconds, 2 * calls, now=1.0)[1] is None
    assert budget.held_seconds > seconds
    assert budget.hold_seconds(200 * cpu_seconds, 200 * calls, now=SAY_EVERY_SECONDS)[1] == said


@pytest.mark.slow
def test_a_guest_that_storms_the_host_with_calls_is_held_back_and_not_ended(worker: Worker) -> None:
    guest = worker.start(STORM, host_calls_per_second=20_000).started()
    guest.open(1)
    guest.push(1, b"storm")
    neighbour = worker.start(ECHO).started()
    neighbour.open(2)
    neighbour.push(2, b"still here")
    assert neighbour.pushed(2) == b"still here"
    guest.pushed(1)
    assert any("over 20000 host calls a second" in line for line in guest.log())


@pytest.mark.slow
def test_a_guest_that_computes_for_ever_leaves_its_worker_the_rest_of_each_second(own_worker: Worker) -> None:
    hog = own_worker.start(HOG, cpu_share=0.05)
    assert hog.expect(ToNode.LOG)[2].startswith("it uses over 5.0% of its worker's time")
    usage = Usage()
    while usage.held_seconds < 1.0:
        usage = Usage(*own_worker.expect(ToNode.USAGE)[1][hog.handle])
    assert 0.05 < usage.cpu_seconds < usage.held_seconds / 2
    echo = own_worker.start(ECHO).started()
    echo.open(2)
    echo.push(2, b"still here")
    assert echo.pushed(2) == b"still here"


def test_a_guest_that_is_held_back_is_stopped_at_once(own_worker: Worker) -> None:
    hog = own_worker.start(HOG, cpu_share=0.001)
    hog.expect(ToNode.LOG)
    assert hog.stop()[1] == "the test is over"


@pytest.mark.slow
def test_a_message_for_a_guest_that_is_held_back_waits_and_is_not_lost(worker: Worker) -> None:
    """Each message costs three calls, so that most of them are over the budget."""
    guest = worker.start(ECHO, host_calls_per_second=300).started()
    guest.open(1)
    for number in range(250):
        text = str(number).encode()
        guest.push(1, text)
        assert guest.pushed(1) == text
    assert any("over 300 host calls a second" in line for line in guest.log())
