"""What processes use of what they may: `guesthouse ps` shows it, and the log names each limit that is met."""

from __future__ import annotations

import asyncio
import os

import pytest

from .clients import ECHO_C, MAYFLY, ROGUE, Client, registered
from .conftest import StartNode
from .daemon import Daemon
from .waiting import until

PAGE = 65536
LIMITS = {
    "process_memory_bytes": 32 * 2**20,
    "process_cpu_seconds_per_message": 60,
    "process_cpu_share": 0.5,
    "process_host_calls_per_second": 5_000,
    "process_mailbox_bytes": 2**20,
    "process_state_bytes": 16 * PAGE,
    "process_log_lines_per_second": 50,
}


async def test_ps_shows_what_each_process_uses_of_what_it_may(start: StartNode) -> None:
    daemon = await start("echo-c", "rogue", settings=LIMITS)
    async with registered(daemon, ROGUE, await daemon.token()) as client:
        assert await client.receive() == "opened"
        assert await client.ask("keep 3") == "0"
        assert await client.ask("chatter 500") == "chattered"
        await client.ask("grow")
    used = await until(
        daemon.ps,
        lambda all_: all_[ROGUE]["host_calls"] > 500 and all_[ROGUE]["host_calls_per_second"] == 0,
        "the rogue comes to rest",
    )
    rogue, echo = used[ROGUE], used[ECHO_C]
    assert rogue["state_bytes"] == 3 * PAGE
    assert echo["state_bytes"] == 0
    assert echo["memory_bytes"] % PAGE == 0
    assert 0 < rogue["log_lines_dropped"] < 500
    assert 30 * 2**20 < rogue["memory_bytes"] <= 32 * 2**20
    assert 0 < rogue["cpu_message_seconds"] <= rogue["cpu_seconds"]
    assert rogue["cpu_share"] == 0.0
    assert rogue["limits"] == {name.removeprefix("process_"): limit for name, limit in LIMITS.items()}
    lines = (await daemon.cli("ps", "--limits")).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["PROCESS", *used]
    (line,) = (line for line in lines if line.startswith(ROGUE))
    for shown in ("of 32.0 MiB", "of 60 s", "0% of 50%", "0 of 5,000", "192.0 KiB of 1.0 MiB"):
        assert shown in line


async def shout(client: Client) -> None:
    """Send more than fits anywhere."""
    for _ in range(1000):
        await client.socket.send(os.urandom(PAGE))


async def named(daemon: Daemon, process: str, *texts: str) -> None:
    assert (await daemon.log_line(process, *texts))["level"] == "warning"


@pytest.mark.thorough
async def test_the_log_names_each_limit_that_a_process_meets(start: StartNode) -> None:
    daemon = await start("echo-c", "rogue", settings=LIMITS)
    token = await daemon.token()
    async with registered(daemon, ROGUE, token) as client:
        assert await client.receive() == "opened"
        assert await client.ask("keep 17") == "1"  # too-big, to the process
        await named(daemon, ROGUE, f"keeping {17 * PAGE} bytes was refused")
        assert await client.ask("chatter 20000") == "chattered"
        await named(daemon, ROGUE, "log lines over the rate were dropped")
        await named(daemon, ROGUE, "it makes over 5000 host calls a second: it is throttled to that")
        await client.ask("grow")
        await named(daemon, ROGUE, "its memory is full, or nearly so", f"of {32 * 2**20} bytes")
        await client.send("deaf")
        shouting = asyncio.ensure_future(shout(client))
        try:
            await named(daemon, ROGUE, f"its mailbox is full ({2**20} bytes, process.mailbox_bytes)")
        finally:
            client.socket.transport.abort()
            await asyncio.gather(shouting, return_exceptions=True)


@pytest.mark.thorough
async def test_a_process_that_computes_is_held_back_to_its_share_and_its_neighbour_serves(
    start: StartNode,
) -> None:
    daemon = await start("echo-c", "rogue", settings={**LIMITS, "process_cpu_share": 0.1})
    token = await daemon.token()
    async with registered(daemon, MAYFLY, token) as client, registered(daemon, ECHO_C, token) as neighbour:
        assert await client.receive() == "opened"
        await client.send("loop")
        await named(daemon, MAYFLY, "it uses over 10.0% of its worker's time: it is throttled to that")
        assert await neighbour.ask("still here") == "still here"
        held = await until(daemon.ps, lambda all_: all_[MAYFLY]["held_seconds"] > 1, "it is held back")
        assert 0 < held[MAYFLY]["cpu_seconds"] < held[MAYFLY]["held_seconds"]
        assert held[MAYFLY]["state"] == "running"
