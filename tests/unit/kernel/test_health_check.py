from __future__ import annotations

import asyncio
import time

from guesthouse.kernel.workers.health_check import LOOKS, MissedHeartbeats
from guesthouse.kernel.workers.wait import within


def test_a_worker_is_given_up_after_so_many_silent_looks_in_a_row_and_not_before() -> None:
    silence = MissedHeartbeats()
    assert not silence.look(0)
    assert [silence.look(0) for _ in range(LOOKS)] == [False] * (LOOKS - 1) + [True]


def test_whatever_it_says_begins_the_count_anew() -> None:
    silence = MissedHeartbeats()
    for heard in range(50):
        assert not any(silence.look(heard) for _ in range(LOOKS))


def test_it_counts_looks_and_knows_no_clock_so_a_night_asleep_is_one_look() -> None:
    silence = MissedHeartbeats()
    assert not silence.look(7)
    assert not silence.look(7)  # the night: one look, however long it was


async def test_what_comes_in_time_is_waited_for_and_what_does_not_is_not() -> None:
    loop = asyncio.get_running_loop()
    done, never = loop.create_future(), loop.create_future()
    loop.call_later(0.05, done.set_result, None)
    assert await within(5.0, done)
    assert not await within(0.05, never)
    assert not never.done()


async def test_a_node_that_was_stopped_over_the_whole_wait_still_reads_what_came_meanwhile() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def sleep_through_it() -> None:
        time.sleep(0.6)  # as a stopped node does: the loop is late for everything
        loop.call_later(0.03, done.set_result, None)  # what lay in the socket is read after that

    loop.call_soon(sleep_through_it)
    assert await within(0.3, done)
