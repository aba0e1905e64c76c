"""A guest that takes no messages makes only its own clients wait, and costs no memory."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from .clients import ECHO_C, bound
from .conftest import StartNode
from .daemon import Daemon
from .protocol_forms import PUSHER, do
from .test_http_policies import SETTINGS, SIZE, idle
from .waiting import descendants, until

CLIENTS = 64
MESSAGE = os.urandom(65536)
EACH = 256
"""64 clients of 256 messages of 64 KiB: 1 GiB in all."""
MAY_GROW = 64 * 1024 * 1024


def resident(daemon: Daemon) -> int:
    """Bytes in memory of the node and its workers."""
    pids = {daemon.pid, *(subprocess.pid for subprocess in descendants(daemon.pid))}
    total = 0
    for pid in pids:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        total += 1024 * int(found[1]) if found else 0
    return total


async def test_one_gibibyte_for_a_guest_that_takes_none_costs_no_memory_and_nobody_else_waits(
    start: StartNode,
) -> None:
    daemon = await start("pusher", "echo-c", settings=SETTINGS)
    token = await daemon.token()
    async with bound(daemon, PUSHER, "/control") as control, idle(daemon) as (_, channel):
        assert await do(control, "policy", channel=channel, policy="WAIT") == "ok"
        await control.send(json.dumps({"do": "wait", "channel": channel, "count": 10_000, "size": SIZE}))
        sent = [0] * CLIENTS

        async def offer(number: int) -> None:
            async with bound(daemon, PUSHER, f"/rooms/r{number}") as client:
                try:
                    for _ in range(EACH):
                        await client.socket.send(MESSAGE)
                        sent[number] += 1
                finally:
                    client.socket.transport.abort()

        async with asyncio.TaskGroup() as tasks:
            before = resident(daemon)
            offers = [tasks.create_task(offer(number)) for number in range(CLIENTS)]
            await until(unchanged(sent), lambda times: times > 20, "the clients stand still", 60)
            async with bound(daemon, ECHO_C, "/", token) as client:
                for count in range(100):
                    assert await client.ask(str(count)) == str(count)
            assert sum(sent) < CLIENTS * EACH, "all was taken: the guest did not stand still"
            assert resident(daemon) - before < MAY_GROW
            for task in offers:
                task.cancel()


def unchanged(sent: list[int]) -> Callable[[], Awaitable[int]]:
    """How many times in a row the same was found."""
    last, times = 0, 0

    async def ask() -> int:
        nonlocal last, times
        now = sum(sent)
        times = times + 1 if now == last > 0 else 0
        last = now
        return times

    return ask
