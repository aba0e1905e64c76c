"""Processes in C++, built by `guesthouse build` with the SDK, behind real WebSockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY

from .api import SERVED, asking
from .clients import registered
from .conftest import StartNode
from .packages import ROOT, built

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

APP: Final = "app:app:test.os"
_SOURCE: Final = ROOT / "tests/unit/guest_sdk_cpp/app"


@pytest.fixture(scope="module")
def app() -> Path:
    """The test guest, built."""
    return built(_SOURCE)


async def test_a_process_does_what_the_sdk_says(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    token = await daemon.token()
    async with registered(daemon, APP, token) as client, registered(daemon, APP, token) as other:
        assert await client.ask("héllo ✓") == "/ : héllo ✓"
        for size in (0, 1, 255, 100_000, 1 << 20):
            payload = bytes(range(256)) * (size // 256 + 1)
            assert await client.ask(payload[:size]) == payload[:size]
        assert json.loads(await client.ask("json")) == {
            "text": '"\\\n\x01é😀',
            "whole": -9007199254740993,
            "real": 0.5,
            "yes": False,
            "items": [1, None, "two"],
            "text again": '"\\\n\x01é😀',
        }
        assert json.loads(await client.ask("kv")) == [
            *(True, True, True, "", True, False, "2"),
            *("b", True, True),
        ]
        assert await client.ask("claims") == "none"
        assert await client.ask("timer") == "due"
        assert await client.ask("durable") == "durable é"
        assert await client.ask("random") != await client.ask("random")
        assert await client.ask("print") == "before main"
        assert await client.ask("not utf-8") == "not-utf8"
        assert await client.ask("many") == "1000"
        assert await client.ask("ask") == "no-such-process"
        assert await client.ask("unseen") == "logged"
        await client.send("all")
        assert [await client.receive(), await other.receive()] == ["to all", "to all"]
        await other.send("close")
        assert await other.closed() == (4001, "as you wish")
        assert await client.ask("closed") == "0 1"
        async with registered(daemon, APP, token) as third:
            left = third.channel_id
        while await client.ask("closed") != f"{left} 1":
            pass
        assert await client.ask("state") == "0"
        assert (await daemon.cli("restart", APP)).code == 0
        assert await client.receive() == "resumed"
        assert await client.ask("state") == "1"
    for text in ("printed 42", "to the log?", "bad ??? byte", "text to a channel was refused: channel-full"):
        await daemon.log_line(APP, text)


@pytest.mark.parametrize("how", ["abort", "overflow"])
async def test_a_process_that_fails_is_restarted(how: str, start: StartNode, app: Path) -> None:
    daemon = await start(app)
    async with registered(daemon, APP, await daemon.token()) as client:
        await client.send(how)
        assert await client.receive() == "resumed"
        assert await client.ask("hello") == "/ : hello"


async def test_json_is_read_as_python_reads_it(start: StartNode, app: Path) -> None:
    daemon = await start(app)
    texts = [
        *(
            "[]",
            "{}",
            " [1, -0, 2.5e3, 1E-2, -9223372036854775808, 1e300] ",
            '"\\u00e9\\ud83d\\ude00\\n\\/"',
            "[[[]]]",
        ),
        *('{"a": {"b": null}, "a": 2}', "true", '"é"', "[" * 60 + "]" * 60),
    ]
    bad = [
        *(
            "",
            "[",
            "[1,]",
            '{"a"}',
            "{a: 1}",
            "01",
            "1.",
            "-",
            "+1",
            "nul",
            '"',
            '"\\x"',
            '"\\u12"',
            "[1] 2",
            '"\n"',
            "NaN",
        ),
        "[" * 100_000,
    ]
    async with registered(daemon, APP, await daemon.token()) as client:
        for text in texts:
            assert json.loads(await client.ask(f"parse {text}")) == json.loads(text)
        for text in bad:
            assert await client.ask(f"parse {text}") == "no JSON"


async def test_claims_of_a_token_reach_the_process(start: StartNode, app: Path) -> None:
    daemon = await start(app, settings=SERVED)
    async with asking(daemon, "push", "backend") as api:
        answer = await api.post("/tokens", json={"process": APP, "claims": {"name": "Zoë"}})
    async with registered(daemon, APP, answer.json()["token"]) as client:
        assert await client.ask("claims") == "Zoë"


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
        answer = await client.delete("/rooms/a")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, GET, HEAD, OPTIONS")
        assert (await client.options("/rooms/a")).status_code == 204
        assert (await client.head("/rooms/a")).status_code == 200
        answer = await client.put("/raw", content=b"\0\xff")
        assert (answer.content, answer.headers["X-Method"]) == (b"\0\xff", "PUT")
