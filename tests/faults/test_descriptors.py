"""A node that may open no more files: who is there already goes on, it does not spin, and it recovers by itself."""

from __future__ import annotations

import asyncio
import os
import resource
import select
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.e2e.clients import ECHO_C, Client, registered
from tests.e2e.conftest import StartNode
from tests.e2e.daemon import Daemon
from tests.e2e.waiting import Subprocess, until
from tests.patience import PATIENCE, Disturbed, tried_again
from tests.tiers import thorough_but

from guesthouse.control.control_client import CommandRefused
from guesthouse.http_server.state.descriptors import SPARE

from .test_compilers import install, next_version, node_with_echo, nothing_half_done
from .writers import LogTail

SPENT: Final = 0.5
"""Of one CPU, the most that a node may spend on clients that it cannot take."""


@asynccontextmanager
async def without_descriptors(daemon: Daemon, more: int) -> AsyncIterator[None]:
    """The node may open `more` files than it has open. Below zero: it has more open than it may."""
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    open_now = await open_files(daemon.pid)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (open_now + more, before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)


async def open_files(pid: int) -> int:
    """How many files a node has open when it does nothing: what it opens for a moment is not counted."""
    fewest = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(20):
        await asyncio.sleep(0.02)
        fewest = min(fewest, len(os.listdir(f"/proc/{pid}/fd")))
    return fewest


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def strangers(daemon: Daemon, count: int) -> list[socket.socket]:
    """Clients that connect, as far as the kernel is concerned, and ask for nothing."""
    port = int(daemon.url.rpartition(":")[2])
    return [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(count)]


async def echoes(client: Client, seconds: float) -> int:
    """Ask for so long; how often it was answered."""
    loop = asyncio.get_running_loop()
    end, count = loop.time() + seconds, 0
    while loop.time() < end:
        count += 1
        assert await client.ask(str(count)) == str(count)
        await asyncio.sleep(0.02)
    return count


@pytest.mark.alone  # what it costs the node is measured
@pytest.mark.parametrize("more", thorough_but([3, -5], 3))
@tried_again
async def test_clients_that_are_there_go_on_and_others_come_once_there_is_room(
    start: StartNode, more: int
) -> None:
    daemon = await start("echo-c")
    token = await daemon.token()
    async with registered(daemon, ECHO_C, token) as client:
        async with without_descriptors(daemon, more):
            waiting = strangers(daemon, 20)
            spent = cpu_seconds(daemon.pid)
            if await echoes(client, 2.0) <= 10:
                raise Disturbed("a client that was there was not answered ten times in two seconds")
            assert cpu_seconds(daemon.pid) - spent < SPENT * 2.0
            for stranger in waiting:
                stranger.close()
        line = await daemon.log_line("http-server", "raise the limit on open files")
        assert line["level"] in ("warning", "error")
        async with registered(daemon, ECHO_C, token) as other:
            assert await other.ask("room again") == "room again"
        assert await client.ask("still here") == "still here"
        assert len(await daemon.channels()) == 1


@pytest.mark.thorough
async def test_a_package_that_cannot_be_compiled_for_lack_of_descriptors_is_refused_in_one_line(
    tmp_path: Path,
) -> None:
    async with node_with_echo(tmp_path) as (daemon, folder):
        next_version(folder, 1)
        async with without_descriptors(daemon, 2):
            with pytest.raises(CommandRefused) as refused:
                await install(daemon, folder)
        assert "\n" not in str(refused.value)
        assert "Too many open files" in str(refused.value)
        assert (await install(daemon, folder))["version"] == "0.2.0"
        next_version(folder, 2)
        await install(daemon, folder)  # what could not be removed is removed with what this one replaces
        nothing_half_done(daemon.home)


async def test_a_worker_that_cannot_be_replaced_for_lack_of_descriptors_is_replaced_later(
    start: StartNode,
) -> None:
    daemon = await start("echo-c", settings={"worker_longest_pause": 0.2})
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        (worker,) = daemon.workers()
        async with without_descriptors(daemon, -8):
            os.kill(worker.pid, 9)
            lines = LogTail(daemon.home)
            await until(
                lambda: _said(lines),
                lambda said: "could not be spawned: Too many open files" in said,
                "why not",
            )
        assert await client.ask("replaced") == "replaced"


async def _said(lines: LogTail) -> str:
    return "\n".join(text for _, text in lines.take())


async def test_clients_cannot_take_the_descriptors_of_operator_and_workers(start: StartNode) -> None:
    daemon = await start("echo-c")
    token = await daemon.token()
    async with registered(daemon, ECHO_C, token) as client:
        before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        limit = 2 * SPARE + await open_files(daemon.pid)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
        waiting = strangers(daemon, 2 * limit)
        await daemon.log_line("http-server", "are not for clients", "raise the limit on open files")
        assert ECHO_C in await daemon.ps()
        assert (await daemon.cli("kill", ECHO_C)).code == 0
        assert (await daemon.cli("revoke", await daemon.token())).code == 0
        (worker,) = daemon.workers()
        os.kill(worker.pid, 9)
        await until(lambda: _workers(daemon), lambda now: now and worker not in now, "another worker")
        assert await open_files(daemon.pid) <= limit - SPARE // 2
        for stranger in waiting:
            stranger.close()
        async with registered(daemon, ECHO_C, token) as other:
            assert await other.ask("room again") == "room again"
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
        await client.socket.close()


async def _workers(daemon: Daemon) -> set[Subprocess]:
    return daemon.workers()


async def test_a_node_that_may_open_few_files_says_how_many_clients_it_takes(
    start: StartNode, tmp_path: Path
) -> None:
    limited = tmp_path / "python"
    limited.write_text(f'#!/bin/sh\nulimit -n 256\nexec {sys.executable} "$@"\n')
    limited.chmod(0o700)
    daemon = await start("echo-c", python=limited)
    line = await daemon.log_line("node", "clients at once instead of connections.total (20000)")
    room = int(line["text"].split()[0])
    assert 256 - 3 * SPARE < room < 256 - SPARE
    assert "the limit on open files is 256. Raise it by LimitNOFILE=" in line["text"]
    waiting = strangers(daemon, 400)
    refused = await until(lambda: _answers(waiting), lambda told: b"503" in told, "that somebody is refused")
    assert b"as many connections as it may hold" in refused
    assert ECHO_C in await daemon.ps()
    for stranger in waiting:
        stranger.close()


async def _answers(clients: list[socket.socket]) -> bytes:
    ready, _, _ = select.select(clients, [], [], 0)
    return b"".join([each.recv(4096, socket.MSG_PEEK) for each in ready])
