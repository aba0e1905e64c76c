"""Clients at a gateway while it is drained or restarted, and while the home of their process is upgraded."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from tests.e2e.clients import RECORDER, Client, bare, close_of, register_message, registered
from tests.e2e.conftest import home_in
from tests.e2e.daemon import Daemon
from tests.e2e.packages import package
from tests.e2e.test_channels import events_of
from tests.e2e.test_client_drain import LATER, TOLD, drain_status, in_state, refused_upgrade
from tests.e2e.waiting import until
from tests.patience import PATIENCE
from tests.tiers import thorough_after
from websockets.exceptions import ConnectionClosed

from .harness.joining import Members, members
from .next_version import VERSION
from .nodes import rows, sees
from .pairs import NAMES, ONE, TWO
from .servers import Server, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS: Final = 40
RATE: Final = 40.0
THERE: Final = f"{TWO}@{RECORDER}"
"""The process, as clients of the gateway name it."""
NEXT: Final = Path(__file__).with_name("next_version.py")


@dataclass
class Nodes:
    """`one` is a gateway without processes, `two` the home of the recorder. Each may be ended and started again."""

    nats: Server
    known: Members
    homes: dict[str, Path]
    running: dict[str, Daemon] = field(default_factory=dict)

    @property
    def gateway(self) -> Daemon:
        return self.running[ONE]

    @property
    def home(self) -> Daemon:
        return self.running[TWO]

    async def start(self, node: str, module: str | Path = "guesthouse", **settings: object) -> None:
        """Start a node, and wait until both see each other."""
        given = {
            "cluster_nats": self.nats.url,
            "cluster_serve": "*",
            "connections_per_address": 1024,
            **settings,
        }
        packages = [package("recorder")] if node == TWO else []
        daemon = Daemon(self.homes[node], packages, node=node, settings=given, module=module)
        self.running[node] = await daemon.__aenter__()
        if len(self.running) == 2:
            await sees(self.gateway, TWO)
            await sees(self.home, ONE)

    async def end(self, node: str) -> None:
        """End a node as operators do."""
        await self.running.pop(node).__aexit__(None, None, None)

    async def events(self) -> list[dict[str, Any]]:
        """What the process was told."""
        return await events_of(self.home, await self.home.token())

    async def closed_once(self, channel_ids: Sequence[int]) -> None:
        """Wait until the process is told the end of these channels, and see that it is told once of each."""

        async def ends() -> Counter[int]:
            told = Counter(event["channel"] for event in await self.events() if event["event"] == "close")
            return Counter({channel_id: told[channel_id] for channel_id in channel_ids})

        found = await until(ends, lambda found: all(found[each] for each in channel_ids), "all ends are told")
        assert set(found.values()) == {1}

    @asynccontextmanager
    async def clients(self, count: int) -> AsyncIterator[list[Client]]:
        """So many clients at the gateway, each with a channel to the process at home."""
        token = await self.gateway.token()
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(registered(self.gateway, THERE, token)) for _ in range(count)
            ]

    async def reached(self) -> None:
        """Wait until clients at the gateway reach the process again."""

        async def can() -> bool:
            async with bare(self.gateway) as socket:
                await socket.send(register_message(await self.gateway.token(), THERE))
                try:
                    return "channel_id" in str(await asyncio.wait_for(socket.recv(), PATIENCE))
                except Exception:  # the socket was closed with a code
                    return False

        await until(can, bool, "the process is reached by the gateway")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> AsyncIterator[Nodes]:
    folder = tmp_path_factory.mktemp("service")
    count = 0

    def new_home() -> Path:
        nonlocal count
        count += 1
        return home_in(folder / f"node-{count}", compiled)

    known = await members(NAMES, new_home, folder / "founding")
    homes = {name: new_home() for name in (ONE, TWO)}
    for name, home in homes.items():
        known.move_in(home, name)
    async with running(folder / "nats", 1) as servers:
        made = Nodes(servers[0], known, homes)
        try:
            await made.start(ONE)
            await made.start(TWO)
            await made.reached()
            yield made
        finally:
            for node in list(made.running):
                await made.end(node)


async def pace(clients: Sequence[Client]) -> list[tuple[float, tuple[int, str]]]:
    """When each client was told to go, and how."""
    told = []

    async def read_to_the_end(client: Client) -> None:
        ended = await client.closed()
        told.append((asyncio.get_running_loop().time(), ended))

    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(read_to_the_end(client))
    return sorted(told)


@pytest.mark.thorough
async def test_clients_of_a_drained_gateway_are_told_at_a_rate_and_the_process_once_of_each(
    nodes: Nodes,
) -> None:
    own = await nodes.home.token()
    async with nodes.clients(CLIENTS) as clients, registered(nodes.home, RECORDER, own) as at_home:
        begun = asyncio.get_running_loop().time()
        reading = asyncio.create_task(pace(clients))
        draining = asyncio.create_task(nodes.gateway.cli("drain", "--stay", "--rate", str(RATE)))
        await in_state(nodes.gateway, "draining")
        refused = await refused_upgrade(nodes.gateway)
        assert (refused.status_code, refused.text) == (503, f"{LATER}\n")
        await sees(nodes.home, ONE, state="draining")
        told = await reading
        for number, (moment, ended) in enumerate(told):
            assert ended == TOLD
            assert number <= 1 + RATE * (moment - begun), "faster than it may be"
        assert (await draining).code == 0
        assert (await drain_status(nodes.gateway))["state"] == "drained"
        await nodes.closed_once([client.channel_id for client in clients])
        await at_home.send('{"sleep": 0}')
        assert await at_home.receive() == "awake", "clients of the home stay"
    assert (await nodes.gateway.cli("drain", "--cancel")).code == 0
    await sees(nodes.home, ONE)
    await nodes.reached()


@pytest.mark.thorough
async def test_a_drain_of_a_gateway_that_is_cancelled_leaves_the_others_where_they_are(nodes: Nodes) -> None:
    async with nodes.clients(CLIENTS) as clients:
        draining = asyncio.create_task(nodes.gateway.cli("drain", "--rate", "5"))
        await until(lambda: drain_status(nodes.gateway), lambda now: now["told"] >= 3, "some are told")
        assert (await nodes.gateway.cli("drain", "--cancel")).code == 0
        assert (await draining).code == 1
        left = {each["channel_id"] for each in await nodes.home.channels(RECORDER)}
        stay = [client for client in clients if client.channel_id in left]
        go = [client for client in clients if client.channel_id not in left]
        assert go
        assert len(stay) > CLIENTS / 2
        for client in stay:
            await client.send('{"sleep": 0}')
            assert await client.receive() == "awake"
        for client in go:
            assert await client.closed() == TOLD
        await nodes.closed_once([client.channel_id for client in go])


@pytest.mark.thorough
async def test_a_terminal_reaches_a_process_of_another_node(nodes: Nodes) -> None:
    said = await nodes.gateway.cli(
        "connect", THERE, "--wait", "60", stdin='{"sleep": 0}\n{"close": 1000, "reason": ""}\n'
    )
    assert (said.code, said.stdout, said.stderr) == (0, "awake\n", "")
    for target, why in (
        (f"away.os@{RECORDER}", "closed with 4004"),
        (f"{THERE}/events", "leave out the path"),
        (f"no name@{RECORDER}", "cannot name a node"),
    ):
        refused = await nodes.gateway.cli("connect", target)
        assert refused.code == 1
        assert why in refused.stderr


async def test_no_client_is_told_that_there_is_no_such_process_before_the_gateway_has_met_its_node(
    nodes: Nodes,
) -> None:
    token = await nodes.gateway.token()
    await nodes.end(ONE)
    os.kill(nodes.home.pid, signal.SIGSTOP)
    starting = asyncio.create_task(nodes.start(ONE))

    async def code() -> int | None:
        """With which a client is refused; None if it gets a channel."""
        async with bare(nodes.gateway) as socket:
            await socket.send(register_message(token, THERE))
            with suppress(ConnectionClosed):
                assert "channel_id" in str(await socket.recv())
                return None
        return socket.close_code

    try:
        await until(lambda: in_turn(nodes.running), lambda found: ONE in found, "the gateway is there")
        assert await code() == 1013
    finally:
        os.kill(nodes.home.pid, signal.SIGCONT)
    assert (
        await until(code, lambda found: found != 1013, "the gateway has met the node of the process") is None
    )
    await starting


async def in_turn(found: dict[str, Daemon]) -> dict[str, Daemon]:
    """What is there at each look."""
    return found


@pytest.mark.thorough
async def test_the_home_says_whose_clients_it_takes(nodes: Nodes) -> None:
    await nodes.end(TWO)
    await nodes.start(TWO, cluster_gateways_from="other.os")
    token = await nodes.gateway.token()

    async def refusal() -> int:
        async with bare(nodes.gateway) as socket:
            await socket.send(register_message(token, THERE))
            return (await close_of(socket))[0]

    await until(refusal, lambda code: code != 1014, "the home is back, and has told what it has")
    assert await refusal() == 4004

    async def page() -> int:
        return (await nodes.gateway.get(f"/{RECORDER}/events", token)).status_code

    await until(page, lambda status: status != 503, "the gateway has waited for the member that is not there")
    assert await page() == 404
    assert not await nodes.home.channels(RECORDER)
    await nodes.end(TWO)
    await nodes.start(TWO, cluster_gateways_from=f"other.os,{ONE}")
    await nodes.reached()


@pytest.mark.thorough
async def test_clients_come_back_by_their_gateway_when_the_home_was_upgraded(nodes: Nodes) -> None:
    async with nodes.clients(5) as clients:
        reading = asyncio.create_task(pace(clients))
        drained = await nodes.home.cli("drain", "--rate", "100")
        assert drained.code == 0, drained.stderr
        assert {ended for _, ended in await reading} == {TOLD}
        await nodes.end(TWO)
        await sees(nodes.gateway, TWO, state="offline")
    await nodes.start(TWO, module=NEXT)
    assert (await rows(nodes.gateway))[TWO]["version"] == VERSION
    await nodes.reached()
    async with nodes.clients(5) as clients:
        for client in clients:
            await client.send('{"sleep": 0}')
            assert await client.receive() == "awake"
        await nodes.home.kill()
        assert {ended[0] for _, ended in await pace(clients)} == {1014}
    await nodes.end(TWO)
    await nodes.start(TWO)
    await nodes.reached()


@pytest.mark.parametrize("way", thorough_after(1, ["stopped", "killed", "restarted"]))
async def test_the_process_is_told_once_when_its_gateway_ends_and_clients_come_back(
    nodes: Nodes, way: str
) -> None:
    async with nodes.clients(5) as clients:
        reading = asyncio.create_task(pace(clients)) if way != "killed" else None
        if way == "stopped":
            await nodes.end(ONE)
        elif way == "killed":
            await nodes.gateway.kill()
            await nodes.end(ONE)
        else:
            done = await nodes.gateway.cli("restart-node")
            assert done.code == 0, done.stderr
        if reading is not None:
            codes = {ended[0] for _, ended in await reading}
            assert codes == {1012 if way == "restarted" else 1001}
        await nodes.closed_once([client.channel_id for client in clients])
    if way != "restarted":
        await nodes.start(ONE)
    await sees(nodes.gateway, TWO)
    await nodes.reached()
