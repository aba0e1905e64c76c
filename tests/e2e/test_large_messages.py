"""Large messages of many sizes between clients and guests: through memory that both share, and without it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Final

import pytest
from tests.tiers import thorough_but

from guesthouse.core.config import MIB
from guesthouse.link.lane import LEAST, MOST
from guesthouse.link.schema import PIECE_BYTES

from .clients import ECHO, ECHO_C, Client, registered
from .conftest import StartNode
from .daemon import Daemon

SETTINGS: Final = {
    "connections_message_bytes": 5 * MIB,
    "connections_outbox_bytes": 32 * MIB,
    "process_mailbox_bytes": 64 * MIB,
}
SIZES: Final = (
    *(0, 1, 125, 126, LEAST - 1, LEAST, LEAST + 1, 65_535, 65_536, PIECE_BYTES, PIECE_BYTES + 1),
    *(MIB - 1, MIB, MIB + 1, MOST - 64, MOST, MOST + 1, 5 * MIB),
)
_OF_ONE_WORKER: Final = ["guesthouse-to-node", *["guesthouse-to-worker"] * 2]
"""What a node has open: a mapping keeps a descriptor of its own."""
_NO_MEMFD: Final = "import os\ndel os.memfd_create\n"


@pytest.fixture(params=thorough_but(["shared memory", "socket"], "shared memory"))
async def node(request: pytest.FixtureRequest, start: StartNode, tmp_path: Path) -> Daemon:
    """A node on a kernel that has memfds, and on one that has none."""
    variables = {}
    if request.param == "socket":
        (tmp_path / "sitecustomize.py").write_text(_NO_MEMFD)
        variables = {"PYTHONPATH": str(tmp_path)}
    daemon = await start("echo-c", "echo", settings=SETTINGS, variables=variables)
    assert shared_memory(daemon) == (_OF_ONE_WORKER if request.param == "shared memory" else [])
    return daemon


def shared_memory(daemon: Daemon) -> list[str]:
    """The memory that a node shares with workers, by its descriptors."""
    links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{daemon.pid}/fd")]
    found = [link.partition("memfd:")[2].split()[0] for link in links if "memfd:guesthouse" in link]
    return sorted(found)


def texts(size: int) -> list[str]:
    """ASCII, and characters of several bytes, of that many bytes."""
    return ["x" * size, "é" * (size // 2) + "x" * (size % 2)]


@pytest.mark.thorough
async def test_what_is_sent_comes_back_whatever_its_size_and_kind(node: Daemon) -> None:
    token = await node.token()
    async with (
        registered(node, ECHO_C, token, compression=None) as plain,
        registered(node, ECHO_C, token) as deflated,
        registered(node, ECHO, token, compression=None) as python,
    ):
        for size in SIZES:
            for client in (plain, deflated, python):
                assert await client.ask(binary := os.urandom(size)) == binary
                for text in texts(size):
                    assert await client.ask(text) == text


async def test_messages_of_all_sizes_sent_at_once_come_back_in_order(node: Daemon) -> None:
    token = await node.token()

    async def talk(client: Client, seed: int) -> None:
        chance = random.Random(seed)
        sent = [chance.randbytes(chance.choice(SIZES[:14])) for _ in range(60)]

        async def send() -> None:
            for message in sent:
                await client.send(message)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            for message in sent:
                assert await client.receive() == message

    async with (
        registered(node, ECHO_C, token, compression=None) as one,
        registered(node, ECHO_C, token, compression=None) as two,
        registered(node, ECHO, token, compression=None) as three,
        asyncio.TaskGroup() as tasks,
    ):
        for number, client in enumerate((one, two, three)):
            tasks.create_task(talk(client, number))


@pytest.mark.thorough
async def test_a_worker_killed_in_mid_transfer_costs_no_message_that_waits(node: Daemon) -> None:
    """The messages in hand may be lost, and are said to be; those that wait reach the next run whole."""
    token = await node.token()
    async with registered(node, ECHO_C, token, compression=None) as client:
        for _ in range(4):
            (worker,) = node.workers()
            burst = [bytes([number]) * MIB for number in range(12)]
            for message in burst:
                await client.send(message)
            os.kill(worker.pid, signal.SIGKILL)
            await client.send(b"the last")
            heard: list[str | bytes] = []
            while not heard or heard[-1] != b"the last":
                heard.append(await client.receive())
            assert all(message in burst for message in heard[:-1]), "none is damaged"
            assert len(heard) >= len(burst), "one message in hand may be lost"
    assert shared_memory(node) in ([], _OF_ONE_WORKER), "that of dead workers is freed"
