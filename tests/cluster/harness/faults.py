"""The faults: each happens, is over when its function returns, and says whom it may have cost messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Final

from .agents import Talk, clients_of
from .checker import Disturbance
from .links import Link
from .world import World

Fault = Callable[[World, Talk, Random], Awaitable[Disturbance]]


def now() -> float:
    """The clock of all times here."""
    return asyncio.get_running_loop().time()


async def node_killed(world: World, talk: Talk, chance: Random) -> Disturbance:
    """SIGKILL; it is started again."""
    place = chance.choice(world.places)
    begin = now()
    await place.kill()
    await asyncio.sleep(chance.uniform(0, 0.5))
    await place.start()
    talk.join(place.name, await clients_of(place.runs))
    of = frozenset({place.name})
    return Disturbance(f"the kill of {place.name}", begin, now(), of, killed=of)


async def node_stopped(world: World, talk: Talk, chance: Random) -> Disturbance:
    """SIGSTOP, and SIGCONT: shorter or longer than the others wait for it."""
    place = chance.choice(world.places)
    begin = now()
    place.stop()
    await asyncio.sleep(chance.uniform(0.1, 4))
    place.resume()
    return Disturbance(f"the stop of {place.name}", begin, now(), frozenset({place.name}))


async def server_killed(world: World, talk: Talk, chance: Random) -> Disturbance:
    """SIGKILL of a NATS server; it is started again."""
    number = chance.randrange(len(world.servers))
    server, begin, users = world.servers[number], now(), world.users_of(number)
    await server.kill()
    await asyncio.sleep(chance.uniform(0, 1))
    await server.start()
    return Disturbance(f"the kill of server {number}", begin, now(), users)


async def server_stopped(world: World, talk: Talk, chance: Random) -> Disturbance:
    """SIGSTOP of a NATS server, and SIGCONT."""
    number = chance.randrange(len(world.servers))
    server, begin, users = world.servers[number], now(), world.users_of(number)
    server.stop()
    await asyncio.sleep(chance.uniform(0.2, 5))
    users |= world.users_of(number)
    server.resume()
    return Disturbance(f"the stop of server {number}", begin, now(), users)


async def node_partitioned(world: World, talk: Talk, chance: Random) -> Disturbance:
    """Nothing passes between a node and any server, and nobody is told."""
    place = chance.choice(world.places)
    begin = await held(place.links, chance)
    return Disturbance(f"the partition of {place.name}", begin, now(), frozenset({place.name}))


async def servers_partitioned(world: World, talk: Talk, chance: Random) -> Disturbance:
    """Nothing passes between a server and the others; its nodes are apart from those of the others."""
    number = chance.randrange(len(world.servers))
    users = world.users_of(number)
    begin = await held(world.routes_of(number), chance)
    return Disturbance(f"the partition of server {number}", begin, now(), users | world.users_of(number))


async def held(links: Iterable[Link], chance: Random) -> float:
    """Nothing passes these links for a while; when it began."""
    links, begin = list(links), now()
    for link in links:
        link.hold()
    await asyncio.sleep(chance.uniform(0.2, 5))
    for link in links:
        link.release()
    return begin


async def connections_cut(world: World, talk: Talk, chance: Random) -> Disturbance:
    """A node's connections are reset."""
    place, begin = chance.choice(world.places), now()
    for link in place.links:
        link.cut()
    return Disturbance(f"the reset of {place.name}", begin, now(), frozenset({place.name}))


async def slow_link(world: World, talk: Talk, chance: Random) -> Disturbance:
    """A node's links are slow, in time and in bytes."""
    place, begin = chance.choice(world.places), now()
    for link in place.links:
        link.delay, link.rate = chance.uniform(0.01, 0.4), chance.uniform(30_000, 300_000)
    await asyncio.sleep(chance.uniform(1, 4))
    for link in place.links:
        link.heal()
    return Disturbance(f"the slow link of {place.name}", begin, now(), frozenset({place.name}))


async def clock_jump(world: World, talk: Talk, chance: Random) -> Disturbance:
    """The wall clock of a node's machine jumps, and nothing is lost by it."""
    place, begin = chance.choice(world.places), now()
    place.machine.clock_is_off_by(chance.choice((-1, 1)) * chance.uniform(1, 7 * 24 * 3600))
    return Disturbance(f"the jump of the clock of {place.name}", begin, begin, frozenset())


FAULTS: Final[tuple[Fault, ...]] = (
    node_killed,
    node_stopped,
    server_killed,
    server_stopped,
    node_partitioned,
    servers_partitioned,
    connections_cut,
    slow_link,
    clock_jump,
)
