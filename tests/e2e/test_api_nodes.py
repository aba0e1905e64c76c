"""The HTTP API of nodes with settings and processes of their own."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import shutil
import ssl
import sys
from pathlib import Path
from typing import Final

import httpx
import pytest
from tests.certificates import self_signed
from tests.tiers import thorough_after

from guesthouse.package.build.build_package import build_package

from .api import SERVED, api_url, asking, key, problem, service
from .clients import ECHO_C, registered
from .conftest import StartNode
from .daemon import Ran, run_command
from .packages import package
from .waiting import until


async def test_a_process_is_restarted_stopped_and_started_by_an_admin_alone(start: StartNode) -> None:
    daemon = await start("echo-c", settings=SERVED)
    async with asking(daemon, "admin", "root") as api:
        assert (await api.post(f"/processes/{ECHO_C}/restart")).json()["state"] == "running"
        assert (await daemon.ps())[ECHO_C]["restarts"] == 1
        assert (await api.post(f"/processes/{ECHO_C}/stop")).json()["state"] == "stopped"
        ended = (await api.get(f"/processes/{ECHO_C}")).json()
        assert ended["last_end"]["cause"] == "stopped"
        assert ended == (await daemon.ps())[ECHO_C]
        assert (await api.post(f"/processes/{ECHO_C}/stop")).status_code == 200, "it is listed no longer"
        assert problem(await api.post(f"/processes/{ECHO_C}/stop")) == (404, "no-such-process")
        assert problem(await api.get(f"/processes/{ECHO_C}")) == (404, "no-such-process")
        assert (await api.post(f"/processes/{ECHO_C}/restart")).json()["state"] == "running"
        await daemon.log_line("api", "API key root", f"stops {ECHO_C}")


async def test_a_key_for_one_process_reaches_no_other(start: StartNode) -> None:
    daemon = await start("echo-c", "echo", settings=SERVED)
    other = "echo:echo:guesthouse.os"
    message = {"message": {"type": "text", "text": "no"}}
    async with (
        asking(daemon, "admin", "narrow", process=other) as narrow,
        asking(daemon, "admin", "wide") as wide,
        registered(daemon, ECHO_C, await daemon.token()) as client,
    ):
        assert [row["process"] for row in (await narrow.get("/processes")).json()["processes"]] == [other]
        assert (await narrow.get("/channels")).json()["channels"] == []
        assert [row["package"] for row in (await narrow.get("/packages")).json()["packages"]] == [
            "echo:guesthouse.os"
        ]
        assert (await narrow.get("/node")).json()["channels"] == 0
        await daemon.cli("install", build_package(package("rights")), "--yes")
        async with asking(daemon, "read", "sibling", process="bare:rights:test.os") as sibling:
            (row,) = (await sibling.get("/packages")).json()["packages"]
            assert (row["processes"], row["asks"]) == (["bare:rights:test.os"], [])
        sources = {line["source"] for line in (await narrow.get("/log")).json()["lines"]}
        assert sources <= {other}
        for method, path, body in (
            ("GET", f"/processes/{ECHO_C}", None),
            ("GET", f"/channels?process={ECHO_C}", None),
            ("GET", f"/log?source={ECHO_C}", None),
            ("POST", f"/processes/{ECHO_C}/messages", message),
            ("POST", f"/processes/{ECHO_C}/stop", None),
            ("POST", "/tokens", {"process": ECHO_C}),
        ):
            assert problem(await narrow.request(method, path, json=body)) == (403, "other-process"), path
        here = f"/channels/{client.channel_id}"
        for method, path, body in (
            ("GET", here, None),
            ("DELETE", here, None),
            ("POST", f"{here}/messages", message),
        ):
            assert problem(await narrow.request(method, path, json=body)) == (404, "no-such-channel"), path
        issued = (await wide.post("/tokens", json={"process": ECHO_C})).json()
        assert problem(await narrow.delete(f"/tokens/{issued['id']}")) == (404, "no-such-token")
        forged = issued["id"][:-1] + ("A" if issued["id"][-1] != "A" else "Q")
        assert problem(await wide.delete(f"/tokens/{forged}")) == (404, "no-such-token")
        await client.ask("still there")


@pytest.mark.thorough
async def test_a_message_is_as_large_as_a_client_may_get_and_a_slow_client_is_said(start: StartNode) -> None:
    limits = {**SERVED, "connections_message_bytes": 100_000, "connections_outbox_bytes": 150_000}
    daemon = await start("echo-c", settings=limits)
    async with (
        asking(daemon, "push", "large") as api,
        registered(daemon, ECHO_C, await daemon.token()) as client,
    ):
        path = f"/channels/{client.channel_id}/messages"

        async def push(size: int) -> httpx.Response:
            return await api.post(path, json={"message": {"type": "text", "text": "x" * size}})

        assert (await push(100_000)).status_code == 204
        assert len(await client.receive()) == 100_000
        assert problem(await push(100_001)) == (413, "message-too-big")
        assert problem(await push(400_000)) == (413, "body-too-big")
        client.socket.transport.pause_reading()

        noise = {"type": "binary", "base64": base64.b64encode(random.Random(1).randbytes(99_999)).decode()}

        async def refused() -> httpx.Response:
            return await api.post(path, json={"message": noise})

        answer = await until(refused, lambda answer: answer.status_code != 204, "the client's outbox is full")
        assert problem(answer) == (409, "channel-full")
        result = (await api.post(f"/processes/{ECHO_C}/messages", json={"message": noise})).json()
        assert result == {"channels": 0, "refused": 1, "refused_channels": [client.channel_id]}
        client.socket.transport.abort()  # to close it, all that waits for it would have to be read


async def test_who_shows_wrong_keys_has_to_wait_and_locks_out_nobody(start: StartNode) -> None:
    daemon = await start("echo-c", settings=SERVED)
    url = await api_url(daemon)
    good = await key(daemon, "read")
    async with service(url) as nobody, service(url, good) as api:
        for _ in range(5):
            answer = await nobody.get("/node", headers={"Authorization": f"Bearer {good[:-1]}!"})
            assert problem(answer) == (401, "no-key")
        answer = await nobody.get("/node", headers={"Authorization": "Bearer ghk_guess"})
        assert problem(answer) == (429, "too-many-failures")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await api.get("/node")).status_code == 200
    assert all(good not in line["text"] for line in await daemon.logs())


async def test_it_is_off_by_default_and_its_port_is_refused_by_the_settings_name(start: StartNode) -> None:
    daemon = await start("echo-c")
    assert not [line for line in await daemon.logs() if line["source"] == "api"]
    other = await start("echo-c", settings=SERVED)
    port = int((await api_url(other)).split(":")[2].partition("/")[0])
    with pytest.raises(Exception, match=r"choose another with api\.port"):
        await start("echo-c", settings={"api_port": port})
    with pytest.raises(Exception, match=r"api\.tls is set, but http\.tls_cert is not"):
        await start("echo-c", settings={**SERVED, "api_tls": "true"})


async def test_a_body_that_does_not_come_and_a_socket_that_says_nothing_are_ended(start: StartNode) -> None:
    daemon = await start("echo-c", settings={**SERVED, "connections_handshake_seconds": 0.2})
    url = await api_url(daemon)
    good = await key(daemon, "push")
    port = int(url.split(":")[2].partition("/")[0])
    head = f"POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {good}\r\n"
    for sent in (
        b"GET /api",
        (head + "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{").encode(),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        await reader.read()
        writer.close()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    async with service(url, good) as api:
        assert (await api.get("/node", headers={**upgrade, "Sec-WebSocket-Key": "x"})).status_code == 200


ROOT: Final = Path(__file__).parents[2]


@pytest.mark.parametrize("language", thorough_after(1, ["sh", "python"]))
async def test_the_example_in_the_documentation_works(
    start: StartNode, tmp_path: Path, language: str
) -> None:
    if language == "sh" and shutil.which("curl") is None:
        pytest.skip("curl is not there")
    daemon = await start("echo-c", settings=SERVED)
    page = (ROOT / "docs/http-api.md").read_text()
    (example,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    script = tmp_path / "example"
    script.write_text(example)
    given = {"API": await api_url(daemon), "KEY": await key(daemon, "push"), "PROCESS": ECHO_C}
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        process = await asyncio.create_subprocess_exec(
            *((sys.executable,) if language == "python" else ("sh", "-e")),
            script,
            env={**os.environ, **given},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        said = await client.receive()
    if language == "python":
        assert said == "hello"
        assert output.count(b".") == 2, "a token"
    else:
        assert said == "the node restarts at noon"
        assert f'"channel_id":{client.channel_id}'.encode() in output


@pytest.mark.parametrize("running", thorough_after(1, [True, False]))
async def test_keys_are_made_listed_and_revoked_by_the_command_line(start: StartNode, running: bool) -> None:
    daemon = await start("echo-c", settings=SERVED)
    url = await api_url(daemon)
    if not running:
        await daemon.terminate()

    async def run(command: str, *arguments: str) -> Ran:
        return await run_command(daemon.home, "api-key", command, "--home", daemon.home, *arguments)

    made = await run("create", "backend", "--role", "push", "--expires", "90d", "--process", ECHO_C)
    assert made.code == 0, made.stderr
    text = made.stdout.strip()
    (listed,) = (await run("list", "--json")).json()
    assert (listed["name"], listed["role"], listed["process"]) == ("backend", "push", ECHO_C)
    assert listed["expires"] - listed["created"] == 90 * 86_400
    assert "hash" not in listed
    table = (await run("list")).stdout
    assert "backend" in table
    assert text not in table
    again = await run("create", "backend", "--role", "read")
    assert (again.code, "there is a key backend already" in again.stderr) == (1, True)
    assert (await run("create", "other", "--role", "read", "--expires", "90")).code == 2
    if running:
        async with service(url, text) as api:
            assert (await api.get("/node")).status_code == 200
    revoked = await run("revoke", "backend")
    assert revoked.stderr == f"the key backend ({listed['id']}) is revoked\n"
    assert (await run("list", "--json")).json() == []
    assert (await run("revoke", "backend")).code == 1
    if running:
        async with service(url, text) as api:
            assert (await api.get("/node")).status_code == 401


async def test_it_is_served_over_tls_with_the_nodes_certificate(start: StartNode, tmp_path: Path) -> None:
    certificate, private = self_signed(tmp_path)
    flags = ["--tls-cert", str(certificate), "--tls-key", str(private)]
    for tls in ("true", "false"):
        daemon = await start("echo-c", flags=flags, settings={**SERVED, "api_tls": tls})
        url = await api_url(daemon)
        assert url.startswith("https://" if tls == "true" else "http://")
        headers = {"Authorization": f"Bearer {await key(daemon, 'read', name=f'tls-{tls}')}"}
        trusts = ssl.create_default_context(cafile=certificate)
        async with httpx.AsyncClient(base_url=url, headers=headers, verify=trusts, trust_env=False) as api:
            assert (await api.get("/node")).json()["node"] == daemon.node
