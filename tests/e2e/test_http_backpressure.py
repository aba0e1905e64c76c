"""A guest that takes no messages makes only its own clients wait, costs no memory, and loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from statistics import median

from .clients import ECHO_C, Client, bound
from .conftest import StartNode
from .daemon import Daemon
from .protocol_forms import PUSHER, do
from .test_http_policies import NOISE, SETTINGS, SIZE, idle
from .waiting import descendants, until

CLIENTS = 16
MESSAGE = os.urandom(65536)
EACH = 1024
"""16 clients of 1024 messages of 64 KiB: 1 GiB in all."""
PATIENT = 3
"""Messages of a client that waits for its answers: they come all at once, and its outbox has room for so many."""
MAY_GROW = 64 * 1024 * 1024
MOMENT = 0.05
"""Seconds that an answer may take on a busy machine, however quick the quiet ones were."""


async def test_one_gibibyte_for_a_guest_that_takes_none_costs_no_memory_and_nobody_else_waits(
    start: StartNode,
) -> None:
    # No pings: the client that the guest waits for does not read them, and is to stay for as long as this takes.
    daemon = await start("pusher", "echo-c", settings={**SETTINGS, "connections_ping_seconds": 600})
    token = await daemon.token()
    async with (
        bound(daemon, PUSHER, "/control") as control,
        bound(daemon, ECHO_C, "/", token) as neighbour,
        bound(daemon, PUSHER, "/rooms/patient") as patient,
    ):
        await patient.receive()
        quiet = await answer_seconds(neighbour)
        async with idle(daemon) as (_, channel), asyncio.TaskGroup() as tasks:
            await stand_still(control, channel)
            for number in range(PATIENT):
                await patient.send(bytes([number]) + MESSAGE)
            crowd = Crowd(daemon)
            offers = [tasks.create_task(crowd.offer(number)) for number in range(CLIENTS)]
            await until(crowd.unchanged, lambda times: times > 20, "the clients stand still", 60)
            assert await answer_seconds(neighbour) < max(NOISE * quiet, MOMENT)
            assert crowd.taken < CLIENTS * EACH, "all was taken: the guest did not stand still"
            assert crowd.grown < MAY_GROW
            for task in offers:
                task.cancel()
        assert "ChannelNotFound" in await control.json(), "the guest goes on"
        for number in range(PATIENT):
            assert await patient.receive() == bytes([number]) + MESSAGE


async def stand_still(control: Client, channel: int) -> None:
    """Have the guest wait for a client that does not read; until then it takes no message."""
    assert await do(control, "policy", channel=channel, policy="WAIT") == "ok"
    await control.send(json.dumps({"do": "wait", "channel": channel, "count": 10_000, "size": SIZE}))


async def answer_seconds(client: Client) -> float:
    """How long a neighbour's answer takes, mostly."""
    clock, took = asyncio.get_running_loop().time, []
    for count in range(100):
        began = clock()
        assert await client.ask(str(count)) == str(count)
        took.append(clock() - began)
    return median(took)


class Crowd:
    """Clients that send as much as is taken of them, and what that costs the node and its workers."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._before = resident(daemon)
        self._sent = [0] * CLIENTS
        self._last, self._times = 0, 0
        self.grown = 0

    @property
    def taken(self) -> int:
        """Messages in all."""
        return sum(self._sent)

    async def offer(self, number: int) -> None:
        """Be one of the clients."""
        async with bound(self._daemon, PUSHER, f"/rooms/r{number}", compression=None) as client:
            try:
                for _ in range(EACH):
                    await client.socket.send(MESSAGE)
                    self._sent[number] += 1
            finally:
                client.socket.transport.abort()

    async def unchanged(self) -> int:
        """How many times in a row as much was taken as before; looks at the memory too."""
        self.grown = max(self.grown, resident(self._daemon) - self._before)
        now = self.taken
        self._times = self._times + 1 if now == self._last > 0 else 0
        self._last = now
        return self._times


def resident(daemon: Daemon) -> int:
    """Bytes in memory of the node and its workers."""
    pids = {daemon.pid, *(subprocess.pid for subprocess in descendants(daemon.pid))}
    total = 0
    for pid in pids:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        total += 1024 * int(found[1]) if found else 0
    return total
