"""Counted traffic between all nodes of a world, for the length of a block."""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

from tests.e2e.waiting import until
from tests.faults.rounds import SEED
from tests.patience import Disturbed

from .agents import ASK_SECONDS, Talk, clients_of
from .checker import HEAL_SECONDS, Disturbance
from .world import World


@asynccontextmanager
async def talking(world: World) -> AsyncIterator[Talk]:
    """Every process of every node sends to those of the others, inside of the block. After it everything has come that
    is to come.
    """
    async with TaskGroup() as tasks:
        talk = Talk(tasks, [place.name for place in world.places], Random(SEED))
        for place in world.places:
            talk.join(place.name, await clients_of(place.runs))
        began = asyncio.get_running_loop().time()
        talks = tasks.create_task(talk.talk())
        names = frozenset(place.name for place in world.places)
        await recovery(talk, Disturbance("the start", began, began, names))  # they may not have met yet
        yield talk
        talks.cancel()
        await _settled(talk)
        for place in world.places:
            await talk.leave(place.name)


async def _settled(talk: Talk) -> None:
    """Wait until each request has had the time for its outcome, and what wants none for its way."""

    async def open_ones() -> int:
        return talk.traffic.without_outcome()

    await asyncio.sleep(1)
    with suppress(AssertionError):  # it is the checker who says which have none
        await until(open_ones, lambda count: not count, "requests have no outcome", ASK_SECONDS + 3)


async def recovery(talk: Talk, disturbance: Disturbance) -> None:
    """Note a disturbance that is over, and wait until whom it disturbed has recovered, or took too long for it."""
    talk.traffic.disturbed(disturbance)

    async def recovered() -> bool:
        return talk.recovered(disturbance)

    with suppress(AssertionError):
        await until(recovered, bool, f"traffic recovers from {disturbance.what}", HEAL_SECONDS + 1)


def held(talk: Talk) -> None:
    """Check what has to hold of the traffic.

    Raises:
        Disturbed: what was lost or slow may be so because the machine stood still.
    """
    traffic = talk.traffic
    wrong = traffic.wrong()
    assert not wrong, "\n".join(wrong)
    if disturbed := traffic.disturbed_by_nothing() + traffic.slow():
        raise Disturbed("\n".join(disturbed))
