"""Nodes that restart amid traffic: resumable channels go on in the successor, and each message comes once."""

from __future__ import annotations

import asyncio
import os
from typing import Final

import pytest
from tests.clients.javascript_runs import run_script
from tests.e2e.clients import ECHO_C
from tests.e2e.conftest import StartNode
from tests.e2e.daemon import Daemon
from tests.e2e.restarting import CountingClient, restart
from tests.e2e.waiting import until
from tests.examples import examples
from tests.patience import PATIENCE

RESTARTS: Final = int(os.environ.get("GUESTHOUSE_RESTARTS", examples(20)))
"""How often a node restarts, for the clients of each language."""
CLIENTS: Final = 4
ENOUGH: Final = 100
"""Answers that each client gets between two restarts."""
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(PATIENCE + 5 * RESTARTS)]


async def test_with_clients_in_python(start: StartNode) -> None:
    daemon = await start("echo-c")
    token = await daemon.token()
    clients = [
        CountingClient(
            daemon, ECHO_C, token, encrypted=number == 0, compression="deflate" if number == 1 else None
        )
        for number in range(CLIENTS)
    ]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each.run()) for each in clients]
        for _ in range(RESTARTS):
            wanted = [each.received + ENOUGH for each in clients]

            async def gone_on(wanted: list[int] = wanted) -> bool:
                return all(each.received >= count for each, count in zip(clients, wanted, strict=True))

            await until(gone_on, bool, "each client goes on")
            await restart(daemon)
        for each in clients:
            each.finish()
        await asyncio.wait(running)
    for each in clients:
        each.check()
    await daemon.no_channels()


async def goes_on(daemon: Daemon, script: asyncio.Task[object], wanted: int) -> int:
    """Wait until the node has received so many messages by the one channel, or the script has ended."""

    async def received() -> int:
        return sum(each["messages_in"] for each in await daemon.channels())

    return await until(received, lambda count: count >= wanted or script.done(), "the client goes on")


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_with_a_client_in_javascript(start: StartNode, encrypted: bool) -> None:
    restarts = RESTARTS // 2
    daemon = await start("echo-c")
    options = {
        "url": daemon.url,
        "process": ECHO_C,
        "token": await daemon.token(),
        "fallback": False,
        # A client whose connections break again and again waits longer each time.
        "firstDelay": 5,
        "longestDelay": 20,
    }
    plan = {"options": options, "away": restarts, "encrypted": encrypted}
    async with asyncio.TaskGroup() as tasks:
        script = tasks.create_task(run_script("cuts.mjs", plan, seconds=PATIENCE + 5 * restarts))
        await until(
            daemon.channels,
            lambda found: [each["messages_in"] > ENOUGH for each in found] == [True],
            "it is there",
        )
        while not script.done():
            await restart(daemon)
            while not script.done() and not any(each["messages_in"] for each in await daemon.channels()):
                await asyncio.wait((script,), timeout=0.05)
    told = script.result()
    assert told["away"] >= restarts
    assert (told["heard"], told["lost"], told["left"]) == (told["sent"], [], 0)
    await daemon.no_channels()
