from __future__ import annotations

import asyncio

import pytest

from guesthouse.kernel.supervision.startup_limiter import ConcurrencyLimiter

from ..driven import MOMENT, SECONDS, DrivenLoop, in_driven_time, settled


class Caller:
    """Takes a slot until it is told to leave it."""

    def __init__(self, lanes: ConcurrencyLimiter) -> None:
        self.inside = False
        self.leave = asyncio.Event()
        self.task = asyncio.ensure_future(self._call(lanes))

    async def _call(self, lanes: ConcurrencyLimiter) -> None:
        async with lanes.slot():
            self.inside = True
            await self.leave.wait()

    async def end(self) -> None:
        self.leave.set()
        await self.task


def inside(callers: list[Caller]) -> list[bool]:
    return [caller.inside for caller in callers]


async def test_so_many_are_let_through_as_there_are_lanes_and_the_next_when_one_leaves() -> None:
    lanes = ConcurrencyLimiter(2, SECONDS)
    callers = [Caller(lanes) for _ in range(4)]
    await settled()
    assert inside(callers) == [True, True, False, False]
    await callers[1].end()
    await settled()
    assert inside(callers) == [True, True, True, False]
    for caller in callers:
        await caller.end()


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_who_takes_long_holds_up_nobody(over: int) -> None:
    async def play(loop: DrivenLoop) -> None:
        lanes = ConcurrencyLimiter(1, SECONDS)
        callers = [Caller(lanes) for _ in range(3)]
        await loop.pass_by(SECONDS + over * MOMENT)
        assert inside(callers) == [True, over >= 0, False]
        for caller in callers:
            await caller.end()
        last, after = Caller(lanes), Caller(lanes)
        await settled()
        assert inside([last, after]) == [True, False]  # a slot that was given up early was given up once
        await last.end()
        await after.end()

    await in_driven_time(play)


async def test_one_that_is_cancelled_leaves_its_lane_or_its_place_in_the_queue() -> None:
    lanes = ConcurrencyLimiter(1, SECONDS)
    callers = [Caller(lanes) for _ in range(3)]
    await settled()
    for caller in callers[:2]:
        caller.task.cancel()
    await settled()
    assert inside(callers) == [True, False, True]
    await callers[2].end()
