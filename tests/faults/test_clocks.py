"""The wall clock jumps while the node runs: lengths of time go by another clock, dates by this one."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Final

import pytest
from tests.e2e.clients import ECHO_C, registered
from tests.e2e.conftest import StartNode
from tests.e2e.daemon import Daemon
from tests.tiers import thorough_after
from websockets.exceptions import ConnectionClosed

from .machine import Machine
from .writers import ONE, Writer, connected, ledger

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR

LIMITS: Final = {
    "connections_ping_seconds": 0.3,
    "connections_pong_seconds": 60,
    "worker_silence_seconds": 30,
}


@pytest.fixture
def machine(tmp_path: Path, compiled: Path) -> Machine:
    return Machine(tmp_path, compiled)


@pytest.mark.parametrize("jump", thorough_after(1, [DAY, -DAY]))
async def test_a_jump_closes_no_channel_ends_no_worker_and_rings_no_timer_early_or_late(
    start: StartNode, machine: Machine, jump: float
) -> None:
    daemon = await start(ledger(), "echo-c", settings=LIMITS, variables=machine.variables)
    token, workers = await daemon.token(), daemon.workers()
    writer = Writer("w1", ONE, Random(1))
    async with (
        registered(daemon, ECHO_C, token) as echo,
        registered(daemon, ONE, token) as bell,
        connected(daemon, token, [writer]),
    ):
        await ask(writer, "soon 1")
        set_at = time.monotonic()
        machine.clock_is_off_by(jump)
        assert await bell.receive() == "rang w1-1"
        assert time.monotonic() - set_at > 0.9
        assert writer.client is not None
        assert await writer.client.receive() == "rang w1-1"
        await ask(writer, "soon 2")  # set after the jump, it is a second as well
        assert await bell.receive() == "rang w1-2"
        assert time.monotonic() - set_at > 1.8
        await asyncio.sleep(1.5)  # idle for longer than the deadlines of pings
        assert await echo.ask("still here") == "still here"
    assert daemon.workers() == workers
    processes = await daemon.ps()
    assert all(item["restarts"] == 0 and item["up_seconds"] < HOUR for item in processes.values())


async def ask(writer: Writer, verb_and_number: str) -> None:
    """Send for the writer what is answered with the number."""
    assert writer.client is not None
    verb, number = verb_and_number.split(" ")
    assert await writer.client.ask(f"{verb} {writer.name} {number}") == number


async def test_tokens_are_dates_so_a_clock_set_forward_ends_them_and_set_back_they_are_good_again(
    start: StartNode, machine: Machine
) -> None:
    daemon = await start("echo-c", variables=machine.variables)
    token = await daemon.token(ttl=600)
    async with registered(daemon, ECHO_C, token) as client:
        machine.clock_is_off_by(HOUR)
        assert not await opens(daemon, token)
        assert await client.ask("open before") == "open before"
        machine.clock_is_off_by(0)
        assert await opens(daemon, token)


async def opens(daemon: Daemon, token: str) -> bool:
    """Whether the token opens a channel."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(registered(daemon, ECHO_C, token))
        except ConnectionClosed:
            return False
        return True


@pytest.mark.thorough
async def test_a_durable_timer_is_a_date_for_the_next_node(start: StartNode, machine: Machine) -> None:
    """A node that starts when the date has passed by its clock rings at once; one for which it is to come, does not."""
    daemon = await start(ledger(), variables=machine.variables)
    token = await daemon.token(ttl=7 * 24 * 3600)
    writer = Writer("w1", ONE, Random(1))
    async with connected(daemon, token, [writer]):
        await ask(writer, "timer 1")  # in an hour
    await daemon.kill()
    machine.clock_is_off_by(2 * HOUR)
    daemon = await start(ledger(), home=daemon.home, variables=machine.variables)
    line = await daemon.log_line(ONE, "rang")
    assert line["text"].endswith("w1-1")


async def test_the_log_goes_on_and_limits_as_before_when_the_clock_goes_back(
    start: StartNode, machine: Machine
) -> None:
    daemon = await start(ledger(), variables=machine.variables)
    machine.clock_is_off_by(-DAY)
    for _ in range(3):
        await daemon.ask("restart", process=ONE)
    lines = [line for line in await daemon.logs() if line["source"] == ONE and "runs on" in line["text"]]
    assert len(lines) == 4
    assert lines[-1]["time"] < lines[0]["time"]
