"""The HTTP API for services: what keys may see and do, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE

from guesthouse.core.config import ConnectionLimits

from .api import SERVED, api_url, asking, closed, key, problem, service
from .clients import ECHO_C, registered
from .conftest import StartNode
from .waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_key_that_may_read_sees_what_the_command_line_shows(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with asking(daemon, "read", "sees") as api:
        async with registered(daemon, ECHO_C, await daemon.token()) as client:
            await client.ask("one")
            (channel,) = (await api.get("/channels", params={"process": ECHO_C})).json()["channels"]
            (shown,) = await daemon.channels(ECHO_C)
            assert channel == {**shown, "open_seconds": channel["open_seconds"]}
            one = (await api.get(f"/channels/{channel['channel_id']}")).json()
            assert one["messages_in"] == 1
        (process,) = (await api.get("/processes")).json()["processes"]
        assert process.keys() == (await daemon.ps())[ECHO_C].keys()
        assert (await api.get(f"/processes/{ECHO_C}")).json()["process"] == ECHO_C
        assert (await api.get("/packages")).json()["packages"][0]["processes"] == [ECHO_C]
        status: dict[str, Any] = (await api.get("/node")).json()
        assert (status["node"], status["ready"], status["processes"]) == (daemon.node, True, 1)
        lines = (await api.get("/log", params={"source": "api", "lines": 1000})).json()["lines"]
        assert any("made the key sees" in line["text"] for line in lines)
        assert (await api.head("/node")).status_code == 200


async def test_channels_are_listed_page_by_page(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    token = await daemon.token()
    async with (
        asking(daemon, "read", "pages") as api,
        registered(daemon, ECHO_C, token) as one,
        registered(daemon, ECHO_C, token) as two,
        registered(daemon, ECHO_C, token) as three,
    ):
        found, after = [], 0
        while True:
            page = (await api.get("/channels", params={"limit": 2, "after": after, "path": "/"})).json()
            found += [channel["channel_id"] for channel in page["channels"]]
            if page["next"] is None:
                break
            after = page["next"]
        assert found == sorted(client.channel_id for client in (one, two, three))
        assert (await api.get("/channels", params={"path": "/other"})).json()["channels"] == []


async def test_a_service_issues_a_token_pushes_closes_and_revokes(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with asking(daemon, "push", "chat-backend") as api:
        given = {"process": ECHO_C, "seconds": 60, "channels": 2}
        issued = (await api.post("/tokens", json=given)).json()
        async with (
            registered(daemon, ECHO_C, issued["token"]) as ann,
            registered(daemon, ECHO_C, issued["token"]) as other,
        ):
            text = {"message": {"type": "text", "text": "hello"}}
            assert (await api.post(f"/channels/{ann.channel_id}/messages", json=text)).status_code == 204
            assert await ann.receive() == "hello"
            binary = {"message": {"type": "binary", "base64": base64.b64encode(b"\0\1").decode()}}
            pushed = (await api.post(f"/processes/{ECHO_C}/messages", json={**binary, "path": "/"})).json()
            assert pushed == {"channels": 2, "refused": 0, "refused_channels": []}
            assert [await ann.receive(), await other.receive()] == [b"\0\1", b"\0\1"]
            closing = {"code": "4321", "reason": "ü" * 100}
            answer = await api.delete(f"/channels/{other.channel_id}", params=closing)
            assert answer.status_code == 204
            assert await closed(other) == (4321, "ü" * 61)
            assert problem(await api.delete(f"/channels/{other.channel_id}")) == (404, "no-such-channel")
            assert (await api.delete(f"/tokens/{issued['id']}")).status_code == 204
            assert await closed(ann) == (1008, "the token was revoked")
            assert (await api.delete(f"/tokens/{issued['id']}")).status_code == 204, "it is revoked"
        await daemon.no_channels()
        (made,) = [item for item in await daemon.ask("api-keys") if item["name"] == "chat-backend"]
        who = f"API key chat-backend ({made['id']})"
        for did in ("issued token", "pushed to", "closed channel", "revoked token"):
            await daemon.log_line("api", f"{who} {did}")


@pytest.mark.parametrize(
    "claims",
    [
        "[1]",
        '"ann"',
        '{"a":1,"a":2}',
        '{"a":"' + "x" * 1024 + '"}',
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        '{"a":[' + "0," * 64 + "0]}",
        '{"a":"\\ud800"}',
        '{"a":NaN}',
    ],
    ids=["list", "text", "double", "large", "deep", "many", "surrogate", "nan"],
)
async def test_claims_that_are_no_small_object_make_no_token(shared: StartNode, claims: str) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with asking(daemon, "push", "hostile") as api:
        body = f'{{"process": "{ECHO_C}", "claims": {claims}}}'
        headers = {"Content-Type": "application/json"}
        assert problem(await api.post("/tokens", content=body, headers=headers)) == (400, "invalid-request")
        for fine in ('{"user":"Zoë"}', "null"):
            body = f'{{"process": "{ECHO_C}", "claims": {fine}}}'
            assert (await api.post("/tokens", content=body, headers=headers)).status_code == 201


async def test_a_role_may_do_no_more_than_it_says(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    message = {"message": {"type": "text", "text": "no"}}
    async with asking(daemon, "read", "reads") as reads, asking(daemon, "push", "pushes") as pushes:
        for api, method, path, body in (
            (reads, "POST", "/tokens", {"process": ECHO_C}),
            (reads, "POST", f"/processes/{ECHO_C}/messages", message),
            (reads, "POST", "/channels/1/messages", message),
            (reads, "DELETE", "/channels/1", None),
            (reads, "DELETE", f"/tokens/aaaa.{'a' * 22}", None),
            (reads, "POST", f"/processes/{ECHO_C}/restart", None),
            (pushes, "POST", f"/processes/{ECHO_C}/restart", None),
            (pushes, "POST", f"/processes/{ECHO_C}/stop", None),
        ):
            assert problem(await api.request(method, path, json=body)) == (403, "role-too-low"), path
        assert (await daemon.ps())[ECHO_C]["restarts"] == 0


async def test_a_token_is_no_longer_renewed_than_it_says(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with (
        asking(daemon, "push", "renews") as api,
        httpx.AsyncClient(verify=TRUSTS_NOBODY, base_url=daemon.url) as client,
    ):
        ends = []
        for renewable in (False, True):
            given = {"process": ECHO_C, "seconds": 60, "renewable": renewable}
            issued = (await api.post("/tokens", json=given)).json()
            bearer = {"Authorization": f"Bearer {issued['token']}"}
            renewed = (await client.post("/token", headers=bearer)).json()
            ends.append(renewed["expiration"] - issued["expires"])
        assert ends[0] <= 0 <= ends[1]


async def test_a_key_is_refused_once_it_is_revoked_or_over(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    url = await api_url(daemon)
    (made,) = await daemon.ask("api-key-create", name="short", role="read", seconds=1)
    async with asking(daemon, "read", "revoked") as api, service(url, made["key"]) as short:
        assert (await api.get("/node")).status_code == 200
        await daemon.ask("api-key-revoke", name="revoked")
        assert problem(await api.get("/node")) == (401, "no-key")
        await daemon.ask("api-key-create", name="revoked", role="read")

        async def over() -> httpx.Response:
            return await short.get("/node")

        answer = await until(over, lambda answer: answer.status_code != 200, "the key is over")
        assert problem(answer) == (401, "no-key")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_that_is_revoked_while_a_body_arrives_does_no_more(shared: StartNode) -> None:
    """Else who has stolen one keeps requests in stock, whose last byte is still to come."""
    daemon = await shared("echo-c", settings=SERVED)
    url = await api_url(daemon)
    stolen = await key(daemon, "push", name="stolen")
    body = json.dumps({"process": ECHO_C, "seconds": 86400}).encode()
    head = (
        f"POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {stolen}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    writer.write(head.encode())
    async with asyncio.timeout(PATIENCE):
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n"), "the key was good, and the body is awaited"
        await daemon.ask("api-key-revoke", name="stolen")
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    await daemon.log_line("api", "an API key was refused")


async def test_a_message_may_be_as_large_as_it_may_in_escapes_too(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    most = ConnectionLimits().message_bytes
    async with asking(daemon, "push", "escapes") as api:
        for letter in ("\N{CYRILLIC SMALL LETTER A}", "\N{GRINNING FACE}"):
            text = letter * (most // len(letter.encode()))
            body = json.dumps({"message": {"type": "text", "text": text}})
            assert body.isascii()
            assert len(body) > 2 * most
            pushed = await api.post(
                f"/processes/{ECHO_C}/messages",
                content=body,
                headers={"Content-Type": "application/json"},
            )
            assert pushed.status_code == 200, pushed.text
        longer = await api.post(f"/processes/{ECHO_C}/messages", json={"message": "x" * 4 * most})
        assert problem(longer) == (413, "body-too-big")
        assert longer.json()["detail"] == f"{3 * most + 64 * 1024} bytes at most"


async def test_a_body_in_a_coding_is_refused(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    async with asking(daemon, "push", "codes") as api:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        body = gzip.compress(json.dumps({"process": ECHO_C}).encode())
        answer = await api.post("/tokens", content=body, headers=headers)
        assert problem(answer) == (415, "not-json")
        assert answer.json()["detail"] == "send it without Content-Encoding"


async def test_a_key_is_taken_from_its_header_and_from_nowhere_else(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    url = await api_url(daemon)
    good, login = await key(daemon, "admin", name="placed"), await daemon.token()
    cookies = "; ".join(f"{name}={value}" for name in daemon.cookie_names for value in (good, login))
    async with service(url) as nobody:
        for headers in (
            {},
            {"Cookie": cookies},
            {"Authorization": f"Basic {base64.b64encode(f'{good}:'.encode()).decode()}"},
            {"Authorization": good},
            {"X-API-Key": good},
            {"Authorization": f"Bearer {login}"},
        ):
            assert (await nobody.get("/node", headers=headers)).status_code in (401, 429), headers
        for name in ("key", "access_token", "token", "api_key"):
            assert (await nobody.get("/node", params={name: good})).status_code == 401
        twice = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
        assert (await nobody.get("/node", headers=twice)).status_code in (401, 429)
    async with service(url, good) as api:
        answer = await api.get("/node", params={"key": good})
        assert problem(answer) == (400, "invalid-request")
        assert good not in answer.text
        assert (await api.get("/node", headers={"Cookie": "proxy=1"})).status_code == 200


async def test_a_page_in_a_browser_may_not_use_it_with_cookies_or_a_key(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    url = await api_url(daemon)
    cookie = f"{daemon.cookie_name}={await daemon.token()}"
    async with service(url, await key(daemon, "admin", name="paged"), Cookie=cookie) as api:
        for headers in (
            {"Origin": daemon.url},
            {"Origin": url.removesuffix("/api/v1")},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        ):
            for method, path in (
                ("GET", "/node"),
                ("POST", f"/processes/{ECHO_C}/stop"),
                ("GET", "/openapi.json"),
            ):
                answer = await api.request(method, path, headers=headers)
                assert problem(answer) == (403, "from-a-page"), headers
                assert not any(name.startswith("access-control") for name in answer.headers)
        asked_first = {"Origin": daemon.url, "Access-Control-Request-Method": "POST"}
        assert problem(await api.options("/tokens", headers=asked_first)) == (403, "from-a-page")
        form = await api.post("/tokens", data={"process": ECHO_C})
        assert problem(form) == (415, "not-json")


async def test_hosts_that_are_not_the_nodes_get_nothing(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    url = await api_url(daemon)
    port = url.split(":")[2].partition("/")[0]
    async with service(url, await key(daemon, "admin", name="hosts")) as api:
        for host in (
            "rebound.example",
            f"echo-c-guesthouse-os.localhost:{port}",
            f"api.localhost:{port}",
            "..",
            "",
        ):
            answer = await api.get("/node", headers={"Host": host})
            assert answer.status_code in (400, 421), host
        assert (await api.get("/node", headers={"Host": f"localhost:{port}"})).status_code == 200
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, base_url=daemon.url) as main:
        headers = {"Authorization": f"Bearer {await key(daemon, 'admin', name='main')}"}
        for path in ("/api/v1/node", "/api/v1/openapi.json", "/api:api:api/v1/node"):
            assert (await main.get(path, headers=headers)).status_code == 404, path


async def test_paths_and_bodies_that_are_no_operation_are_refused(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings=SERVED)
    url = await api_url(daemon)
    root = url.removesuffix("/api/v1")
    admin = await key(daemon, "admin", name="odd")
    async with service(root, admin) as api:
        for path in (
            "/api/v1/processes/..%2f..%2fnode",
            "/api/v1/processes/%2e%2e",
            "/api/v1/channels/1%00",
            "/api/v1/channels/-1",
            "/api/v1/channels/99999999999999999999",
            "/api/v1/channels/1_0",
            f"/api/v1/processes/{ECHO_C}%0a",
            "/api/v1/processes/%ff",
            f"/api/v1/processes/{ECHO_C}%2Fstop",
        ):
            assert problem(await api.get(path)) == (400, "invalid-request"), path
        for path in ("/", "/api/v1", "/api/v1/", "/api/v1//node", "/api/v2/node", "/API/V1/node", "/metrics"):
            assert problem(await api.get(path)) == (404, "no-such-operation"), path
        answer = await api.put("/api/v1/node")
        assert (problem(answer), answer.headers["allow"]) == ((405, "wrong-method"), "GET, HEAD")
        as_json = {"Content-Type": "application/json"}
        for body in (
            b"",
            b"[" * 100_000,
            b"{" * 1000,
            b'{"process":1}',
            b'{"process":"' + b"\xff" + b'"}',
            b"null",
        ):
            answer = await api.post("/api/v1/tokens", content=body, headers=as_json)
            assert problem(answer) == (400, "invalid-request"), body[:20]
        extra = {"process": ECHO_C, "admin": True}
        assert problem(await api.post("/api/v1/tokens", json=extra)) == (400, "invalid-request")
        many = "&".join(f"a{number}=1" for number in range(100))
        assert problem(await api.get(f"/api/v1/node?{many}")) == (400, "invalid-request")
        assert problem(await api.get("/api/v1/channels?limit=1&limit=2")) == (400, "invalid-request")
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    head = f"POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {admin}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 5000000\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 413"), "before the body"
    assert b'"body-too-big"' in await reader.read()
    writer.close()
