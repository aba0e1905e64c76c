from __future__ import annotations

import pytest

from guesthouse.link.busy_poll import AWAKE_SECONDS, LONE_SECONDS, MOST_PASSED_OVER, BusyPoll


def occasions_until_awake(vigil: BusyPoll) -> int:
    count = 1
    while not vigil.begin(5.0, lone=False):
        count += 1
    return count


@pytest.mark.parametrize(("lone", "seconds"), [(False, AWAKE_SECONDS), (True, LONE_SECONDS)])
def test_an_end_stays_awake_for_a_moment_each_time_while_answers_come(lone: bool, seconds: float) -> None:
    vigil = BusyPoll()
    for _ in range(10):
        assert vigil.begin(7.0, lone=lone) == 7.0 + seconds
        vigil.heard()


def test_each_time_in_vain_passes_over_twice_as_many_occasions_up_to_a_limit() -> None:
    vigil, passed_over = BusyPoll(), []
    for _ in range(12):
        vigil.in_vain()
        passed_over.append(occasions_until_awake(vigil) - 1)
    assert passed_over == [1, 3, 7, 15, 31, 63, 127, 255, *[MOST_PASSED_OVER] * 4]


def test_one_answer_in_time_makes_it_stay_awake_every_time_again() -> None:
    vigil = BusyPoll()
    for _ in range(8):
        vigil.in_vain()
    occasions_until_awake(vigil)
    vigil.heard()
    assert [occasions_until_awake(vigil) for _ in range(3)] == [1, 1, 1]
