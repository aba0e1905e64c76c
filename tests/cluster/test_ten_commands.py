"""The ten commands of docs/cluster.md, as they stand there, on three homes."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.e2e.clients import ECHO_C
from tests.e2e.daemon import Daemon, Ran, environment, run_command
from tests.e2e.waiting import until
from tests.patience import PATIENCE

from .nodes import node_of, sees
from .servers import free_ports

_PAGE: Final = Path(__file__).resolve().parents[2] / "docs/cluster.md"
_LINE: Final = re.compile(r"([abc])\$ guesthouse (.*)")
SAMPLE: Final = _PAGE.parents[1] / "sample_processes/echo-c"
"""For the one of the page, which takes long to compile."""
_TICKET: Final = "guesthouse-ticket-…"
"""In the place of the ticket that was printed last."""


def section() -> str:
    """The part of the page, and what follows."""
    return _PAGE.read_text().partition("\n## Three machines in ten commands\n")[2]


def commands(block: int) -> list[tuple[str, list[str]]]:
    """Machine and arguments of each line of a block."""
    found = [_LINE.fullmatch(line) for line in section().split("```")[2 * block + 1].strip().splitlines()]
    assert all(found), found
    return [(line[1], shlex.split(line[2], comments=True)) for line in found if line]


@asynccontextmanager
async def nats_of(machine: Path, arguments: Sequence[str]) -> AsyncIterator[Process]:
    """A `guesthouse cluster dev`, until Ctrl-C."""
    with (machine / "nats.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "guesthouse", *arguments),
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(machine / "home"),
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise


@pytest.mark.thorough
async def test_the_ten_commands_of_the_page_make_three_machines_a_cluster(
    new_home: Callable[[], Path],
) -> None:
    homes = {machine: new_home() for machine in "abc"}
    (port,) = free_ports(1)
    nodes: dict[str, Daemon] = {}
    ticket = shown = ""
    lines = commands(0)
    assert len(lines) == 10
    async with AsyncExitStack() as stack:
        for machine, words in lines:
            # One machine has one address, and its port 4222 may be taken.
            arguments = [
                word.replace("10.0.0.1:4222", f"127.0.0.1:{port}")
                .replace("10.0.0.1", "127.0.0.1")
                .replace(_TICKET, ticket)
                for word in words
            ]
            home = homes[machine]
            if words[:2] == ["cluster", "dev"]:
                await stack.enter_async_context(nats_of(home.parent, [*arguments, "--port", str(port)]))
            elif words[0] == "run":
                assert words == ["run"]
                nodes[machine] = await stack.enter_async_context(node_of(home))
            else:
                if words == ["cluster", "nodes"]:  # they found each other meanwhile
                    await sees(nodes["a"], "b.os", "c.os")
                ran = await run_command(home, *arguments, settings={"home": home}, seconds=PATIENCE * 2)
                assert ran.code == 0, (words, ran.stderr)
                shown = ran.stdout
                if words == ["cluster", "ticket"]:
                    ticket = shown.strip()

        states = [tuple(line.split()[:2]) for line in shown.splitlines()]
        assert states == [("NODE", "STATE"), ("a.os", "here"), ("b.os", "up"), ("c.os", "up")]
        await sees(nodes["b"], "a.os", "c.os")
        await sees(nodes["c"], "a.os", "b.os")
        assert [node.node for node in nodes.values()] == ["a.os", "b.os", "c.os"], "kept in guesthouse.toml"

        # what the page goes on with: a client of b reaches a package of a
        await nodes["b"].terminate()
        (setting,) = re.findall(r"^    (serve = .*)$", section().partition("\n## ")[0], re.MULTILINE)
        with (homes["b"] / "guesthouse.toml").open("a") as settings:
            settings.write(f"{setting}\n")
        nodes["b"] = await stack.enter_async_context(node_of(homes["b"]))
        (_, install), (_, connect) = commands(1)
        assert install == ["install", "echo.zip"]
        assert connect == ["connect", "echo:echo:guesthouse.os"]
        installed = await run_command(
            homes["a"], "install", SAMPLE, settings={"home": homes["a"]}, seconds=PATIENCE
        )
        assert installed.code == 0, installed.stderr

        async def echoed() -> Ran:
            return await run_command(
                homes["b"], "connect", ECHO_C, stdin="hello", settings={"home": homes["b"]}
            )

        ran = await until(echoed, lambda ran: ran.code == 0, "b does not reach the package")
        assert ran.stdout == "hello\n"


async def test_two_nats_servers_share_neither_data_nor_port(tmp_path: Path) -> None:
    port, other = free_ports(2)
    machine = tmp_path / "a"
    machine.mkdir()
    home = machine / "home"
    async with nats_of(machine, ["cluster", "dev", "--port", str(port)]):

        async def log() -> str:
            return (machine / "nats.log").read_text()

        await until(log, lambda text: "Server is ready" in text, "NATS does not start")
        same_store = await run_command(home, "cluster", "dev", "--port", str(other))
        assert same_store.code == 1
        assert "another `guesthouse cluster dev` keeps its data there" in same_store.stderr
        elsewhere = ("cluster", "dev", "--store", tmp_path / "b")
        same_port = await run_command(home, *elsewhere, "--port", str(port))
        assert same_port.code == 1
        assert "Address already in use: give another --port" in same_port.stderr
    foreign = await run_command(home, *elsewhere, "--host", "192.0.2.1", "--port", str(other))
    assert foreign.code == 1
    assert "or an address of this machine as --host" in foreign.stderr
    async with nats_of(machine, ["cluster", "dev", "--port", str(port)]):  # the lock ended with the server
        await until(log, lambda text: "Server is ready" in text, "NATS does not start again")
