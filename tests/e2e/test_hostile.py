"""Guests that do harm: the node and every other process go on, and the log says what happened to whom."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from tests.tiers import thorough_after

from .clients import ECHO_C, MAYFLY, RECORDER, ROGUE, SPINNER, Client, registered
from .conftest import StartNode
from .daemon import Daemon
from .packages import package
from .waiting import until

LIMITS = {
    "process_cpu_seconds_per_message": 1,
    "process_memory_bytes": 32 * 2**20,
    "process_start_seconds": 1,
    "restart_first_delay": 0.1,
}


@dataclass
class Pulse:
    """Echoes once and again beside whatever else happens; an answer that is late or wrong fails the test."""

    beats: int = 0

    async def beat_until(self, stop: asyncio.Event, client: Client) -> None:
        while not stop.is_set():
            assert await client.ask(f"beat {self.beats}") == f"beat {self.beats}"
            self.beats += 1
            await asyncio.sleep(0.002)  # so as to keep no CPU busy itself


@asynccontextmanager
async def beating(daemon: Daemon, token: str) -> AsyncIterator[Pulse]:
    """Echo answers all through the block, and after it."""
    async with registered(daemon, ECHO_C, token) as client:
        pulse, stop = Pulse(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pulse.beat_until(stop, client))
            try:
                yield pulse
            finally:
                stop.set()
        assert await client.ask("after") == "after"


async def goes_on(pulse: Pulse) -> None:
    """Echo has answered since now."""
    before = pulse.beats

    async def beats() -> int:
        return pulse.beats

    await until(beats, lambda now: now > before + 2, "echo answers")


@pytest.fixture
async def daemon(start: StartNode) -> Daemon:
    """A node whose one worker runs echo beside the rogue, with small limits."""
    return await start("echo-c", "rogue", settings=LIMITS)


@pytest.mark.parametrize(
    ("word", "told"),
    thorough_after(
        2,
        [
            ("trap", "trapped: wasm `unreachable` instruction executed"),
            ("loop", "ran out of time: "),
            ("allocate", "ran out of memory: "),
            ("recurse", "overflowed its stack: call stack exhausted"),
            ("flood-for-ever", "ran out of time: "),
            ("wild-pointer", "trapped: "),
            ("not-utf8", "trapped: "),
            ("return", "returned"),
        ],
        names=2,
    ),
)
async def test_a_process_that_fails_returns_with_its_channels_and_harms_nobody(
    daemon: Daemon, word: str, told: str
) -> None:
    token = await daemon.token()
    async with beating(daemon, token) as pulse, registered(daemon, ROGUE, token) as one:
        async with registered(daemon, ROGUE, token) as other:
            assert await one.receive() == await other.receive() == "opened"
            await one.send(word)
            line = await daemon.log_line(ROGUE, told)
            assert line["level"] == ("info" if word == "return" else "error")
            await goes_on(pulse)
            assert await other.receive() == "resumed"
            while (answer := await one.receive()) != "resumed":
                assert isinstance(answer, bytes)  # what a flood had sent before
            # It serves the same channels again.
            assert await other.ask("grow") not in ("opened", "resumed")
            assert (await daemon.ps())[ROGUE]["restarts"] == 1
            assert len(daemon.workers()) == 1
        await goes_on(pulse)
    await daemon.no_channels()


@pytest.mark.thorough
async def test_a_process_that_fails_again_and_again_waits_longer_each_time(daemon: Daemon) -> None:
    token = await daemon.token()
    async with beating(daemon, token), registered(daemon, ROGUE, token) as client:
        assert await client.receive() == "opened"
        await client.send("trap")
        assert await client.receive() == "resumed"
        for pause in ("0.1", "0.2", "0.4"):
            await client.send("trap")
            await daemon.log_line(ROGUE, f"is started again in {pause} s")
            assert await client.receive() == "resumed"


async def test_a_process_that_is_not_restarted_is_gone_and_its_clients_are_told(daemon: Daemon) -> None:
    token = await daemon.token()
    async with beating(daemon, token), registered(daemon, MAYFLY, token) as client:
        assert await client.receive() == "opened"
        await client.send("trap")
        code, reason = await client.closed()
        assert code == 1011
        assert reason.startswith("the process ended")
    assert (await daemon.ps())[MAYFLY]["state"] == "failed"
    await daemon.log_line(MAYFLY, "trapped")
    await daemon.no_channels()


async def test_memory_over_the_limit_is_refused_to_a_process_that_can_live_with_less(daemon: Daemon) -> None:
    token = await daemon.token()
    async with registered(daemon, ROGUE, token) as client:
        assert await client.receive() == "opened"
        pages = int(await client.ask("grow"))
        assert 0 < pages * 65536 <= LIMITS["process_memory_bytes"]
        assert await client.ask("grow") == "0"
        assert (await daemon.ps())[ROGUE]["restarts"] == 0


async def test_a_channel_of_another_process_looks_like_one_that_does_not_exist(daemon: Daemon) -> None:
    token = await daemon.token()
    async with registered(daemon, ECHO_C, token) as victim, registered(daemon, ROGUE, token) as rogue:
        assert await rogue.receive() == "opened"
        for channel_id in (victim.channel_id, 4_000_000_000):
            assert await rogue.ask(f"push {channel_id}") == "1"
            assert await rogue.ask(f"close {channel_id}") == "1"
        assert await victim.ask("still mine") == "still mine"


async def test_a_flood_to_a_client_that_does_not_read_is_held_back_at_its_outbox(start: StartNode) -> None:
    daemon = await start("echo-c", "rogue")
    token = await daemon.token()
    slow = registered(daemon, ROGUE, token, compression=None)
    async with beating(daemon, token) as pulse, slow as client:
        assert await client.receive() == "opened"
        client.socket.transport.pause_reading()
        await client.send("flood")
        await daemon.log_line(ROGUE, "the flood is held back")
        await goes_on(pulse)
        (channel,) = await daemon.channels(ROGUE)
        assert 0 < channel["outbox_bytes"] <= 4 * 2**20
        client.socket.transport.resume_reading()
        taken = 0
        while isinstance(message := await client.receive(), bytes):
            taken += 1
        assert taken == int(message)  # nothing that was taken is lost
        assert (await daemon.ps())[ROGUE]["restarts"] == 0


async def test_a_flood_of_log_lines_is_counted_and_escaped(daemon: Daemon) -> None:
    token = await daemon.token()
    async with beating(daemon, token), registered(daemon, ROGUE, token) as client:
        assert await client.receive() == "opened"
        assert await client.ask("chatter 20000") == "chattered"
        assert await client.ask("grow") != ""
    lines = [line for line in await daemon.logs() if line["source"] == ROGUE]
    assert sum(line["text"].endswith("blah") for line in lines) < 1000
    assert any("log lines over the rate were dropped" in line["text"] for line in lines)
    assert "\x1b" not in daemon.stderr()


async def test_a_flood_of_requests_to_a_neighbour_fills_that_mailbox_and_no_more(start: StartNode) -> None:
    daemon = await start("echo-c", "rogue")
    token = await daemon.token()
    async with beating(daemon, token) as pulse, registered(daemon, ROGUE, token) as client:
        assert await client.receive() == "opened"
        assert await client.ask("pester 1000") == "pestered"
        await goes_on(pulse)
        assert await client.ask("grow") not in ("opened", "resumed")


async def test_state_over_the_limit_is_refused(start: StartNode) -> None:
    daemon = await start("rogue", settings={"process_state_bytes": 2**20})
    async with registered(daemon, ROGUE, await daemon.token()) as client:
        assert await client.receive() == "opened"
        assert await client.ask("keep 17") == "1"
        assert await client.ask("keep 16") == "0"


async def test_a_process_that_takes_no_messages_holds_back_its_clients_alone(start: StartNode) -> None:
    daemon = await start("echo-c", "rogue", settings={"process_mailbox_bytes": 2**20})
    token = await daemon.token()
    async with beating(daemon, token) as pulse, registered(daemon, ROGUE, token) as client:
        assert await client.receive() == "opened"
        await client.send("deaf")

        async def shout() -> None:
            for _ in range(1000):
                await client.socket.send(os.urandom(65536))  # compression makes it no smaller

        shouting = asyncio.ensure_future(shout())
        try:
            # 64 MiB do not fit anywhere: the client is held back, and stays connected.
            done, _ = await asyncio.wait([shouting], timeout=2)
            assert not done
            await goes_on(pulse)
            assert (await daemon.ps())[ROGUE]["mailbox_bytes"] <= 2 * 2**20
            assert len(await daemon.channels(ROGUE)) == 1
        finally:
            client.socket.transport.abort()
            await asyncio.gather(shouting, return_exceptions=True)


async def test_a_sleeping_process_holds_up_nobody(start: StartNode) -> None:
    daemon = await start("echo-c", "recorder")
    token = await daemon.token()
    async with beating(daemon, token) as pulse, registered(daemon, RECORDER, token) as client:
        began = asyncio.get_running_loop().time()
        await client.send('{"sleep": 1}')
        await goes_on(pulse)
        assert await client.receive() == "awake"
        assert asyncio.get_running_loop().time() - began >= 1


@pytest.mark.thorough
async def test_many_loops_at_once_leave_time_for_others(start: StartNode) -> None:
    names = [f"loop{number}:test:test.os={package('rogue') / 'build/rogue.wasm'}" for number in range(8)]
    daemon = await start("echo-c", *names, settings=LIMITS)
    token = await daemon.token()
    async with beating(daemon, token) as pulse:
        for number in range(8):
            async with registered(daemon, f"loop{number}:test:test.os", token) as client:
                assert await client.receive() == "opened"
                await client.send("loop")
        await goes_on(pulse)
        for number in range(8):
            await daemon.log_line(f"loop{number}:test:test.os", "ran out of time", seconds=60)


async def test_a_process_that_never_asks_for_a_message_is_ended_and_the_node_serves(start: StartNode) -> None:
    daemon = await start("echo-c", "spinner", settings=LIMITS)
    await daemon.log_line(SPINNER, "ran out of time", "before it asked for a message")
    assert set(await daemon.ps()) >= {ECHO_C}
    await until(daemon.ps, lambda listed: listed[SPINNER]["state"] == "failed", "the spinner is gone")
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("hello") == "hello"
