"""Tokens with a scope, their renewal, logging out and revoking; and messages by RPC."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.patience import PATIENCE
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from guesthouse.core.config import Settings
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.core.ports import Answer
from guesthouse.http_server.auth.revocations import _COMPACT_AT, REVOKED_FILE, RevocationList
from guesthouse.http_server.auth.tokens import AuthError, Scope, Tokens
from guesthouse.link.calls import BindWsPath

from .conftest import CHAT, NODE, OTHER, House, Start, http_path, until

COOKIE = f"kinode-auth_{NODE}"
RPC = "/rpc:distro:sys/message"


def header(token: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={token}"}


async def register(house: House, token: str, process: object = CHAT) -> tuple[Any, Any]:
    """A socket, and the answer or the close to its register message."""
    socket = await connect(house.ws_url + "/", ping_interval=None, proxy=None)
    await socket.send(json.dumps({"auth_token": token, "target_process": str(process)}))
    try:
        return socket, json.loads(await socket.recv())
    except ConnectionClosed as closed:
        if closed.rcvd is None:
            raise
        return socket, (closed.rcvd.code, closed.rcvd.reason)


async def test_a_token_for_one_process_opens_no_other(house: House) -> None:
    token = house.server.issue_token(60, Scope(process=str(CHAT)))
    for process in (CHAT, OTHER):
        house.server.bind_ws_path(process, BindWsPath("/", authenticated=True))
        house.server.bind_http_path(
            process,
            http_path("/p", authenticated=True, local_only=False, static=LazyLoadBlob(None, b"x")),
        )
    async with house.http(headers=header(token)) as client:
        assert (await client.get(f"/{CHAT}/p")).status_code == 200
        assert (await client.get(f"/{OTHER}/p")).status_code == 403
    async with connect(f"{house.ws_url}/{CHAT}/", additional_headers=header(token), proxy=None):
        await house.chat.opened()
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{house.ws_url}/{OTHER}/", additional_headers=header(token), proxy=None):
            pass
    assert refused.value.response.status_code == 403
    socket, close = await register(house, token, OTHER)
    assert close == (4002, f"auth_token is not valid on this node: it is for {CHAT}")
    await socket.close()


async def test_a_token_is_for_so_many_channels_at_once(house: House) -> None:
    token = house.server.issue_token(60, Scope(channels=2))
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=True))
    first, _ = await register(house, token)
    async with connect(f"{house.ws_url}/{CHAT}/", additional_headers=header(token), proxy=None):
        third, close = await register(house, token)
        assert close == (4005, "the token has as many channels open as it may")
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{house.ws_url}/{CHAT}/", additional_headers=header(token), proxy=None):
                pass
        assert refused.value.response.status_code == 403
        await first.close()
        await third.close()
        await until(lambda: house.server._context.token_channels._open.total() == 1)
        again, answer = await register(house, token)
        assert set(answer) == {"channel_id"}
        await again.close()


async def test_a_revoked_token_opens_nothing_and_its_channels_are_closed(house: House) -> None:
    token, other = house.server.issue_token(60), house.server.issue_token(60)
    socket, _ = await register(house, token)
    kept, _ = await register(house, other)
    assert house.server.revoke(token)
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "the token was revoked")
    _, close = await register(house, token)
    assert close == (4002, "auth_token is not valid on this node: the token was revoked: log in again")
    await kept.ping()
    await kept.close()
    assert not house.server.revoke("no token")


async def test_a_revocation_outlives_the_node(start: Start) -> None:
    house = await start()
    token = house.server.issue_token(60)
    house.server.revoke(token)
    again = await start()
    assert again.home == house.home
    _, close = await register(again, token)
    assert close[0] == 4002
    assert (house.home / REVOKED_FILE).stat().st_mode & 0o777 == 0o600


async def test_logging_out_revokes_the_token_of_the_cookie(house: House) -> None:
    token = house.server.issue_token(60)
    async with house.http(headers=header(token)) as client:
        assert (await client.get("/")).status_code == 200
        assert (await client.post("/logout")).status_code == 303
        assert (await client.get("/")).status_code == 303


def test_another_writing_of_a_revoked_token_is_revoked_too() -> None:
    revoked: set[str] = set()
    tokens = Tokens("n", b"s" * 32, revoked.__contains__)
    token = tokens.issue(60, 0)
    known = tokens.revocable(token)
    assert known is not None
    revoked.add(known[0])
    for other in [token[:-1] + letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]:
        with pytest.raises(AuthError):
            tokens.verify(other, 1)


def test_two_tokens_of_one_moment_are_two() -> None:
    tokens = Tokens("n", b"s" * 32)
    assert tokens.issue(60, 0) != tokens.issue(60, 0)


def test_the_list_forgets_what_has_expired(tmp_path: Path) -> None:
    revoked = RevocationList(tmp_path, 0)
    for number in range(3):
        revoked.add(f"{number}", 10, 0)
    (tmp_path / REVOKED_FILE).write_text("0 10\n" * _COMPACT_AT + "1 20\nbroken\n")
    again = RevocationList(tmp_path, 15)
    assert ("0" in again, "1" in again) == (False, True)
    again.add("2", 30, 25)
    assert (tmp_path / REVOKED_FILE).read_text() == "2 30\n"


async def test_a_bearer_renews_a_token_with_the_same_scope(house: House) -> None:
    token = house.server.issue_token(60, Scope(process=str(CHAT), channels=2))
    async with house.http() as client:
        answer = await client.post("/token", headers={"Authorization": f"Bearer {token}"})
        renewed = answer.json()["token"]
        context = house.server._context
        claims = context.tokens.verify(renewed, context.now())
        assert (claims.process, claims.channels, claims.lifetime) == (str(CHAT), 2, 60)
        house.server.revoke(token)
        for given in (f"Bearer {token}", "Bearer x", f"Basic {renewed}", ""):
            assert (await client.post("/token", headers={"Authorization": given})).status_code == 401


async def ask(house: House, fields: Any, **headers: str) -> tuple[int, Any]:
    async with house.http() as client, asyncio.TaskGroup() as tasks:
        pending = tasks.create_task(client.post(RPC, json=fields, headers=house.local | headers))
        if isinstance(fields, dict) and fields.get("expects_response") is not None and not headers:
            _, request, blob, answered = await asyncio.wait_for(house.router.requests.get(), PATIENCE)
            answered(Answer(request.body[::-1], None, blob))
        answer = await pending
    return answer.status_code, answer.json() if answer.content and answer.status_code == 200 else None


async def test_a_program_here_sends_a_message_and_gets_the_answer(house: House) -> None:
    data = base64.b64encode(b"\x00\xff").decode()
    fields = {"process": str(CHAT), "body": "abc", "expects_response": 5, "mime": "x/y", "data": data}
    status, answer = await ask(house, fields)
    assert (status, answer) == (200, {"body": list(b"cba"), "lazy_load_blob": {"mime": "x/y", "bytes": data}})


async def test_without_a_wish_for_an_answer_there_is_none(house: House) -> None:
    assert await ask(house, {"process": str(CHAT), "body": {"a": 1}, "metadata": "m"}) == (200, None)
    process, request, blob, _ = house.router.requests.get_nowait()
    assert (process, request.body, request.metadata, blob) == (CHAT, b'{"a":1}', "m", None), (
        "as it was written"
    )


async def test_the_process_sees_inherit_and_context_is_refused_with_the_reason(house: House) -> None:
    for inherit in (True, False, None):
        assert await ask(house, {"process": str(CHAT), "inherit": inherit, "context": None}) == (200, None)
        assert house.router.requests.get_nowait()[1].inherit is bool(inherit)
    async with house.http() as client:
        answer = await client.post(RPC, json={"process": str(CHAT), "context": "mine"}, headers=house.local)
    assert answer.text.startswith("not a valid HTTP request: context is only for requests of processes")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"process": "x"}, 400),
        ({"process": 7}, 400),
        ({"process": "a:b:c"}, 404),
        ({"process": str(CHAT), "node": "other.os"}, 404),
        ({"process": str(CHAT), "data": "no base64!"}, 400),
        ({"process": str(CHAT), "expects_response": "1"}, 400),
        ({"process": str(CHAT), "expects_response": -1}, 400),
        ({"process": str(CHAT), "mime": 1}, 400),
        ({"process": str(CHAT), "inherit": 1}, 400),
        ({"process": str(CHAT), "context": "mine"}, 400),
    ],
)
async def test_what_is_no_message_is_refused(house: House, fields: Any, status: int) -> None:
    async with house.http() as client:
        assert (await client.post(RPC, json=fields, headers=house.local)).status_code == status
    assert house.router.requests.empty()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_neither_proxies_nor_pages_send_messages(house: House, headers: dict[str, str]) -> None:
    assert await ask(house, {"process": str(CHAT), "expects_response": 1}, **headers) == (403, None)
    assert await ask(house, {"process": str(CHAT)}, Host="node.example.com") == (421, None)
    assert house.router.requests.empty()


@pytest.mark.parametrize("refusal", ["mailbox-full", "timeout", "no-such-process"])
async def test_a_message_that_is_not_taken_says_why(house: House, refusal: Any) -> None:
    house.router.refusal = refusal
    status = {"mailbox-full": 503, "timeout": 408, "no-such-process": 503}[refusal]
    assert await ask(house, {"process": str(CHAT)}) == (status, None)


async def test_a_process_that_ends_without_an_answer_is_503_and_one_that_is_not_there_404(
    house: House,
) -> None:
    async with house.http(headers=house.local) as client, asyncio.TaskGroup() as tasks:
        message = {"process": str(CHAT), "expects_response": 5}
        pending = tasks.create_task(client.post(RPC, json=message))
        *_, answered = await asyncio.wait_for(house.router.requests.get(), PATIENCE)
        answered("no-such-process")
        ended = await pending
        assert (ended.status_code, ended.text) == (503, "the process ended before it answered\n")
        assert ended.headers["retry-after"] == "1"
        nobody = await client.post(RPC, json=message | {"process": "no:such:process.os"})
        assert nobody.status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 413)])
async def test_a_message_is_no_larger_than_one_between_processes(
    house: House, over: int, status: int
) -> None:
    body = "x" * (Settings().process.message_bytes - 200 + over)
    limits = house.server._context.settings
    msgspec.structs.force_setattr(limits.process, "message_bytes", len(body) - over)
    assert (await ask(house, {"process": str(CHAT), "body": body}))[0] == status
