"""The sample `duo` on two nodes: a page of each sees who is at the other, and when that cannot be reached."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.clients import Client, registered
from tests.patience import PATIENCE

from .harness.world import NAMES, three_nodes

DUO = "duo:duo:guesthouse.os"


async def shown(client: Client, names: list[str] | None) -> dict[str, Any]:
    """What a page shows, once it shows these people at the other node."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message: dict[str, Any] = json.loads(await client.socket.recv())
            assert message["type"] == "people"
            if message["there"] is not None and message["there"]["names"] == names:
                return message


def test_make_cluster_takes_other_ports() -> None:
    """Where 4222 is another NATS server's."""
    command = ("make", "--dry-run", "--always-make", "cluster", "PORT=9000", "NATS_PORT=4333")
    told = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert "--port 9000 --nats-port 4333" in told.stdout


@pytest.mark.thorough
async def test_pages_of_two_nodes_show_the_people_of_both_and_when_the_other_is_gone(
    tmp_path: Path, new_home: Callable[[], Path], compiled: Path
) -> None:
    nodes = three_nodes(tmp_path, new_home, ("duo",), names=NAMES[:2], servers=1, cache=compiled)
    async with nodes as world:
        one, two = world.places
        async with registered(one.runs, DUO, await one.runs.token()) as ada:
            await ada.send('{"type": "name", "name": "Ada"}')
            await ada.send(json.dumps({"type": "meet", "node": two.name}))
            async with registered(two.runs, DUO, await two.runs.token()) as ben:
                await ben.send('{"type": "name", "name": "Ben"}')
                assert (await shown(ada, ["Ben"]))["here"] == {"node": one.name, "names": ["Ada"]}
                assert (await shown(ben, ["Ada"]))["there"]["node"] == one.name
                await two.kill()
            await shown(ada, None)
            await two.start()
            await shown(ada, [])
