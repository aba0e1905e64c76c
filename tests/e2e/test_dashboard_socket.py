"""What a page may ask of a node by the dashboard's WebSocket, and what the node refuses whoever asks."""

from __future__ import annotations

import asyncio
import base64
import json
import socket as sockets
from typing import Any, Final

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE
from websockets.exceptions import ConnectionClosed, InvalidStatus

from guesthouse.http_api.api_keys import Role
from guesthouse.http_api.dashboard.actions import Actions

from .api import key
from .clients import ECHO_C, registered
from .conftest import StartNode
from .dashboard import SERVED, Refused, closed, dashboard_url, link, logged_in, page_socket
from .waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_page_sees_the_processes_and_what_they_do_now(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with logged_in(daemon, "read") as page, registered(daemon, ECHO_C, await daemon.token()) as client:
        await page.ask("watch")
        before = await page.event("processes")
        await client.ask("one")
        (row,) = before["processes"]
        assert (row["process"], row["state"], before["reasons"]) == (ECHO_C, "running", [])
        while (row := (await page.event("processes"))["processes"][0])["messages_in"] == 0:
            pass
        assert row["channels"] == 1
        (channel,) = (await page.ask("listChannels", process=ECHO_C))["channels"]
        assert channel["channel_id"] == client.channel_id
        assert (await page.ask("explain", process=ECHO_C))["capabilities"]
        assert (await page.ask("getProcess", process=ECHO_C))["limits"]["memory_bytes"] > 0


async def test_parts_of_a_package_that_are_sent_at_once_are_no_more_than_was_told(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with logged_in(daemon) as page:
        await page.ask("beginUpload", name="a.zip", bytes=100_000)
        part = base64.b64encode(bytes(40_000)).decode()
        for number in range(1000, 1008):
            await page.say({"id": number, "do": "sendPart", "with": {"base64": part}})
        answers = [await page.answer(number) for number in range(1000, 1008)]
        assert sum("gives" in answer for answer in answers) == 2
        with pytest.raises(Refused, match="upload-incomplete"):
            await page.ask("install", hash="x")
        await page.ask("dropUpload")


async def test_the_log_is_followed(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with logged_in(daemon) as page:
        await page.ask("followLog", source="api", lines=500)
        first = await page.event("log", first=True)
        assert any("a link to the dashboard gave the key" in line["text"] for line in first["lines"])
        await key(daemon, "read", name="shown-in-the-log")
        while "shown-in-the-log" not in (await page.event("log", first=False))["lines"][-1]["text"]:
            pass
        await daemon.ask("api-key-revoke", name="shown-in-the-log")


FOR_PUSH: Final[dict[str, dict[str, object]]] = {
    "closeChannel": {"channel_id": 1},
    "revokeTokens": {"family": "abc"},
    "openConsole": {"process": ECHO_C},
    "sendConsole": {"text": "x"},
    "closeConsole": {},
}
FOR_ADMIN: Final[dict[str, dict[str, object]]] = {
    "restartProcess": {"process": ECHO_C},
    "stopProcess": {"process": ECHO_C},
    "rollback": {"package": "echo:guesthouse.os"},
    "beginUpload": {"name": "a.zip", "bytes": 1},
    "sendPart": {"base64": ""},
    "preview": {},
    "install": {"hash": "x"},
    "dropUpload": {},
    "listKeys": {},
    "revokeKey": {"key": "0" * 12},
}


@pytest.mark.parametrize("role", ["read", "push"])
async def test_a_role_sees_and_may_do_no_more(shared: StartNode, role: str) -> None:
    """Asked directly, whatever the page would show."""
    daemon = await shared("echo-c", settings=SERVED)
    async with logged_in(daemon, role) as page:
        for do, arguments in (FOR_ADMIN if role == "push" else FOR_PUSH | FOR_ADMIN).items():
            with pytest.raises(Refused, match="role-too-low"):
                await page.ask(do, **arguments)
    assert (await daemon.ps())[ECHO_C]["state"] == "running"


async def test_every_request_of_a_page_has_a_role_that_is_tested() -> None:
    table = Actions(None, None, None, None).table  # type: ignore[arg-type] # nothing is asked of them
    for role, asked in ((Role.PUSH, FOR_PUSH), (Role.ADMIN, FOR_ADMIN)):
        assert {do for do, action in table.items() if action.role is role} == asked.keys()


async def test_what_is_done_is_in_the_log_with_who_did_it(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with logged_in(daemon) as page, registered(daemon, ECHO_C, await daemon.token()) as client:
        await page.ask("restartProcess", process=ECHO_C)
        await page.ask("closeChannel", channel_id=client.channel_id)
        keys = (await page.ask("listKeys"))["keys"]
        own = keys[-1]
        assert "hash" not in own
        for did in (f"restarts {ECHO_C}", f"closed channel {client.channel_id}"):
            await daemon.log_line("api", f"API key {own['name']} ({own['id']}) {did}")


async def test_tokens_in_use_are_listed_and_revoked(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    token = await daemon.token()
    async with (
        logged_in(daemon) as page,
        registered(daemon, ECHO_C, token) as one,
        registered(daemon, ECHO_C, token),
        registered(daemon, ECHO_C, await daemon.token()) as other,
    ):
        listed = (await page.ask("listTokens"))["tokens"]
        assert [item["channels"] for item in listed] == [2, 1]
        assert listed[0]["processes"] == [ECHO_C]
        await page.ask("revokeTokens", family=listed[0]["family"])
        with pytest.raises(ConnectionClosed) as caught:
            await one.receive()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008
        await other.ask("still there")
        await daemon.log_line("api", f"revoked token {listed[0]['family']}")
    with pytest.raises(ConnectionClosed):
        async with registered(daemon, ECHO_C, token):
            pass


async def test_the_console_is_a_channel_of_its_own(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with logged_in(daemon, "push") as page:
        opened = await page.ask("openConsole", process=ECHO_C)
        assert opened["channel_id"] in {row["channel_id"] for row in await daemon.channels(ECHO_C)}
        await page.ask("sendConsole", text="<b>hello</b>")
        assert (await page.event("console"))["text"] == "<b>hello</b>"
        await daemon.ask("restart", process=ECHO_C)
        await page.ask("sendConsole", text="again")
        assert (await page.event("console"))["text"] == "again"
        await page.ask("openConsole", process=ECHO_C)
        await until(lambda: daemon.channels(ECHO_C), lambda rows: len(rows) == 1, "the first is closed")
        await page.ask("closeConsole")
        with pytest.raises(Refused, match="no-console"):
            await page.ask("sendConsole", text="x")
        with pytest.raises(Refused, match="no-such-process"):
            await page.ask("openConsole", process="no:such:process.os")
        for path in ("not-bound", "a#b", "a b\r\nX: y", "\u202e"):
            with pytest.raises(Refused, match="not-opened"):
                await page.ask("openConsole", process=ECHO_C, path=path)
    await daemon.no_channels()


async def test_only_the_dashboards_own_page_opens_a_socket(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    url = await dashboard_url(daemon)
    port = url.split(":")[2].partition("/")[0]
    own = f"http://127.0.0.1:{port}"
    for status, headers in (
        (403, {"Origin": ""}),
        (403, {"Origin": "null"}),
        (403, {"Origin": daemon.url}),  # where pages of guests are: another port of the same host
        (403, {"Origin": f"http://localhost:{port}"}),  # another host than asked
        (403, {"Origin": f"https://127.0.0.1:{port}"}),
        (403, {"Origin": own, "Sec-Fetch-Site": "same-site"}),
        (403, {"Origin": own, "Sec-Fetch-Site": "cross-site"}),
    ):
        with pytest.raises(InvalidStatus) as caught:
            async with page_socket(url, **headers):
                pass
        assert caught.value.response.status_code == status, headers


async def raw(url: str, request: str) -> bytes:
    """What the node answers to bytes."""
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode())
    answer = await asyncio.wait_for(reader.read(4096), PATIENCE)
    writer.close()
    return answer


async def test_a_name_that_an_attacker_resolves_to_the_node_gets_nothing(shared: StartNode) -> None:
    """DNS rebinding: the page's origin is the host that it asks."""
    daemon = await shared("echo-c", settings=SERVED)
    url = await dashboard_url(daemon)
    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    for host in ("evil.example", "echo-guesthouse-os.localhost"):
        origin = f"Host: {host}\r\nOrigin: http://{host}\r\n"
        assert b" 421 " in await raw(url, f"GET /dashboard/socket HTTP/1.1\r\n{origin}{upgrade}\r\n")
        assert b" 421 " in await raw(url, f"GET /dashboard/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
    port = url.split(":")[2].partition("/")[0]
    same = f"Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
    assert b" 404 " in await raw(url, f"GET /api/v1/node HTTP/1.1\r\n{same}{upgrade}\r\n")
    assert b" 101 " in await raw(url, f"GET /dashboard/socket HTTP/1.1\r\n{same}{upgrade}\r\n")


async def test_a_link_is_good_once_and_its_key_ends(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    url = await link(daemon, "read", 1)
    ticket = {"ticket": url.partition("#")[2]}
    async with page_socket(url, ticket) as page:
        given = await page.event("hello")
        async with page_socket(url, ticket) as other:
            assert (await closed(other))[0] == 4401
        await page.ask("followLog", level="error")
        assert await closed(page) == (4401, "the key has expired"), "whatever it watches, if anything"
    async with page_socket(url, {"key": given["key"]}) as page:
        assert (await closed(page))[0] == 4401
    async with logged_in(daemon):
        names = {item["name"] for item in await daemon.ask("api-keys")}
        assert given["name"] not in names, "it is forgotten when the next is made"


async def test_a_key_that_is_revoked_closes_its_pages_at_once(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    text = await key(daemon, "admin", name="stolen")
    url = await dashboard_url(daemon)
    async with page_socket(url, {"key": text}) as one, page_socket(url, {"key": text}) as two:
        for page in (one, two):
            await page.event("hello")
            await page.ask("watch")
        await daemon.ask("api-key-revoke", name="stolen")
        for page in (one, two):
            assert await closed(page) == (4401, "the key was revoked")
    assert (await daemon.ps())[ECHO_C]["state"] == "running"


async def test_a_key_for_one_process_sees_no_other(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    text = await key(daemon, "admin", name="narrow", process="other:echo:guesthouse.os")
    url = await dashboard_url(daemon)
    async with page_socket(url, {"key": text}) as page:
        await page.ask("watch")
        shown = await page.event("processes")
        assert shown["processes"] == []
        assert shown.keys() == {"event", "processes", "at", "reasons"}
        await page.ask("followLog")
        assert (await page.event("log"))["lines"] == []
        for do, arguments in (
            ("followLog", {"source": ECHO_C}),
            ("explain", {"process": ECHO_C}),
            ("getProcess", {"process": ECHO_C}),
            ("openConsole", {"process": ECHO_C}),
            ("restartProcess", {"process": ECHO_C}),
            ("listTokens", {}),
            ("listKeys", {}),
            ("rollback", {"package": "echo:guesthouse.os"}),
            ("beginUpload", {"name": "a.zip", "bytes": 1}),
        ):
            with pytest.raises(Refused, match="other-process"):
                await page.ask(do, **arguments)
    await daemon.ask("api-key-revoke", name="narrow")


async def test_what_is_no_request_is_refused_and_nothing_waits_without_bound(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    for bad in ('{"id": 1}', "[]", "x", '{"id": 1, "do": "watch", "more": 1}', "[" * 100_000):
        async with logged_in(daemon, "read") as page:
            await page.socket.send(bad)
            assert await closed(page) == (1008, "this is no request")
    async with logged_in(daemon, "read") as page:
        await page.socket.send(b"binary")
        assert (await closed(page))[0] == 1003
    async with logged_in(daemon, "read") as page:
        await page.socket.send("x" * (512 * 1024 + 1))
        assert (await closed(page))[0] == 1009
    async with logged_in(daemon, "read") as page:
        for do, arguments, code in (
            ("noSuchThing", {}, "no-such-operation"),
            ("__init__", {}, "no-such-operation"),
            ("getProcess", {"process": "x"}, "invalid-request"),
            ("watch", {"more": 1}, "invalid-request"),
            ("getProcess", {"process": "no:such:process.os"}, "no-such-process"),
        ):
            with pytest.raises(Refused, match=code):
                await page.ask(do, **arguments)


async def test_a_page_that_floods_and_does_not_read_holds_up_nobody(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with (
        logged_in(daemon, "read") as flooding,
        registered(daemon, ECHO_C, await daemon.token()) as client,
    ):
        flooding.socket.transport.pause_reading()
        asked = json.dumps({"id": 1, "do": "getProcess", "with": {"process": ECHO_C}})
        raw_socket: sockets.socket = flooding.socket.transport.get_extra_info("socket")
        raw_socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 65536)
        sending = asyncio.create_task(_flood(flooding.socket, asked))
        await until(
            lambda: asyncio.sleep(0, flooding.socket.transport.get_write_buffer_size()),
            lambda waiting: waiting > 0,
            "the node reads no more of it",
        )
        for number in range(20):
            await client.ask(str(number))
        async with logged_in(daemon, "read") as other:
            assert (await other.ask("getNode"))["ready"]
        sending.cancel()
        flooding.socket.transport.abort()
        await asyncio.gather(sending, return_exceptions=True)


async def _flood(socket: Any, text: str) -> None:
    while True:
        await socket.send(text)


async def test_the_files_need_no_key_and_can_do_nothing_beside_the_node(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    url = await dashboard_url(daemon)
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False) as client:
        page = await client.get(url)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert "set-cookie" not in page.headers
        again = await client.get(url, headers={"If-None-Match": page.headers["etag"]})
        assert again.status_code == 304
        assert (await client.post(url)).status_code == 405
        assert (await client.get(url.removesuffix("dashboard/"))).headers["location"] == "/dashboard/"
        assert (await client.get(url + "../operations.py")).status_code == 404
        api = await client.get(url.replace("/dashboard/", "/api/v1/node"), headers={"Origin": url[:-11]})
        assert api.status_code == 403, "the API itself refuses pages as before"
