"""Workers are killed and stopped at random moments under load: what was promised to clients and processes holds."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import pytest
from tests.e2e.clients import ECHO_C, Client, registered
from tests.e2e.conftest import StartNode
from tests.e2e.daemon import Daemon
from tests.e2e.packages import package
from tests.e2e.waiting import until
from tests.patience import tried_again, within

from .rounds import LONG_SECONDS, WORKER_KILLS, WORKER_STOPS, chances, each, told
from .subprocesses import ready_workers
from .writers import ONE, TWO, LogTail, Writer, connected, ledger, reading, traffic

AT_ONCE: Final = {"restart_first_delay": 0, "worker_longest_pause": 0.05}
"""Workers and processes return without their pauses, which are for those that fail by themselves."""

SILENCE_SECONDS: Final = 0.7

pytestmark = pytest.mark.timeout(LONG_SECONDS)


@asynccontextmanager
async def writers_of(daemon: Daemon, fault: str) -> AsyncIterator[list[Writer]]:
    """Three clients of each of two processes, connected and listening all through the block."""
    token = await daemon.token()
    writers = [
        Writer(f"w{number}", (ONE, TWO)[number % 2], Random(f"{fault} {number}")) for number in range(6)
    ]
    async with connected(daemon, token, writers), reading(writers):
        yield writers


async def lost_in(writers: Sequence[Writer]) -> dict[str, list[Writer]]:
    """The writers of whom a message is lost, once for each, by process."""
    lost: dict[str, list[Writer]] = {ONE: [], TWO: []}
    of_each = await asyncio.gather(*(writer.settle() for writer in writers))
    for writer, numbers in zip(writers, of_each, strict=True):
        lost[writer.process] += [writer] * len(numbers)
    return lost


async def hit(lines: LogTail, ended: str) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """What the log says of each process that lost its worker, and all that it says, once it says that the worker has
    ended.
    """
    all_lines: list[tuple[str, str]] = []

    async def more() -> list[tuple[str, str]]:
        all_lines.extend(lines.take())
        return all_lines

    await until(more, lambda said: any(ended in text for _, text in said), f"the log says {ended!r}")
    of_process: dict[str, list[str]] = {}
    for source, text in all_lines:
        if text.startswith("lost its worker"):
            of_process.setdefault(source, []).append(text)
    return of_process, all_lines


def held_to_the_promise(lost: dict[str, list[Writer]], said: dict[str, list[str]]) -> None:
    """Whoever kept its worker lost nothing. Of the others, what was in hand is lost at most, and the log says so."""
    for process, writers in lost.items():
        lines = said.get(process, [])
        assert len(writers) <= len(lines), f"{process} lost {len(writers)} messages: {lines}"
        for writer in writers:
            assert writer.client is not None
            named = f"the push of channel {writer.client.channel_id} is not delivered again"
            assert any(named in line for line in lines), f"{named}: {lines}"


async def stored_and_whole(writer: Writer) -> None:
    """What a process says is stored is no older than what it said before."""
    assert writer.client is not None
    highest = writer.entered.get("keep", 0)
    number = await writer.send("keep")
    await until(lambda: _seen(writer), lambda seen: seen >= number, "the last entry is answered")
    assert writer.entered["keep"] == number > highest


async def _seen(writer: Writer) -> int:
    return writer.seen


async def test_killed_workers_cost_the_message_in_hand_and_nothing_else(start: StartNode) -> None:
    daemon = await start(ledger(), workers=2, settings=AT_ONCE)
    lines, victims = LogTail(daemon.home), chances("which worker")
    total = number = 0
    async with writers_of(daemon, "worker kills") as writers:
        for number, delay in each("worker kills", WORKER_KILLS, 0.0, 0.12):
            with told("worker kills", number, delay):
                await traffic(writers, delay)
                victim = victims.choice(sorted(daemon.workers()))
                os.kill(victim.pid, signal.SIGKILL)
                lost = await lost_in(writers)
                said, _ = await hit(lines, "was killed by signal 9")
                held_to_the_promise(lost, said)
                total += sum(map(len, lost.values()))
        for writer in writers:
            await stored_and_whole(writer)
        assert len(await daemon.channels()) == len(writers)
    sent = sum(writer.last_sent for writer in writers)
    print(f"{number + 1} kills, {sent} messages, {total} lost in hand")


_IN_A_BURST: Final = 20_000
_BURSTS: Final = 6


async def test_a_worker_that_is_killed_in_a_burst_costs_the_message_in_hand_and_nothing_else(
    start: StartNode,
) -> None:
    """Of a guest that has more messages at once than its worker tells the node of at a time."""
    daemon = await start(package("echo-c"), workers=1, settings=AT_ONCE)
    lines, moments = LogTail(daemon.home), chances("when in a burst")
    async with registered(daemon, ECHO_C, await daemon.token(), compression=None) as client:
        for _ in range(_BURSTS):
            (worker,) = await ready_workers(daemon, 1)
            killed = asyncio.Event()
            sending = asyncio.create_task(_burst(client, killed))
            answers = [int(await client.receive()) for _ in range(moments.randrange(1, _IN_A_BURST // 4))]
            os.kill(worker, signal.SIGKILL)
            said, _ = await hit(lines, "was killed by signal 9")
            killed.set()
            while answers[-1] < _IN_A_BURST:
                answers.append(int(await client.receive()))
            await sending
            assert answers == sorted(set(answers)), "repeated, or in another order"
            lost = set(range(_IN_A_BURST)) - set(answers)
            assert len(lost) <= 1, f"{len(lost)} from {min(lost)} on"
            if lost:
                named = f"the push of channel {client.channel_id} is not delivered again"
                assert any(named in text for text in said[ECHO_C]), said


async def test_what_a_process_has_finished_is_not_reported_as_lost_with_its_worker(start: StartNode) -> None:
    daemon = await start(package("echo-c"), package("chat"), workers=1, settings=AT_ONCE)
    lines = LogTail(daemon.home)
    async with registered(daemon, ECHO_C, await daemon.token(), compression=None) as client:
        await client.send("before")
        assert await client.receive() == "before"
        (worker,) = await ready_workers(daemon, 1)
        os.kill(worker, signal.SIGKILL)
        said, _ = await hit(lines, "was killed by signal 9")
        await client.send("after")
        assert await client.receive() == "after"
    assert {text for texts in said.values() for text in texts} == {"lost its worker: worker-0"}, said
    assert ECHO_C in said


async def _burst(client: Client, killed: asyncio.Event) -> None:
    """Send numbers all at once, and one more when the worker is killed, which is not in hand then."""
    for number in range(_IN_A_BURST):
        await client.send(str(number))
    await killed.wait()
    await client.send(str(_IN_A_BURST))


@pytest.mark.alone  # how soon is measured
@tried_again
async def test_stopped_workers_are_replaced_in_bounded_time_and_the_others_do_not_notice(
    start: StartNode,
) -> None:
    settings = {**AT_ONCE, "worker_silence_seconds": SILENCE_SECONDS, "worker_ready_seconds": 5}
    daemon = await start(ledger(), workers=2, settings=settings)
    lines, victims = LogTail(daemon.home), chances("which worker")
    async with writers_of(daemon, "worker stops") as writers:
        for number, delay in each("worker stops", WORKER_STOPS, 0.0, 0.12):
            with told("worker stops", number, delay):
                ready = await ready_workers(daemon, 2)
                await traffic(writers, delay)
                os.kill(victims.choice(ready), signal.SIGSTOP)
                # One look more than the silence takes, and then what this machine needs to start another.
                with within(1.2 * SILENCE_SECONDS + 5):
                    lost = await lost_in(writers)
                    said, all_lines = await hit(lines, "was killed by signal 9")
                assert any(f"silent for {SILENCE_SECONDS:g} s" in text for _, text in all_lines)
                held_to_the_promise(lost, said)
        assert len(await daemon.channels()) == len(writers)
