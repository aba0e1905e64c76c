"""A node that gets SIGTERM finishes what was begun within `drain_seconds`, tells its clients, and ends."""

from __future__ import annotations

import asyncio
import json

import httpx
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE

from .clients import RECORDER, bound
from .conftest import StartNode
from .protocol_forms import PUSHER
from .waiting import until

PLENTY: dict[str, object] = {"drain_seconds": PATIENCE}
SLEEPS = json.dumps({"sleep": 0.3})


async def test_what_clients_sent_is_handled_before_they_are_told_to_go(start: StartNode) -> None:
    daemon = await start("recorder", settings=PLENTY)
    async with bound(daemon, RECORDER, "/open") as client:
        for _ in range(3):
            await client.send(SLEEPS)
        assert await client.receive() == "awake"
        assert await daemon.terminate() == 0
        assert [await client.receive(), await client.receive()] == ["awake", "awake"]
        assert await client.closed() == (1001, "the node is shutting down")


async def test_an_http_request_that_was_begun_is_answered_and_no_other(start: StartNode) -> None:
    daemon = await start("pusher", settings=PLENTY)
    async with httpx.AsyncClient(
        verify=TRUSTS_NOBODY, base_url=daemon.url, trust_env=False, timeout=PATIENCE
    ) as http:
        before = (await daemon.ps())[PUSHER]["host_calls"]
        async with asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(http.get(f"/{PUSHER}/slow"))  # which is never answered: it has a second

            async def calls() -> object:
                return (await daemon.ps())[PUSHER]["host_calls"]

            await until(calls, lambda now: now != before, "the process has it")
            tasks.create_task(daemon.terminate())
        assert slow.result().status_code == 408, "its own time-out, and not that the node stops"


async def test_what_takes_longer_than_the_deadline_is_cut_off(start: StartNode) -> None:
    daemon = await start("recorder", settings={"drain_seconds": 0.2})
    async with bound(daemon, RECORDER, "/open") as client:
        for _ in range(2):
            await client.send(json.dumps({"sleep": 600}))

        async def taken() -> bool:
            return bool((await daemon.channels())[0]["messages_in"] == 2)

        await until(taken, bool, "both are there")
        assert await daemon.terminate() == 0
        assert await client.closed() == (1001, "the node is shutting down")
    assert "did not finish within 0.2 s (drain_seconds)" in (daemon.home / "logs/node.jsonl").read_text()
