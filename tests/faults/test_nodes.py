"""Nodes are stopped, continued and killed at random moments under load: nothing is lost by the first, and what was
said to be stored is there, whole, after the last.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Final

import pytest
from tests.e2e.conftest import StartNode
from tests.e2e.daemon import Daemon
from websockets.exceptions import ConnectionClosed

from .rounds import LONG_SECONDS, NODE_KILLS, NODE_STOPS, chances, each, told
from .writers import ONE, TWO, LogTail, Writer, connected, ledger, reading, traffic

pytestmark = pytest.mark.timeout(LONG_SECONDS)

SILENCE_SECONDS: Final = 5.0
LONG_STOP: Final = 7.0


def new_writers(fault: str) -> list[Writer]:
    return [Writer(f"w{number}", (ONE, TWO)[number % 2], Random(f"{fault} {number}")) for number in range(6)]


async def stop_for(daemon: Daemon, seconds: float) -> None:
    """SIGSTOP, and SIGCONT after so long."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


async def nothing_lost(writers: Sequence[Writer]) -> None:
    assert await asyncio.gather(*(writer.settle() for writer in writers)) == [[]] * len(writers)


async def test_a_node_that_is_stopped_and_continued_loses_nothing(start: StartNode) -> None:
    daemon = await start(ledger(), workers=2)
    token, writers, lengths = await daemon.token(), new_writers("node stops"), chances("how long")
    before = daemon.workers()
    async with connected(daemon, token, writers), reading(writers):
        for number, delay in each("node stops", NODE_STOPS, 0.0, 0.06):
            with told("node stops", number, delay):
                await traffic(writers, delay)
                writing = asyncio.ensure_future(traffic(writers, 0.05))
                await stop_for(daemon, lengths.uniform(0.01, 0.15))
                await writing
                await nothing_lost(writers)
        assert daemon.workers() == before


@pytest.mark.thorough
async def test_a_node_stopped_for_longer_than_its_deadlines_ends_no_worker_and_no_client(
    start: StartNode,
) -> None:
    """Its workers and clients answered what it asked, or would have: it has to read before it judges."""
    settings = {
        "worker_silence_seconds": SILENCE_SECONDS,
        "connections_ping_seconds": 0.5,
        "connections_pong_seconds": 5,
    }
    daemon = await start(ledger(), workers=2, settings=settings)
    token, writers, lines = await daemon.token(), new_writers("long stop"), LogTail(daemon.home)
    before = daemon.workers()
    async with connected(daemon, token, writers), reading(writers):
        await nothing_lost(writers)
        await stop_for(daemon, LONG_STOP)
        await nothing_lost(writers)
        # Idle clients are pinged and answer; workers are asked and answer.
        await asyncio.sleep(1.5 * SILENCE_SECONDS)
        await nothing_lost(writers)
        assert daemon.workers() == before
    assert not any("killing it" in text or "lost its worker" in text for _, text in lines.take())


async def test_killed_nodes_keep_what_they_said_is_stored_whole_and_no_older(
    new_home: Callable[[], Path],
) -> None:
    home, writers = new_home(), new_writers("node kills")
    token = ""
    for number, delay in each("node kills", NODE_KILLS, 0.02, 0.25, least=6):
        with told("node kills", number, delay):
            async with Daemon(home, [ledger()], workers=2, new=True) as daemon:
                token = token or await daemon.token()
                await until_killed(daemon, token, writers, delay)
            held_to_the_promise(home, writers)
    verbs = [verb for writer in writers for verb in writer.entered]
    assert {"keep", "kv", "timer"} <= set(verbs), "nothing was stored in any round"


async def until_killed(daemon: Daemon, token: str, writers: Sequence[Writer], delay: float) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(connected(daemon, token, writers))
        readers = [asyncio.ensure_future(writer.read()) for writer in writers]
        writing = asyncio.ensure_future(traffic(writers, 60))
        await asyncio.sleep(delay)
        await daemon.kill()
        for ended in (writing, *readers):
            with suppress(ConnectionClosed):
                await ended
    for writer in writers:
        writer.seen = writer.last_sent  # the node is gone: nobody will answer these


def held_to_the_promise(home: Path, writers: Sequence[Writer]) -> None:
    """What a killed node left, read as another program would."""
    database = sqlite3.connect(home / "state.sqlite")
    (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
    assert verdict == "ok"
    stored = {}
    for process, content in database.execute("SELECT process, bytes FROM state"):
        whole = json.loads(content)
        assert whole["sum"] == sum(whole["last"].values())
        assert len(whole["padding"]) == whole["sum"] * 7919 % 5000, "torn"
        stored[process] = whole["last"]
    values = {bytes(key).decode(): int(value) for key, value in database.execute("SELECT key, value FROM kv")}
    timers = {name for (name,) in database.execute("SELECT id FROM timers")}
    database.close()
    for writer in writers:
        name, entered = writer.name, writer.entered
        assert entered.get("keep", 0) <= stored.get(writer.process, {}).get(name, 0) <= writer.last_sent
        assert entered.get("kv", 0) <= values.get(name, 0) <= writer.last_sent
        if "timer" in entered:
            assert f"{name}-{entered['timer']}" in timers
