"""The clock of a node for tests: nothing is due before it is moved there, and then nothing is missed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guesthouse.controlled_node.stopped_clock import TICKS, StoppedClock, ticks

DELAYS = (
    st.floats(0, 10**8)
    | st.integers(0, 10**8)
    | st.integers(0, 10**6).map(lambda thousandths: thousandths / 1000)
)


@given(DELAYS)
def test_what_is_due_is_called_at_its_tick_and_not_before(seconds: float) -> None:
    clock, calls = StoppedClock(1_900_000_000), list[str]()
    when = clock.monotonic() + seconds
    due = ticks(when)
    assert due / TICKS >= when
    if when > clock.monotonic():
        clock.call_at(when, lambda: calls.append("due"))
        for tick, expected in ((due - 1, []), (due, ["due"])):
            clock.show(tick)
            clock.call_due()
            assert calls == expected
    assert clock.next_call() is None


@given(st.lists(st.integers(0, 1000), max_size=20))
def test_calls_come_in_order_and_those_that_were_cancelled_not_at_all(seconds: list[int]) -> None:
    clock, calls = StoppedClock(), list[int]()
    for each in seconds:
        clock.call_at(clock.monotonic() + 1 + each, lambda each=each: calls.append(each))  # type: ignore[misc]
        clock.call_at(clock.monotonic() + 1 + each, lambda: calls.append(-1)).cancel()
    while (when := clock.next_call()) is not None:
        clock.show(ticks(when))
        clock.call_due()
    assert calls == sorted(seconds)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_it_never_goes_back_and_both_of_its_forms_agree(one: int, other: int) -> None:
    clock = StoppedClock(1_900_000_000)
    before = clock.monotonic()
    for tick in (one, other):
        clock.show(tick)
        assert clock.monotonic() >= before
        before = clock.monotonic()
        assert 0 <= clock.monotonic() - clock.monotonic_ns() / 10**9 < 2e-9
        assert clock.time() - clock.monotonic() == clock.began
        assert clock.time_ns() - clock.monotonic_ns() == clock.began * 10**9


def test_what_is_to_come_never_comes_by_itself() -> None:
    clock = StoppedClock()
    assert clock.seconds_until(clock.monotonic() + 1e-9) == float("inf")
    assert clock.seconds_until(clock.monotonic()) == 0
