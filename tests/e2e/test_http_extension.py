"""The sample with a side-car: a real node, a real component, a real native program."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE

from .clients import bound
from .conftest import StartNode
from .daemon import Daemon
from .packages import ROOT

DEMO = "extension-demo:extension-demo:guesthouse.os"
SIDECAR = ROOT / "sample_processes" / "extension-demo" / "sidecar.py"


@asynccontextmanager
async def sidecar(url: str, home: Path) -> AsyncIterator[asyncio.StreamReader]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SIDECAR), url, "--home", str(home), "--seconds", "0.2", stdout=PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def connected(output: asyncio.StreamReader) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await output.readline() == b"connected\n"


async def answer_to(daemon: Daemon, token: str, question: str) -> Any:
    """The answer to a question; reports, which are binary, are passed over."""
    async with bound(daemon, DEMO, "/", token) as client:
        await client.send(question)
        while isinstance(message := await client.json(), dict) and "load" in message:
            pass
        return message


async def test_a_side_car_does_what_a_component_cannot_and_returns_after_a_restart_of_the_node(
    start: StartNode, new_home: Any
) -> None:
    home: Path = new_home()
    daemon = await start("extension-demo", home=home)
    token = await daemon.token()
    port = daemon.url.rpartition(":")[2]
    assert await answer_to(daemon, token, "disk") == {"error": "the side-car is not connected"}
    async with sidecar(daemon.ws_url, home) as output:
        await connected(output)
        answer = await answer_to(daemon, token, "disk")
        assert answer["disk"]["total"] > answer["disk"]["free"] > 0
        assert (await answer_to(daemon, token, "nothing"))["error"] == "ask for disk or machine"
        async with bound(daemon, DEMO, "/", token) as client:
            report = await client.receive()
            assert isinstance(report, bytes)
            assert b'"load"' in report
        await daemon.terminate()
        again = await start("extension-demo", home=home, flags=["--port", port])
        await connected(output)
        assert (await answer_to(again, token, "machine"))["machine"]
