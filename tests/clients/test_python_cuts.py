"""The Python client, while its connections break at random bytes: each message comes once and in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.clients import ECHO_C
from tests.e2e.conftest import StartNode
from tests.e2e.daemon import Daemon
from tests.e2e.waiting import until
from tests.examples import examples
from tests.faults.subprocesses import ready_workers
from tests.patience import PATIENCE
from tests.tiers import thorough_after

from guesthouse_client import Channel, connect

from .proxy import FaultyProxy

CUTS = int(os.environ.get("GUESTHOUSE_CUTS", examples(300)))
"""How many connections break, in all tests of this file."""
KILLS = 5
CLIENTS = 8
AHEAD = 60
"""Messages that a client sends before it has received the answers."""
OBJECTS, NODE_BYTES = 5000, 16 * 2**20
"""What may come to be between half of the cuts and all, in the clients' program and in the node."""

QUICK: dict[str, Any] = {
    "first_delay": 0.01,
    "longest_delay": 0.1,
    "connect_seconds": 2.0,
    "ping_seconds": 0.2,
    "pong_seconds": 0.3,
    "open_seconds": PATIENCE,
    "close_seconds": PATIENCE,
    "proxy": None,
}
AT_ONCE = {"restart_first_delay": 0, "worker_longest_pause": 0.05}


def numbered(number: int) -> str | bytes:
    """A message that says its number; some are binary, some begin with the escape, some are long."""
    message = f"{number} " + "x" * (number * 37 % 900)
    return message.encode() if number % 3 == 0 else "\x10" * (number % 4) + message


def number_of(message: str | bytes) -> int:
    """The number of such a message, which is as it was sent."""
    text = message if isinstance(message, str) else message.decode()
    number = int(text.lstrip("\x10").split(" ")[0])
    assert message == numbered(number)
    return number


class Echoes:
    """What one client sends to an echo and gets back, over one channel. `ends` is set when it is to send no more."""

    def __init__(self, ends: asyncio.Event) -> None:
        self._ends = ends
        self._ahead = asyncio.Semaphore(AHEAD)
        self.sent = 0
        self.received = 0
        self._next = 0

    @property
    def missing(self) -> int:
        """Messages that got no answer, once all have been exchanged."""
        return self.sent - self.received

    async def exchange(self, channel: Channel) -> None:
        """Send until the end; no answer comes twice, and all in order."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(channel))
            async for message in channel:
                if message == "end":
                    break
                number = number_of(message)
                assert self._next <= number < self.sent
                for _ in range(self._next, number + 1):
                    self._ahead.release()
                self._next = number + 1
                self.received += 1

    async def _send(self, channel: Channel) -> None:
        while not self._ends.is_set():
            await self._ahead.acquire()
            self.sent += 1
            await channel.send(numbered(self.sent - 1))
        await channel.send("end")


class Clients:
    """Clients of an echo behind a proxy that breaks their connections."""

    def __init__(self, daemon: Daemon, faulty: FaultyProxy, **options: Any) -> None:
        self._daemon = daemon
        self._faulty = faulty
        self._options = options
        self._ends = asyncio.Event()
        self._lost: list[object] = []
        self._ids: set[int | None] = set()
        self.echoes = [Echoes(self._ends) for _ in range(CLIENTS)]

    @property
    def received(self) -> int:
        """Answers, so far."""
        return sum(each.received for each in self.echoes)

    @property
    def missing(self) -> int:
        """Messages without an answer, at the end."""
        return sum(each.missing for each in self.echoes)

    async def suffer(self, cuts: int, kills: int = 0) -> None:
        """Exchange messages until so many connections were broken, and workers killed meanwhile."""
        token = await self._daemon.token()
        async with asyncio.timeout(PATIENCE + cuts), asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(self._one(each, token)) for each in self.echoes]
            await self._kill_workers(kills)
            await self._faulty.wait_for_cuts(cuts // 2)
            before = self._size()
            await self._faulty.wait_for_cuts(cuts)
            after = self._size()
            self._faulty.calm()
            self._ends.set()
            await asyncio.wait(clients)
        assert self._lost == []
        assert (after[0] - before[0] < OBJECTS, after[1] - before[1] < NODE_BYTES) == (True, True), (
            before,
            after,
        )
        # Other channels were opened by attempts that broke before their answer.
        assert len(self._ids) == CLIENTS
        await until(self._daemon.channels, self._are_gone, "channels are left open")

    async def _one(self, echoes: Echoes, token: str) -> None:
        async with connect(
            self._faulty.url, process=ECHO_C, token=token, on_lost=self._lost.append, **self._options
        ) as channel:
            await echoes.exchange(channel)
            await channel.flush()
            assert channel.queued_bytes == 0
            self._ids.add(channel.id)

    async def _kill_workers(self, kills: int) -> None:
        killed: set[int] = set()
        for _ in range(kills):
            received = self.received
            while self.received < received + 2 * AHEAD:  # it is at work
                await self._faulty.wait_for_cuts(self._faulty.cuts + 1)
            (worker,) = await until(
                partial(ready_workers, self._daemon, 1), killed.isdisjoint, "another worker is ready"
            )
            killed.add(worker)
            os.kill(worker, signal.SIGKILL)

    def _are_gone(self, channels: list[dict[str, Any]]) -> bool:
        return not self._ids & {each["channel_id"] for each in channels}

    def _size(self) -> tuple[int, int]:
        """Objects of this program, and bytes of the node."""
        gc.collect()
        pages = int(Path(f"/proc/{self._daemon.pid}/statm").read_text().split()[1])
        return len(gc.get_objects()), pages * os.sysconf("SC_PAGESIZE")


def port_of(daemon: Daemon) -> int:
    return int(daemon.url.rpartition(":")[2])


@pytest.mark.timeout(PATIENCE * 2 + CUTS)
@pytest.mark.parametrize("compression", thorough_after(1, [None, "deflate"]))
async def test_connections_break_anywhere_and_each_message_comes_once(
    start: StartNode, compression: str | None
) -> None:
    daemon = await start("echo-c")
    async with FaultyProxy(port_of(daemon), seed=compression, stall_seconds=0.3) as faulty:
        clients = Clients(daemon, faulty, compression=compression, **QUICK)
        await clients.suffer(CUTS * 2 // 5)
    assert clients.missing == 0
    assert clients.received > faulty.cuts


@pytest.mark.thorough
@pytest.mark.timeout(PATIENCE * 2 + CUTS)
async def test_workers_are_killed_amid_the_cuts_and_cost_the_message_in_hand_and_nothing_else(
    start: StartNode,
) -> None:
    daemon = await start("echo-c", settings=AT_ONCE)
    async with FaultyProxy(port_of(daemon), seed="kills", stall_seconds=0.3) as faulty:
        clients = Clients(daemon, faulty, compression=None, **QUICK)
        await clients.suffer(CUTS // 5, KILLS)
    assert clients.missing <= KILLS
    (restarts,) = [each["restarts"] for each in (await daemon.ps()).values()]
    assert restarts >= 1  # a worker may die before the process runs there

    async def deaths() -> int:
        return sum("was killed by signal 9" in line["text"] for line in await daemon.logs())

    await until(deaths, KILLS.__eq__, "each death is in the log")
