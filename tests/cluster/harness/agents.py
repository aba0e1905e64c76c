"""Clients of the `tally` guests, one for each process: they say what to send, and hear what came of it."""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections.abc import Iterable, Sequence
from contextlib import suppress
from random import Random
from typing import Final

from tests.e2e.clients import register_message
from tests.e2e.daemon import Daemon
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .checker import Disturbance, Pair, Traffic

PROCESSES: Final = ("one:tally:test.os", "two:tally:test.os")
ASK_SECONDS: Final = 5
STEP_SECONDS: Final = 0.05
"""So often each process sends a message to one of the others, in turn."""
_SIZES: Final = (0, 100, 3000, 40_000, 300_000)
_WEIGHTS: Final = (60, 20, 15, 4, 1)
"""The largest goes in several frames."""


class Agent:
    """One process of a node, as long as its node runs; then there is another."""

    def __init__(self, traffic: Traffic, node: str, process: str, socket: ClientConnection) -> None:
        self.address = f"{node}@{process}"
        self._traffic = traffic
        self._socket = socket
        self._clock = asyncio.get_running_loop().time

    async def tell(self, target: str, *, ask: bool, size: int) -> None:
        """Have the process send its next message to another."""
        pair = Pair(self.address, target)
        number = self._traffic.next_number(pair)
        self._traffic.sent(self._clock(), pair, number, ask=ask)
        verb = f"ask {number} {ASK_SECONDS}" if ask else f"note {number}"
        with suppress(ConnectionClosed):
            await self._socket.send(f"{verb} {size} {target}")

    async def leave(self) -> None:
        """Close the client's channel."""
        await self._socket.close()

    async def listen(self) -> None:
        """Hear until the node ends."""
        with suppress(ConnectionClosed):
            while True:
                self.hear(str(await self._socket.recv()))

    def hear(self, line: str) -> None:
        """What the process reports."""
        word, digits, other, *kind = line.split(" ")
        match word:
            case "got" | "torn":
                self._traffic.got(self._clock(), Pair(other, self.address), int(digits), whole=word == "got")
            case "answered" | "failed":
                self._traffic.outcome(Pair(self.address, other), int(digits), kind[0] if kind else word)
            case _:
                raise AssertionError(f"{self.address} says {line!r}")


class Talk:
    """All processes of all nodes, sending to those of the other nodes as long as they are told to.

    Args:
        tasks: what runs it.
        names: of the nodes.
        chance: what goes from whom to whom.
    """

    def __init__(self, tasks: TaskGroup, names: Sequence[str], chance: Random) -> None:
        self.traffic = Traffic()
        self.pairs = [
            Pair(f"{one}@{source}", f"{other}@{target}")
            for one in names
            for source in PROCESSES
            for other in names
            for target in PROCESSES
            if one != other
        ]
        self._agents: dict[str, Agent] = {}
        self._tasks = tasks
        self._chance = chance

    def join(self, node: str, sockets: Iterable[tuple[str, ClientConnection]]) -> None:
        """The clients of a node's processes are connected."""
        for process, socket in sockets:
            agent = Agent(self.traffic, node, process, socket)
            self._agents[agent.address] = agent
            self._tasks.create_task(self._listen(agent))

    async def leave(self, node: str) -> None:
        """The clients of a node leave."""
        for address, agent in list(self._agents.items()):
            if address.startswith(f"{node}@"):
                await agent.leave()

    async def _listen(self, agent: Agent) -> None:
        await agent.listen()
        if self._agents.get(agent.address) is agent:
            del self._agents[agent.address]

    async def talk(self) -> None:
        """Send for ever."""
        targets: dict[str, list[str]] = {}
        for pair in self.pairs:
            targets.setdefault(pair.source, []).append(pair.target)
        turn = 0
        while True:
            turn += 1
            for source, agent in list(self._agents.items()):
                (size,) = self._chance.choices(_SIZES, _WEIGHTS)
                others = targets[source]
                await agent.tell(others[turn % len(others)], ask=self._chance.random() < 0.5, size=size)
            await asyncio.sleep(STEP_SECONDS)

    def recovered(self, disturbance: Disturbance) -> bool:
        """Whether each pair that was disturbed has got through again."""
        return self.traffic.recovered(disturbance, self.pairs)


async def clients_of(
    daemon: Daemon, processes: Sequence[str] = PROCESSES
) -> list[tuple[str, ClientConnection]]:
    """A client of each process of a node."""
    token = await daemon.token()
    found = []
    for process in processes:
        socket = await connect(
            daemon.ws_url, compression=None, proxy=None, ping_interval=None, max_size=2**20
        )
        await socket.send(register_message(token, process))
        assert "channel_id" in str(await socket.recv())
        found.append((process, socket))
    return found
