"""Path-bound channels: who may open which path, decided before the upgrade."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.patience import PATIENCE
from websockets.asyncio.client import connect

from guesthouse.core.config import ConnectionLimits, HttpSettings
from guesthouse.core.messages import WsMessageType
from guesthouse.link.calls import BindWsPath, UnbindWsPath

from .conftest import CHAT, NODE, OTHER, House, Start, http_path, upgrade_request

LONG = "/" + "x" * 2048


def bind(house: House, path: str, *, authenticated: bool = False) -> None:
    problem = house.server.bind_ws_path(CHAT, BindWsPath(path, authenticated=authenticated))
    assert problem is None


async def answer(house: House, path: str, *headers: str) -> tuple[int, str]:
    """Status and body of the answer to an upgrade request; 101 has no body."""
    async with house.raw() as (reader, writer):
        writer.write(upgrade_request(path, house.server.port, *headers))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        status = int(head.split(b" ", 2)[1])
        body = b"" if status == 101 else await asyncio.wait_for(reader.read(), PATIENCE)
        return status, body.decode()


async def test_parameters_of_path_and_query_are_delivered(house: House) -> None:
    bind(house, "/items/:id/of/:owner")
    url = f"{house.ws_url}/{CHAT}/items/caf%C3%A9/of/ann?b=2&a=&b=x%20y"
    async with connect(url):
        event = await house.chat.opened()
    assert event.path == "/items/café/of/ann"
    assert event.url_params == (("id", "café"), ("owner", "ann"))
    assert event.query_params == (("b", "2"), ("a", ""), ("b", "x y"))


@pytest.mark.parametrize("form", ["{id}/room", "{id}/room/", "{quoted}/room", "{id}/%72oom"])
async def test_a_path_is_found_in_every_way_to_write_it(house: House, form: str) -> None:
    bind(house, "/room")
    path = "/" + form.format(id=CHAT, quoted=str(CHAT).replace(":", "%3A"))
    assert (await answer(house, path))[0] == 101
    assert (await house.chat.opened()).path == "/room"


async def test_the_root_of_a_process_is_found_with_and_without_a_slash(house: House) -> None:
    bind(house, "/")
    for path in (f"/{CHAT}", f"/{CHAT}/"):
        assert (await answer(house, path))[0] == 101
        event = await house.chat.opened()
        assert event.path == "/"
        assert await house.chat.next() == ("close", event.channel_id)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/{chat}/",
        "/{chat}/room/more",
        "/{chat}//room",
        "//{chat}/room",
        "/{chat}/./room",
        "/{chat}/x/../room",
        "/{other}/../{chat}/room",
        "/{other}/%2e%2e/{chat}/room",
        "/{other}/..%2f{chat}/room",
        "/{chat}%2froom",
        "/{chat}/%2froom",
        "/{chat}/room%00",
        "/{chat}/room%5c",
        "/{chat}/r%6",
        "/{chat}/%ff",
        "/{other}/room",
        "/none:none:none/room",
        "/room",
        "/../{chat}/room",
        "/{chat}/ROOM",
    ],
)
async def test_no_other_path_reaches_a_binding(house: House, path: str) -> None:
    bind(house, "/room")
    shown = path.format(chat=CHAT, other=OTHER)
    assert await answer(house, shown) == (404, "nothing is bound to this path\n"), shown
    assert house.server.open_channels() == []


async def test_a_process_that_ended_answers_404(house: House) -> None:
    bind(house, "/room")
    house.chat.gone = True
    assert (await answer(house, f"/{CHAT}/room"))[0] == 404


async def test_an_unbound_path_answers_404(house: House) -> None:
    bind(house, "/room")
    house.server.unbind_ws_path(CHAT, UnbindWsPath("/room"))
    assert (await answer(house, f"/{CHAT}/room"))[0] == 404


def cookie(value: str, name: str = f"kinode-auth_{NODE}") -> str:
    return f"Cookie: {name}={value}"


async def test_an_authenticated_path_takes_a_valid_cookie_in_any_place(house: House) -> None:
    bind(house, "/room", authenticated=True)
    token = house.server.issue_token(60)
    for header in (
        cookie(token),
        cookie(f'"{token}"'),
        f"Cookie: a=b; kinode-auth_{NODE}={token}; c",
        f"Cookie:  a=b;kinode-auth_{NODE}={token}",
        f"Cookie: kinode-auth_{NODE}=stale; kinode-auth_{NODE}={token}",
        f"cookie: x=y\r\nCOOKIE: kinode-auth_{NODE}={token}",
        cookie(token, f"hyperware-auth_{NODE}"),
    ):
        assert (await answer(house, f"/{CHAT}/room", header))[0] == 101, header


async def test_an_authenticated_path_refuses_everything_else_with_401(house: House) -> None:
    bind(house, "/room", authenticated=True)
    token = house.server.issue_token(60)
    for header in (
        "X-None: 1",
        cookie(""),
        cookie("x.y.z"),
        cookie(token + "x"),
        cookie(token, "kinode-auth_other.os"),
        cookie(token, f"kinode-auth_{NODE}x"),
        cookie(token, "hyperware-auth_other.os"),
        cookie(house.server.issue_token(-1)),
        f"Cookie: x=kinode-auth_{NODE}={token}",
        f"Authorization: Bearer {token}",
    ):
        assert await answer(house, f"/{CHAT}/room", header) == (401, "log in first, at /login\n"), header
    assert house.chat.quiet


@pytest.mark.slow
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 101),
        ("HTTP://127.0.0.1:{port}", 101),
        ("https://friend.example", 101),
        ("https://friend.example:443", 101),
        ("https://127.0.0.1:{port}", 403),
        ("http://127.0.0.1", 403),
        ("http://localhost:{port}", 403),
        ("http://127.0.0.1:{port}.evil.example", 403),
        ("http://evil.example", 403),
        ("http://evil.example:{port}", 403),
        ("http://friend.example", 403),
        ("https://friend.example:444", 403),
        ("https://x.friend.example", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
        ("http://127.0.0.1:{port}/", 403),
        ("http://a@127.0.0.1:{port}", 403),
        ("http://[::1", 403),
        ("http://127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}", 403),
    ],
)
async def test_a_page_of_another_origin_cannot_use_the_cookie(start: Start, origin: str, status: int) -> None:
    house: House = await start(None, HttpSettings(allowed_origins=("https://friend.example",)))
    bind(house, "/room", authenticated=True)
    header = "Origin: " + origin.format(port=house.server.port)
    got, reason = await answer(house, f"/{CHAT}/room", cookie(house.server.issue_token(60)), header)
    assert got == status, reason
    if status == 403:
        assert reason == "a page of another origin may not use this node's login\n"
        assert house.chat.quiet


async def test_a_public_path_takes_pages_of_any_origin(house: House) -> None:
    bind(house, "/room")
    assert (await answer(house, f"/{CHAT}/room", "Origin: http://evil.example"))[0] == 101


@pytest.mark.parametrize(
    ("trusted", "header", "expected"),
    [
        ((), "10.0.0.7", None),
        (("10.1.1.1",), "10.0.0.7", None),
        (("127.0.0.1",), "10.0.0.7", "10.0.0.7"),
        (("127.0.0.1",), "6.6.6.6, 10.0.0.7", "10.0.0.7"),
        (("127.0.0.1", "10.0.0.9"), "10.0.0.7, 10.0.0.9", "10.0.0.7"),
        (("127.0.0.1",), "127.0.0.1", None),
        (("127.0.0.1",), "x" * 300, "x" * 256),
    ],
)
async def test_forwarded_for_is_believed_from_trusted_proxies_only(
    start: Start, trusted: tuple[str, ...], header: str, expected: str | None
) -> None:
    house: House = await start(None, HttpSettings(trusted_proxies=trusted))
    bind(house, "/")
    await answer(house, f"/{CHAT}/", f"X-Forwarded-For: {header}")
    assert (await house.chat.opened()).forwarded_for == expected


async def test_a_trusted_proxy_may_have_ended_tls(start: Start) -> None:
    for trusted, status in ((("127.0.0.1",), 101), ((), 403)):
        house: House = await start(None, HttpSettings(trusted_proxies=trusted))
        bind(house, "/", authenticated=True)
        headers = (
            cookie(house.server.issue_token(60)),
            f"Origin: https://127.0.0.1:{house.server.port}",
            "X-Forwarded-Proto: https",
        )
        assert (await answer(house, f"/{CHAT}/", *headers))[0] == status


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12"), 400),
        (("Sec-WebSocket-Key: AAAA", "Sec-WebSocket-Key: !"), 400),
        (("GET ", "POST "), 405),
        (("HTTP/1.1", "HTTP/1.0"), 505),
    ],
)
async def test_a_broken_upgrade_request_is_refused_by_http(
    house: House, change: tuple[str, str], status: int
) -> None:
    bind(house, "/")
    request = upgrade_request(f"/{CHAT}/", house.server.port).decode().replace(*change)
    async with house.raw() as (reader, writer):
        writer.write(request.encode())
        assert int((await asyncio.wait_for(reader.read(), PATIENCE)).split(b" ")[1]) == status
    assert house.chat.quiet


@pytest.mark.parametrize(
    "path",
    [
        "",
        "room",
        "//",
        "/a//b",
        "/a/",
        "/./a",
        "/a/..",
        "/a\\b",
        "/a\0",
        "/:",
        "/:a/:a",
        "/:a b",
        "/\ud800",
        LONG,
    ],
)
async def test_a_path_that_cannot_be_asked_for_cannot_be_bound(house: House, path: str) -> None:
    assert house.server.bind_ws_path(CHAT, BindWsPath(path, authenticated=False)) == "bad-path"


async def test_the_bindings_of_a_process_are_limited(start: Start) -> None:
    house: House = await start(ConnectionLimits(bindings_per_process=3))

    def bind_ws(path: str, owner: Any = CHAT) -> str | None:
        return house.server.bind_ws_path(owner, BindWsPath(path, authenticated=False))

    def bind_http(path: str) -> str | None:
        return house.server.bind_http_path(CHAT, http_path(path, authenticated=False, local_only=False))

    assert [bind_ws("/1"), bind_ws("/:b"), bind_http("/1"), bind_ws("/4"), bind_http("/4")] == [
        None,
        None,
        None,
        "too-many",
        "too-many",
    ]
    assert bind_ws("/1") is None, "binding again is no new binding"
    assert bind_ws("/:b") is None
    assert bind_ws("/1", OTHER) is None, "others have their own"
    house.server.unbind_ws_path(CHAT, UnbindWsPath("/1"))
    assert bind_http("/4") is None
    house.server.process_gone(CHAT, "")
    assert bind_ws("/anew") is None


async def test_a_literal_binding_wins_over_a_parameter(house: House) -> None:
    bind(house, "/:a/:b")
    bind(house, "/:a/end")
    bind(house, "/start/:b")
    bind(house, "/start/end")
    for path, bound in (
        ("/start/end", "/start/end"),
        ("/start/x", "/start/:b"),
        ("/x/end", "/:a/end"),
        ("/x/y", "/:a/:b"),
    ):
        async with connect(f"{house.ws_url}/{CHAT}{path}"):
            await house.chat.opened()
            (connection,) = house.server._channels.of(CHAT)
            assert connection.bound_path == bound
        await house.chat.next()


async def test_a_wildcard_takes_what_is_left_of_a_path_and_whatever_is_bound_closer_wins(
    house: House,
) -> None:
    for path in ("/shared/*", "/x/*name", "/x/a/:id", "/x/a/end", "/mid/*in/raw", "/a b/100%"):
        bind(house, path)
    for path, bound, params in (
        ("/shared/a", "/shared/*", ()),
        ("/shared/a/b%20c/d", "/shared/*", ()),
        ("/x/y/z", "/x/*name", (("name", "y/z"),)),
        ("/x/a", "/x/*name", (("name", "a"),)),
        ("/x/a/7", "/x/a/:id", (("id", "7"),)),
        ("/x/a/end", "/x/a/end", ()),
        ("/x/a/7/8", "/x/*name", (("name", "a/7/8"),)),
        ("/mid/1/2/raw", "/mid/*in/raw", (("in", "1/2"),)),
        ("/a%20b/100%25", "/a b/100%", ()),
    ):
        async with connect(f"{house.ws_url}/{CHAT}{path}"):
            opened = await house.chat.opened()
            assert (opened.bound_path, opened.url_params) == (bound, params)
        await house.chat.next()
    for path in ("/shared", "/x", "/mid/raw", "/mid/1/2", "/", "/elsewhere"):
        assert (await answer(house, f"/{CHAT}{path}"))[0] == 404, path


async def test_a_path_that_would_never_match_is_not_bound(house: House) -> None:
    for path in (
        "/a*",
        "/a*b/c",
        "/**",
        "/*/*",
        "/*a/*b",
        "/*1",
        "/:a/*a",
        "/a?b",
        "/a#b",
        "/a%2Fb",
        "/%2e%2e",
    ):
        bound = house.server.bind_ws_path(CHAT, BindWsPath(path, authenticated=False))
        assert bound == "bad-path", path


async def test_a_path_is_bound_encoded_or_not(house: House) -> None:
    bind(house, "/caf%C3%A9/%3F")
    async with connect(f"{house.ws_url}/{CHAT}/caf%c3%a9/%3f"):
        assert (await house.chat.opened()).bound_path == "/caf%C3%A9/%3F"
    await house.chat.next()
    house.server.unbind_ws_path(CHAT, UnbindWsPath("/café/%3F"))
    assert (await answer(house, f"/{CHAT}/caf%C3%A9/%3F"))[0] == 404


@pytest.mark.parametrize("binary", [False, True])
async def test_a_register_message_on_a_bound_path_is_told_to_nobody(house: House, binary: bool) -> None:
    registering = json.dumps(house.register)
    async with house.bound("/room") as (client, event):
        await client.ping(b"before")
        assert (await house.chat.next())[2:] == (int(WsMessageType.PING), b"before")
        await client.send(registering.encode() if binary else registering)
        await client.send("hello")
        assert await house.chat.next() == ("push", event.channel_id, int(WsMessageType.TEXT), b"hello")
        await client.send(b"x")
        assert (await house.chat.next())[3] == b"x"


@pytest.mark.parametrize(
    "message",
    [
        '{"auth_token": 1, "target_process": "a:b:c"}',
        '{"auth_token": "t"}',
        "auth_token target_process",
        "[" * 999,
    ],
)
async def test_what_only_looks_like_a_register_message_is_for_the_process(house: House, message: str) -> None:
    async with house.bound("/room") as (client, _):
        await client.send(message)
        assert (await house.chat.next())[3] == message.encode()
