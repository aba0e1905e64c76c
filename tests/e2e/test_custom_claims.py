"""What a service says of a client in its token reaches a real process, and stays with the channel."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE
from tests.resume_client import ResumableClient

from .api import SERVED, asking
from .clients import ECHO_C, bound, registered
from .conftest import StartNode
from .daemon import Daemon, environment
from .protocol_forms import PUSHER, do
from .restarting import restart
from .waiting import until


async def said_by_connect(daemon: Daemon, claims: str) -> dict[str, Any]:
    """The first message that `guesthouse connect` shows."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", "connect", PUSHER, "--home", str(daemon.home)),
        *("--wait", "0", "--claims", claims),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment(daemon.home),
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        message: dict[str, Any] = json.loads(await process.stdout.readline())
        await process.communicate(b"")
    assert process.returncode == 0
    return message


async def test_claims_that_are_no_small_object_are_an_error_of_the_command_line(start: StartNode) -> None:
    daemon = await start("echo-c")
    for command in (("token", "--process", ECHO_C), ("connect", ECHO_C)):
        for claims, why in (("[]", "not a JSON object"), ('{"a":1,"a":2}', "twice"), ("{", "not JSON")):
            ran = await daemon.cli(*command, "--claims", claims)
            assert (ran.code, why in ran.stderr) == (1, True), ran.stderr


@pytest.mark.thorough
async def test_claims_stay_with_the_channel_over_runs_of_the_process_and_of_the_node(
    start: StartNode,
) -> None:
    daemon = await start("pusher", settings=SERVED)
    async with asking(daemon, "push", "backend") as api:
        tokens = {
            user: (
                await api.post("/tokens", json={"process": PUSHER, "claims": {"user": user, "n": 2**60}})
            ).json()["token"]
            for user in ("Zoë", "bob", "eve")
        }
    cookie = {"Cookie": f"{daemon.cookie_name}={tokens['bob']}"}
    register = {"auth_token": tokens["Zoë"], "target_process": PUSHER}
    expected = {"/": {"user": "Zoë", "n": 2**60}, "/private": {"user": "bob", "n": 2**60}}
    async with bound(daemon, PUSHER, "/control") as control:
        for call, path in (("bind_ws_path", "/private"), ("bind_http_path", "/page")):
            assert await do(control, "typed", call=call, path=path) == {"Ok": None}
        async with httpx.AsyncClient(
            verify=TRUSTS_NOBODY, base_url=daemon.url, headers=cookie, trust_env=False
        ) as http:
            assert (await http.get(f"/{PUSHER}/page")).json()["claims"] == expected["/private"]
        async with bound(daemon, PUSHER, "/private", tokens["bob"]) as client:
            assert (await client.json())["claims"] == expected["/private"]
        assert (await said_by_connect(daemon, '{"user": "cli"}'))["claims"] == {"user": "cli"}
        async with registered(daemon, PUSHER, tokens["eve"]) as client:
            assert (await client.json())["claims"]["user"] == "eve"
    async with (
        ResumableClient(f"{daemon.ws_url}/", register=register) as one,
        ResumableClient(f"{daemon.ws_url}/{PUSHER}/private", headers=cookie) as two,
    ):
        for _ in range(2):
            assert (await daemon.cli("restart", PUSHER)).code == 0
            async with bound(daemon, PUSHER, "/control") as control:
                assert await do(control, "claims") == expected
            await restart(daemon)
            async with bound(daemon, PUSHER, "/control") as control:
                await until(lambda: do(control, "claims"), lambda told: told == expected, "claims are kept")
                assert await do(control, "typed", call="bind_ws_path", path="/private") == {"Ok": None}
            await one.resume()
            await two.resume()
