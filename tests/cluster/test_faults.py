"""Nodes, servers and links fail at random moments under counted traffic: see `checker` for what holds all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from tests.e2e.conftest import home_in
from tests.faults.rounds import CLUSTER_FAULTS, CLUSTER_MEMORY_FAULTS, LONG_SECONDS, chances, each, told
from tests.patience import tried_again

from .harness.agents import Talk
from .harness.checker import grows
from .harness.faults import FAULTS, node_killed
from .harness.talking import held, recovery, talking
from .harness.world import NAMES, World, three_nodes

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.timeout(LONG_SECONDS),
    pytest.mark.asyncio(loop_scope="module"),
]

GROWTH: Final = 4 << 20
"""Bytes that a node may have more in the end: that many messages are on their way, more or less, at any time."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> AsyncIterator[World]:
    """Three nodes and three servers."""

    def new_home() -> Path:
        return home_in(tmp_path_factory.mktemp("node"), compiled)

    async with three_nodes(tmp_path_factory.mktemp("faults"), new_home, cache=compiled) as world:
        yield world


def report(talk: Talk) -> str:
    """What was sent, and how long whom took to recover from what."""
    longest: dict[str, float] = {}
    for healing in talk.traffic.healings():
        what = healing.what.rpartition(" of ")[0]
        longest[what] = max(longest.get(what, 0.0), healing.seconds)
    counts = ", ".join(f"{count} {what}" for what, count in talk.traffic.counts().items())
    return "; ".join([counts, *(f"{what}: {seconds:.2f} s" for what, seconds in longest.items())])


@tried_again
async def test_memory_stays_flat_while_links_and_servers_fail(world: World) -> None:
    """Of nodes that run all the time."""
    chance, sizes = chances("cluster memory"), dict[str, list[int]]()
    async with talking(world) as talk:
        for number, delay in each("cluster memory", CLUSTER_MEMORY_FAULTS, 0.1, 0.3):
            fault = chance.choice([fault for fault in FAULTS if fault is not node_killed])
            with told(f"cluster memory: {fault.__name__}", number, delay):
                await asyncio.sleep(delay)
                await recovery(talk, await fault(world, talk, chance))
            for place in world.places:
                sizes.setdefault(place.name, []).append(place.memory())
    held(talk)
    grown = {name: grows(each, most=GROWTH) for name, each in sizes.items()}
    assert grown == dict.fromkeys(NAMES)


@tried_again
async def test_random_faults_cost_only_whom_they_disturb_and_heal_in_five_seconds(world: World) -> None:
    chance = chances("cluster faults")
    async with talking(world) as talk:
        for number, delay in each("cluster", CLUSTER_FAULTS, 0.3, 1.0):
            fault = FAULTS[number] if number < len(FAULTS) else chance.choice(FAULTS)
            with told(f"cluster: {fault.__name__}", number, delay):
                await asyncio.sleep(delay)
                await recovery(talk, await fault(world, talk, chance))
    print(report(talk))
    held(talk)
