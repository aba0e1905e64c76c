"""The Python client, while its connections break at random bytes: each message comes once and in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.clients import ECHO_C
from tests.e2e.conftest import StartNode
from tests.e2e.daemon import Daemon
from tests.e2e.waiting import until
from tests.patience import PATIENCE

from guesthouse_client import Channel, connect

from .proxy import FaultyProxy

CUTS = int(os.environ.get("GUESTHOUSE_CUTS", "300"))
"""How many connections break, in all."""
CLIENTS = 6
AHEAD = 60
"""Messages that a client sends before it has received the answers."""

QUICK: dict[str, Any] = {
    "first_delay": 0.01,
    "longest_delay": 0.1,
    "connect_seconds": 1.0,
    "ping_seconds": 0.3,
    "pong_seconds": 0.3,
    "open_seconds": PATIENCE,
    "close_seconds": PATIENCE,
    "proxy": None,
}


def numbered(number: int) -> str | bytes:
    """A message that says its number; some are binary, some begin with the escape, some are long."""
    message = f"{number} " + "x" * (number * 37 % 900)
    return message.encode() if number % 3 == 0 else "\x10" * (number % 4) + message


async def echoed(channel: Channel, numbers: Iterator[int], done: asyncio.Event) -> int:
    """Send numbered messages to an echo until it is done; each comes back once, in order. Returns how many."""
    ahead = asyncio.Semaphore(AHEAD)
    sent = 0

    async def send() -> None:
        nonlocal sent
        while not done.is_set():
            await ahead.acquire()
            await channel.send(numbered(next(numbers)))
            sent += 1
        await channel.send("end")

    sending = asyncio.create_task(send())
    try:
        received = 0
        async for message in channel:
            if message == "end":
                break
            assert message == numbered(received)
            received += 1
            ahead.release()
        assert received == sent
        return received
    finally:
        await sending


async def cut(daemon: Daemon, process: str, faulty: FaultyProxy, cuts: int, **options: Any) -> int:
    """Clients of an echo behind a proxy, until it has broken enough connections. Returns how many messages came."""
    token = await daemon.token()
    done = asyncio.Event()
    lost: list[object] = []
    opened: set[int | None] = set()
    total = 0

    async def one() -> None:
        nonlocal total
        async with connect(
            faulty.url, process=process, token=token, on_lost=lost.append, **options
        ) as channel:
            total += await echoed(channel, iter(range(10**9)), done)
            await channel.flush()
            assert channel.queued_bytes == 0
            opened.add(channel.id)

    async with asyncio.timeout(PATIENCE + cuts), asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(one()) for _ in range(CLIENTS)]
        await faulty.wait_for_cuts(cuts)
        faulty.calm()
        done.set()
        await asyncio.wait(clients)
    assert lost == []
    assert len(opened) == CLIENTS

    def gone(
        channels: list[dict[str, Any]],
    ) -> bool:  # others were opened by attempts that broke before the answer
        return not opened & {each["channel_id"] for each in channels}

    await until(daemon.channels, gone, "channels are left open")
    return total


@pytest.mark.timeout(PATIENCE * 2 + CUTS)
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_connections_break_anywhere_and_each_message_comes_once(
    start: StartNode, compression: str | None
) -> None:
    daemon = await start("echo-c")
    port = int(daemon.url.rpartition(":")[2])
    async with FaultyProxy(port, seed=compression) as faulty:
        total = await cut(daemon, ECHO_C, faulty, CUTS // 2, compression=compression, **QUICK)
    assert total > faulty.cuts
