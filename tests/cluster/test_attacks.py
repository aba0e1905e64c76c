"""NATS is an attacker's, or he is its client: what was not sent is never delivered, nothing twice, and all others are
left alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.e2e.clients import ECHO_C
from tests.e2e.conftest import home_in
from tests.e2e.daemon import Daemon
from tests.e2e.waiting import until
from tests.faults.liar.lying_peer import TALES
from tests.faults.rounds import SEED, TIMES
from tests.patience import tried_again

from .harness.agents import Talk, clients_of
from .harness.checker import Disturbance
from .harness.faults import now
from .harness.hostile_member import NAME as LIAR
from .harness.hostile_member import hostile_member
from .harness.hostile_nats import Attacker
from .harness.meddling import NODE_SUBJECT, altering_dropping_and_reordering, forged, repeating_and_forging
from .harness.talking import held, recovery, talking
from .harness.world import World, three_nodes
from .servers import connected

HEAVY: Final = {
    *("twenty million empty lists", "large and forged", "too large", "messages that never end"),
    "larger than a transport takes",
}
"""Lies of 20 MiB, which are told when there is more time: they take ten seconds of CPU."""
IDLE: Final = "idle:tally:test.os"
TWO: Final = 1
"""The node that is attacked; the others are not to notice."""
ATTACK_SECONDS: Final = 2 + min(TIMES, 8)
MOST_GROWTH: Final = 64 << 20
"""Bytes that a node may take for what it is flooded with."""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> AsyncIterator[World]:
    """Three nodes and one server, which is enough for an attacker."""
    folder = tmp_path_factory.mktemp("attacks")

    def new_home() -> Path:
        return home_in(tmp_path_factory.mktemp("node"), compiled)

    packages, others = ("tally", "echo-c"), (LIAR,)
    async with three_nodes(folder, new_home, packages, servers=1, others=others, cache=compiled) as world:
        yield world


@asynccontextmanager
async def attacked(world: World, attacker: Attacker, talk: Talk, what: str) -> AsyncIterator[None]:
    """Inside of the block, all that node two is sent by NATS goes through an attacker. His coming and his going reset
    its connection, which is all that disturbs it.
    """
    await rerouted(world, talk, attacker, f"the coming of {what}")
    yield
    await rerouted(world, talk, None, f"the going of {what}")


async def rerouted(world: World, talk: Talk, attacker: Attacker | None, what: str) -> None:
    """Reset the connection of node two; the next one goes through an attacker, or through nobody."""
    begin = now()
    for link in world[TWO].links:
        link.filters = attacker.filters if attacker else None
        link.cut()
    await recovery(talk, Disturbance(what, begin, now(), frozenset({world[TWO].name})))


@tried_again
async def test_repeated_and_forged_frames_are_dropped_and_disturb_nothing(world: World) -> None:
    async with talking(world) as talk:
        attacker = Attacker(alter=repeating_and_forging(Random(SEED)))
        async with attacked(world, attacker, talk, "one who repeats and forges"):
            await asyncio.sleep(ATTACK_SECONDS)
        assert attacker.altered > 50
        for said in ("sent it before", "it was not sealed by"):
            await world[TWO].runs.log_line("remote", said)
    held(talk)


@pytest.mark.thorough
@tried_again
async def test_altered_lost_and_reordered_frames_cost_only_what_they_were_and_it_heals(world: World) -> None:
    async with talking(world) as talk:
        for part in (0.05, 0.5, 1.0):
            attacker = Attacker()
            async with attacked(world, attacker, talk, "one who alters"):
                begin = now()
                attacker.alter = altering_dropping_and_reordering(Random(f"{SEED} {part}"), part)
                await asyncio.sleep(ATTACK_SECONDS)
                attacker.alter = lambda _, frame: [frame]
                assert attacker.altered > 3
                what = f"{part:.0%} altered"
                await recovery(talk, Disturbance(what, begin, now(), frozenset({world[TWO].name})))
    held(talk)


@tried_again
async def test_a_flood_of_any_client_of_nats_takes_no_memory_and_leaves_the_rest_alone(world: World) -> None:
    """It knows every frame, as it may listen to all subjects, and sends them again, forged and large ones."""
    two, chance = world[TWO], Random(SEED)
    async with talking(world) as talk:
        before, begin = two.memory(), now()
        async with connected(world.servers[0].url) as rogue, answering(two.runs) as answers:
            seen = await overheard(rogue, two.name)
            large = [chance.randbytes(size) for size in (60_000, 1_000_000)]
            sent, most, end = 0, 0, now() + ATTACK_SECONDS
            while now() < end:
                subject, frame = chance.choice(seen)
                for each in (frame, forged(frame, chance), chance.choice(large)):
                    await rogue.publish(subject, each)
                sent += 3
                if sent % 300 == 0:
                    await asyncio.sleep(0.01)
                    most = max(most, two.memory())
        assert sent > 300
        assert answers, "its own clients are not answered meanwhile"
        assert most - before < MOST_GROWTH
        await recovery(talk, Disturbance("the flood", begin, now(), frozenset({two.name})))
    held(talk)


@pytest.mark.thorough
@tried_again
async def test_a_member_that_lies_is_heard_out_and_disturbs_nobody(world: World) -> None:
    """What each lie does to a node is in tests/attacks/nodes: here they come over NATS, and others talk meanwhile."""
    two = world[TWO]
    async with talking(world) as talk:
        before = two.memory()
        async with (
            connected(world.servers[0].url) as client,
            hostile_member(client, world.members, two.name, IDLE) as liar,
        ):
            for tale in TALES if TIMES > 1 else TALES.keys() - HEAVY:
                await liar.tell(tale)
            await two.runs.log_line("remote", "liar.os sent an invalid one")
        assert two.memory() - before < MOST_GROWTH
    held(talk)


async def overheard(rogue: Client, node: str) -> list[tuple[str, bytes]]:
    """What is sent to a node, by subject: some of it."""
    heard: list[tuple[str, bytes]] = []

    async def take(message: Msg) -> None:
        if NODE_SUBJECT in message.subject and len(heard) < 2000:
            heard.append((message.subject, message.data))

    async def by_subject() -> list[tuple[str, bytes]]:
        return [each for each in heard if each[0].endswith(hashlib.sha256(node.encode()).hexdigest()[:32])]

    listening = await rogue.subscribe("guesthouse.>", cb=take)
    found = await until(by_subject, lambda found: len(found) >= 50, f"nothing is sent to {node}")
    await listening.unsubscribe()
    return found


@asynccontextmanager
async def answering(daemon: Daemon) -> AsyncIterator[list[float]]:
    """A client of the node, which asks and is answered again and again: how long each took."""
    ((_, socket),) = await clients_of(daemon, (ECHO_C,))
    took: list[float] = []

    async def ask() -> None:
        while True:
            began = now()
            await socket.send("hello")
            assert await socket.recv() == "hello"
            took.append(now() - began)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask())
        yield took
        asking.cancel()
    await socket.close()
