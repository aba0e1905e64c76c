"""A node serves processes of the nodes that its operator names, and spreads clients over those that have a package."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.e2e.clients import ECHO_C, ROGUE, Client, bare, close_of, register_message
from tests.e2e.daemon import Daemon
from tests.e2e.packages import package
from tests.e2e.waiting import until
from tests.patience import PATIENCE
from websockets.exceptions import ConnectionClosed

from .nodes import found, join, node_of, sees, ticket
from .servers import Server

GATE, ONE, TWO = "gate.os", "one.os", "two.os"
PLACES = [f"10.1.{number}.7" for number in range(40)]
"""Addresses of clients behind a proxy."""
NewHome = Callable[[], Path]


@asynccontextmanager
async def gate(
    nats: Server, new_home: NewHome, serve: str | None
) -> AsyncIterator[tuple[Daemon, Daemon, Daemon]]:
    """A node without packages, and two that have some; the second may be killed."""
    homes = [new_home() for _ in range(3)]
    await found(homes[0], GATE, nats.url)
    settings: dict[str, object] = {"http_trusted_proxies": "127.0.0.1", "connections_per_address": 1000}
    if serve is not None:
        settings["cluster_serve"] = serve
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(node_of(homes[0], settings=settings))
        nodes = [gateway]
        for home, name, packages in ((homes[1], ONE, ("echo-c",)), (homes[2], TWO, ("echo-c", "rogue"))):
            await join(home, name, await ticket(homes[0]))
            nodes.append(await stack.enter_async_context(node_of(home, *map(package, packages))))
        await sees(gateway, ONE, TWO)
        yield nodes[0], nodes[1], nodes[2]


@asynccontextmanager
async def channels_from(
    gateway: Daemon, places: Iterable[str], process: str = ECHO_C
) -> AsyncIterator[dict[str, Client]]:
    """A channel for a client at each address."""
    token = await gateway.token()
    async with AsyncExitStack() as stack:
        clients = {}
        for place in places:
            headers = {"X-Forwarded-For": place}
            socket = await stack.enter_async_context(bare(gateway, **headers))
            await socket.send(register_message(token, process))
            async with asyncio.timeout(PATIENCE):
                clients[place] = Client(socket, json.loads(await socket.recv())["channel_id"])
        yield clients


async def refusal(gateway: Daemon, target: str) -> tuple[int, str]:
    """How a channel to a process is refused."""
    async with bare(gateway) as socket:
        await socket.send(register_message(await gateway.token(), target))
        return await close_of(socket)


async def announced(gateway: Daemon, target: str) -> None:
    """Wait until a process can be reached by a gateway."""
    token = await gateway.token()

    async def is_open() -> bool:
        async with bare(gateway) as socket:
            await socket.send(register_message(token, target))
            try:
                return "channel_id" in str(await socket.recv())
            except ConnectionClosed:
                return False

    await until(is_open, bool, f"{target} is not announced")


async def homes_of(clients: dict[str, Client], *homes: Daemon) -> list[set[str]]:
    """The addresses of the clients whose channels each home has, once all have arrived."""

    async def places() -> list[set[str]]:
        found = []
        for home in homes:
            ids = {int(item["channel_id"]) for item in await home.channels(ECHO_C)}
            found.append({place for place, client in clients.items() if client.channel_id in ids})
        return found

    placed = await until(places, lambda found: set().union(*found) == set(clients), "a channel is nowhere")
    assert sum(map(len, placed)) == len(clients)
    return placed


@pytest.mark.thorough
async def test_clients_are_spread_over_homes_and_leave_one_that_is_gone(
    nats: Server, new_home: NewHome
) -> None:
    async with gate(nats, new_home, f"{ONE},{TWO}@{ECHO_C.partition(':')[2]}") as (gateway, one, two):
        for home in (ONE, TWO):
            await announced(gateway, f"{home}@{ECHO_C}")
        async with channels_from(gateway, PLACES) as clients:
            at_one, at_two = await homes_of(clients, one, two)
            assert min(len(at_one), len(at_two)) >= 8, "they are spread"
            async with channels_from(gateway, PLACES) as again:
                assert await homes_of(again, one, two) == [at_one, at_two], (
                    "each comes to the same home again"
                )
            await two.kill()
            for place in at_two:
                assert (await close_of(clients[place].socket))[0] == 1014
            for place in at_one:
                assert await clients[place].ask("still there") == "still there"
            async with channels_from(gateway, PLACES) as rest:
                assert await homes_of(rest, one), "none is sent to a home that is gone"
        await two.__aenter__()
        await announced(gateway, f"{TWO}@{ECHO_C}")
        async with channels_from(gateway, PLACES) as back:
            assert await homes_of(back, one, two) == [at_one, at_two]


async def test_what_is_not_named_is_not_served(nats: Server, new_home: NewHome) -> None:
    async with gate(nats, new_home, f"{TWO}@{ECHO_C.partition(':')[2]}") as (gateway, one, two):
        await announced(gateway, f"{TWO}@{ECHO_C}")
        await one.log_line("cluster", f"{GATE} can be reached")
        await gateway.log_line("gateway", "is not served by this node")
        async with channels_from(gateway, PLACES[:8]) as clients:
            assert await homes_of(clients, two)
        for target in (f"{ONE}@{ECHO_C}", f"{TWO}@{ROGUE}", ROGUE):
            assert await refusal(gateway, target) == (4004, "no such process")


@pytest.mark.thorough
async def test_by_default_no_member_is_served_but_those_whose_packages_are_taken(
    nats: Server, new_home: NewHome
) -> None:
    async with gate(nats, new_home, None) as (gateway, one, _):
        await one.log_line("cluster", f"{GATE} can be reached")
        await gateway.log_line("gateway", "is not served by this node")
        for target in (ECHO_C, f"{ONE}@{ECHO_C}"):
            assert await refusal(gateway, target) == (4004, "no such process")
        assert (await gateway.get(f"/{ECHO_C}/")).status_code == 404
