"""HTTP requests that one process hands on for another to answer: a real node, real components."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from tests.certificates import TRUSTS_NOBODY

from .clients import SECONDS
from .conftest import StartNode
from .daemon import Daemon
from .protocol_forms import PUSHER, do
from .test_http_protocol import speaking, variant

SECOND, THIRD = "pusher:second:test.os", "pusher:third:test.os"


async def post(daemon: Daemon, **query: str) -> httpx.Response:
    """Send the pusher a request on a path of its own."""
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False, timeout=SECONDS) as client:
        return await client.post(f"{daemon.url}/{PUSHER}/asked", params=query, content=b"the body")


async def started(start: StartNode, folder: Path) -> Daemon:
    """A node with three of them, the first of which takes requests."""
    daemon = await start("pusher", variant(folder, "second"), variant(folder, "third"))
    async with speaking(daemon, "typed") as speaker:
        assert await speaker.bind("/asked", authenticated=False, response_seconds=9) is None
    return daemon


async def test_the_response_of_the_last_process_is_the_answer(start: StartNode, tmp_path: Path) -> None:
    daemon = await started(start, tmp_path)
    node = daemon.node
    answer = await post(daemon, forward=SECOND)
    assert (answer.status_code, answer.headers["x-form"]) == (203, "forwarded")
    said: dict[str, Any] = answer.json()
    assert (said["source"], said["blob"]) == (f"{node}@{PUSHER}", "the body")
    assert json.loads(said["body"])["method"] == "POST"

    chained = (await post(daemon, forward=SECOND, blob=f"on:{THIRD}")).json()
    assert (chained["source"], chained["blob"]) == (f"{node}@{SECOND}", "from the middle")
    assert json.loads(chained["body"])["source"] == f"{node}@{PUSHER}"

    gone = await post(daemon, forward=SECOND, blob="trap")
    assert (gone.status_code, gone.text) == (503, "the process ended before it answered\n")


async def test_who_handed_a_request_on_may_answer_first_and_learns_that_nobody_took_it(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await started(start, tmp_path)
    first = await post(daemon, forward=SECOND, first="yes", blob="silent")
    assert (first.status_code, first.headers["x-form"]) == (200, "typed")
    nobody = await post(daemon, forward="nobody:second:test.os")
    assert (nobody.status_code, nobody.text) == (502, "NoSuchProcess")
    async with speaking(daemon, "json") as speaker:
        assert await do(speaker.control, "responses") == [], "none came to who expected none"
