"""Processes in Go, built by `guesthouse build` with the SDK, behind real WebSockets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY

from .api import SERVED, asking
from .clients import registered
from .conftest import StartNode
from .packages import ROOT, built

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed"),
]

APP: Final = "app:app:test.os"
_SOURCE: Final = ROOT / "tests/unit/guest_sdk_go/app"


@pytest.fixture(scope="module")
def app() -> Path:
    """The test guest, built."""
    return built(_SOURCE)


async def test_a_process_does_what_the_sdk_says(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    token = await daemon.token()
    async with registered(daemon, APP, token) as client, registered(daemon, APP, token) as other:
        assert await client.ask("héllo ✓") == "/: héllo ✓"
        for size in (0, 1, 255, 100_000, 1 << 20):
            payload = bytes(range(256)) * (size // 256 + 1)
            assert await client.ask(payload[:size]) == payload[:size]
        text = '"\\\n\x01é😀'
        expected = {"text": text, "whole": -9007199254740993, "none": None, "items": [1, "two"]}
        assert json.loads(await client.ask("json")) == expected
        told = json.loads(await client.ask("kv"))
        assert told == [*(True, True, True, True, False, True, True, False), ["b"], True]
        assert await client.ask("trace") == ""
        assert await client.ask("claims") == "<nil>"
        assert await client.ask("timer") == "due"
        assert await client.ask("durable") == "durable é"
        assert await client.ask("random") != await client.ask("random")
        assert await client.ask("print") == "printed"
        assert await client.ask("not utf-8") == "not-utf8"
        assert await client.ask("goroutines") == "4950"
        assert int(await client.ask("garbage")) > 0
        assert "no-such-process" in str(await client.ask("ask"))
        await client.send("all")
        told = ["to all", b"\x01\xff", "to the path", b"\x02"]
        assert [await client.receive() for _ in told] == told
        assert [await other.receive() for _ in range(3)] == ["to all", "to the path", b"\x02"]
        await other.send("close")
        assert await other.closed() == (4001, "as you wish")
        assert await client.ask("closed") == "0 1"
        async with registered(daemon, APP, token) as third:
            left = third.channel_id
        while await client.ask("closed") != f"{left} 1":
            pass
        await client.send("panic")
        assert await client.ask("state") == ""
        assert (await daemon.cli("restart", APP)).code == 0
        assert await client.receive() == "resumed"
        assert await client.ask("state") == "x"
    for text in ("printed 42", "to the log", "OnMessage panicked: assignment to entry in nil map"):
        await daemon.log_line(APP, text)
    line = await daemon.log_line(APP, "OnMessage panicked")
    number = _line_of('		none["a"] = 1')
    assert f"main.go:{number}" in line["text"]


def _line_of(code: str) -> int:
    return (_SOURCE / "main.go").read_text().splitlines().index(code) + 1


@pytest.mark.parametrize("how", ["exit", "overflow"])
async def test_a_process_that_ends_is_restarted(how: str, start: StartNode, app: Path) -> None:
    daemon = await start(app)
    async with registered(daemon, APP, await daemon.token()) as client:
        await client.send(how)
        assert await client.receive() == "resumed"
        assert await client.ask("hello") == "/: hello"


async def test_claims_of_a_token_reach_the_process(start: StartNode, app: Path) -> None:
    daemon = await start(app, settings=SERVED)
    async with asking(daemon, "push", "backend") as api:
        answer = await api.post("/tokens", json={"process": APP, "claims": {"name": "Zoë"}})
    async with registered(daemon, APP, answer.json()["token"]) as client:
        assert await client.ask("claims") == "Zoë<nil>"


async def test_http_requests_are_answered(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    base = f"{daemon.url}/{APP}"
    async with httpx.AsyncClient(
        verify=TRUSTS_NOBODY, trust_env=False, base_url=base, follow_redirects=True
    ) as client:
        answer = await client.get("/rooms/é?q=1", headers={"User-Agent": "test"})
        assert (answer.status_code, answer.json()) == (200, {"room": "é", "query": "1", "agent": "test"})
        answer = await client.post("/rooms/a", content='{"a": [1]}')
        assert (answer.status_code, answer.json()) == (201, [1])
        assert (await client.post("/rooms/a", content="{")).status_code == 400
        assert (await client.post("/rooms/a", content='{"a": "panic"}')).status_code == 500
        answer = await client.delete("/rooms/a")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
        answer = await client.put("/raw", content=b"\0\xff")
        assert (answer.content, answer.headers["X-Method"]) == (b"\0\xff", "PUT")
