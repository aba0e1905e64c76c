"""Stopping, starting again, and losing parts: what clients and processes see of it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from tests.patience import tried_again, within

from .clients import COUNTER, ECHO, ECHO_C, RECORDER, ROGUE, Client, bound, close_of, registered
from .conftest import StartNode
from .daemon import Daemon
from .test_channels import events_of
from .waiting import until


async def talk_until_closed(client: Client) -> tuple[int, str]:
    """Keep sending and reading until the node closes the channel; how it did."""

    async def send() -> None:
        while True:
            await client.socket.send("more" * 100)
            await asyncio.sleep(0)  # sending alone lets nobody else run while there is room

    sending = asyncio.ensure_future(send())
    try:
        return await close_of(client.socket)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def count_of(daemon: Daemon, token: str) -> int:
    response = await daemon.get(f"/{COUNTER}/count", token)
    assert response.status_code == 200, response.text
    return int(response.text)


@tried_again
async def test_sigterm_amid_traffic_closes_with_1001_keeps_state_and_exits_with_0(start: StartNode) -> None:
    daemon = await start("echo", "echo-c", "counter", workers=2)
    token = await daemon.token()
    async with (
        registered(daemon, ECHO, token) as one,
        registered(daemon, ECHO_C, token) as two,
        bound(daemon, COUNTER, "/", token) as counter,
        asyncio.TaskGroup() as tasks,
    ):
        assert await counter.receive() == "0"
        assert await counter.ask("+") == "1"
        assert await counter.ask("+") == "2"
        talking = [tasks.create_task(talk_until_closed(client)) for client in (one, two)]
        await until(
            daemon.channels,
            lambda items: min(item["messages_out"] for item in items) > 1,
            "traffic on all channels",
        )
        with within(5):
            assert await daemon.terminate() == 0
        closes = [await task for task in talking] + [await counter.closed()]
    assert closes == [(1001, "the node is shutting down")] * 3
    again = await start("counter", home=daemon.home)
    assert await count_of(again, token) == 2  # the token of before works as well


@tried_again
async def test_sigterm_does_not_wait_for_a_process_that_loops_or_a_client_that_is_silent(
    start: StartNode,
) -> None:
    daemon = await start("rogue", "echo-c")
    token = await daemon.token()
    async with (
        registered(daemon, ROGUE, token) as client,
        registered(daemon, ECHO_C, token) as silent,
    ):
        silent.socket.transport.pause_reading()
        await client.send("loop")
        with within(5):
            assert await daemon.terminate() == 0
        silent.socket.transport.abort()


async def test_sigint_stops_as_sigterm_does(start: StartNode) -> None:
    daemon = await start("echo-c")
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        os.kill(daemon.pid, signal.SIGINT)
        assert await client.closed() == (1001, "the node is shutting down")
        assert await daemon.ended() == 0


async def test_a_home_is_good_after_sigkill(start: StartNode) -> None:
    daemon = await start("counter", "echo-c")
    token = await daemon.token()
    async with bound(daemon, COUNTER, "/", token) as counter:
        for count in range(5):
            assert await counter.receive() == str(count)
            await counter.send("+")
        assert await counter.receive() == "5"
        await daemon.kill()
    again = await start("counter", "echo-c", home=daemon.home)
    assert await count_of(again, token) == 5
    async with registered(again, ECHO_C, token) as client:
        assert await client.ask("hello") == "hello"
    assert (await again.cli("logs")).stdout.count("serves") == 1


async def test_channels_outlive_a_worker_that_is_killed(start: StartNode) -> None:
    daemon = await start("echo", "echo-c", "recorder")
    token = await daemon.token()
    async with (
        registered(daemon, ECHO, token) as python,
        registered(daemon, ECHO_C, token) as c,
        registered(daemon, RECORDER, token) as recorded,
    ):
        for client in (python, c):
            assert await client.ask("before") == "before"
        (worker,) = daemon.workers()
        os.kill(worker.pid, signal.SIGKILL)
        # What is sent while there is no worker waits for the next one.
        for client in (python, c):
            assert await client.ask("after") == "after"
        (successor,) = daemon.workers()
        assert successor != worker
        line = await daemon.log_line(ECHO_C, "lost its worker: worker-0")
        assert line["level"] == "error"
        await daemon.log_line("worker-0", "was killed by signal 9")
        assert {item["channel_id"] for item in await daemon.channels()} == {
            python.channel_id,
            c.channel_id,
            recorded.channel_id,
        }
        (told,) = await events_of(daemon, token)
        assert (told["event"], told["resumed"]) == ("open", True)
        assert told["channel"] == recorded.channel_id
    await daemon.no_channels()


@pytest.mark.thorough
async def test_processes_of_one_worker_go_on_when_another_worker_is_killed(start: StartNode) -> None:
    daemon = await start("echo-c", "rogue", workers=2)
    token = await daemon.token()
    places = {name: item["worker"] for name, item in (await daemon.ps()).items()}
    assert len(set(places.values())) == 2
    async with registered(daemon, ECHO_C, token) as client:
        for _ in range(3):
            for worker in daemon.workers():
                os.kill(worker.pid, signal.SIGKILL)
                assert await client.ask("still here") == "still here"
                await until(lambda: workers_of(daemon), lambda count: count == 2, "two workers")
        assert [item["channel_id"] for item in await daemon.channels()] == [client.channel_id]


async def workers_of(daemon: Daemon) -> int:
    return len(daemon.workers())
