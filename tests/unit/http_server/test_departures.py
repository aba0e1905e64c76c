"""The pace at which clients are told to go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.http_server.departures import Pace

GAPS = st.lists(st.floats(0, 100, allow_nan=False), max_size=50)


@given(GAPS, st.floats(0.01, 10_000))
def test_no_more_are_due_than_the_time_allows(gaps: list[float], rate: float) -> None:
    pace, now, due = Pace(rate, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        due += pace.due(now)
        assert due <= 1 + rate * now + 1e-6


@pytest.mark.parametrize("rate", [0.5, 1, 7, 100, 5000])
def test_a_node_that_looks_often_keeps_the_pace(rate: float) -> None:
    pace = Pace(rate, 0.0)
    due = sum(pace.due(step * 0.05) for step in range(1, 20 * 60 + 1))
    assert due == pytest.approx(60 * rate, abs=2)


def test_time_in_which_the_node_was_late_is_not_made_up_for() -> None:
    pace = Pace(100, 0.0)
    assert pace.due(60.0) == 25
    assert pace.due(60.0) == 0
