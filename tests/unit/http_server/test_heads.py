"""Heads of requests as clients may write them: long lines, hosts, whole targets, many at once; a node that ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Any

import pytest
from tests.patience import PATIENCE

from guesthouse.core.config import ConnectionLimits
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.http_server.auth import credentials
from guesthouse.http_server.auth.credentials import password_hash, set_password
from guesthouse.http_server.routing.origin import is_host
from guesthouse.http_server.websocket.protocol import MAX_HEAD
from guesthouse.link.calls import BindWsPath

from .conftest import CHAT, House, Start, until, upgrade_request
from .direct import BOTH_WAYS
from .test_http import bind

pytestmark = [pytest.mark.usefixtures("directly"), BOTH_WAYS]


async def heads(house: House, request: bytes, count: int = 1) -> list[bytes]:
    """The status lines of the answers to some bytes."""
    async with house.raw() as (reader, writer):
        writer.write(request)
        lines = []
        for _ in range(count):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            lines.append(head.partition(b"\r\n")[0])
            size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(size or b"0"))
        return lines


@pytest.mark.parametrize(("size", "status"), [(8 * 1024, b"101"), (60 * 1024, b"101"), (MAX_HEAD, b"431")])
async def test_a_header_of_an_upgrade_is_as_long_as_that_of_any_request(
    house: House, size: int, status: bytes
) -> None:
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    request = upgrade_request(
        f"/{CHAT}/?q={'x' * 9000 if size < 60_000 else ''}", house.server.port, f"X-Long: {'x' * size}"
    )
    (line,) = await heads(house, request)
    assert line.split(b" ")[1] == status


@pytest.mark.slow
@pytest.mark.parametrize(
    "host", ["a b", "user@h", "h/x", "[::1", "h:x", "h:99999", "", "[::1]x", "h?q", "[1.2.3.4]"]
)
@pytest.mark.parametrize("upgrade", [False, True])
async def test_a_host_that_is_none_is_refused(house: House, host: str, upgrade: bool) -> None:
    bind(house, "/")
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    if upgrade:
        whole = upgrade_request(f"/{CHAT}/", house.server.port)
        request = whole.replace(f"Host: 127.0.0.1:{house.server.port}".encode(), f"Host: {host}".encode())
    else:
        request = f"GET /{CHAT}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    (line,) = await heads(house, request)
    assert line.split(b" ")[1] == b"400"
    assert house.chat.quiet


@pytest.mark.parametrize(
    "host",
    ["h", "h:", "h:80", "my_node.example", "[::1]", "[::ffff:1.2.3.4]:65535", "1.2.3.4", "%C3%A9", "a,b"],
)
def test_a_host_may_be_all_that_the_grammar_lets_it_be(host: str) -> None:
    assert is_host(host)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("http://other.example:81/PATH?q=1", "http://other.example:81/PATH?q=1"),
        ("HTTPS://other.example/PATH", "http://other.example/PATH"),
    ],
)
async def test_a_target_in_absolute_form_is_taken_and_its_host_counts(
    house: House, target: str, url: str
) -> None:
    bind(house, "/x")
    target, url = (each.replace("PATH", f"{CHAT}/x") for each in (target, url))
    async with house.raw() as (reader, writer):
        writer.write(f"GET {target} HTTP/1.1\r\nHost: ignored\r\nConnection: close\r\n\r\n".encode())
        _, http_id, request, _, _ = await house.chat.next()
        assert request.url == url
        assert dict(request.headers)["host"] == url.split("/")[2]
        house.server.http_response(CHAT, http_id, 200, (), None, b"")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://h", b"303"),
        ("http://h?q=1", b"303"),
        ("http://h/login", b"200"),
        ("http://user@h/", b"400"),
        ("http:///login", b"400"),
        ("ftp://h/", b"400"),
        ("http:/login", b"400"),
        ("*", b"400"),
    ],
)
async def test_other_forms_of_a_target_are_what_they_stand_for_or_refused(
    house: House, target: str, status: bytes
) -> None:
    (line,) = await heads(house, f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert line.split(b" ")[1] == status
    (line,) = await heads(house, f"GET {target} HTTP/1.1\r\n\r\n".encode())
    assert line.split(b" ")[1] == b"400", "one Host there has to be"


async def test_an_upgrade_may_have_an_absolute_target(house: House) -> None:
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    here = f"http://127.0.0.1:{house.server.port}/{CHAT}/"
    (line,) = await heads(house, upgrade_request(here, house.server.port))
    assert line.split(b" ")[1] == b"101"


@pytest.mark.slow
@pytest.mark.parametrize("count", [17, 500])
async def test_any_number_of_requests_at_once_are_answered_one_after_the_other(
    house: House, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    bind(house, "/", static=LazyLoadBlob("text/plain", b"HTTP/1.1 and no head\r\n\r\n"))
    ask = f"GET /{CHAT}/ HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    posted = f"POST /login HTTP/1.1\r\nHost: h\r\nContent-Length: {len(ask) * 40}\r\n\r\n".encode() + ask * 40
    with caplog.at_level(logging.WARNING):
        lines = await heads(house, ask * count + posted + ask * 20, count + 21)
    assert [line.split(b" ")[1] for line in lines] == [b"200"] * count + [b"400"] + [b"200"] * 20
    assert caplog.records == []


BROKEN = {
    "no request": b"NONSENSE\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /login HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a coding of the body": b"POST /login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a chunk": b"POST /login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nno\r\n\r\n",
    "an upgrade": b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("count", [1, 3, 40])
async def test_good_requests_are_answered_before_the_broken_one_behind_them(
    house: House, broken: bytes, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    bind(house, "/")
    ask = f"GET /{CHAT}/ HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    async with house.raw() as (reader, writer):
        writer.write(ask * count + broken + ask)
        for number in range(count):
            _, http_id, *_ = await house.chat.next()
            house.server.http_response(CHAT, http_id, 200, (), None, b"%02d" % number)
            assert (await reader.readuntil(b"\r\n\r\n%02d" % number)).startswith(b"HTTP/1.1 200")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
    assert house.chat.quiet
    assert caplog.records == []


async def test_a_head_that_comes_too_slowly_costs_the_requests_before_it_nothing(start: Start) -> None:
    house = await start(limits=ConnectionLimits(handshake_seconds=0.1))
    bind(house, "/")
    async with house.raw() as (reader, writer):
        writer.write(f"GET /{CHAT}/ HTTP/1.1\r\nHost: h\r\n\r\nGET /{CHAT}/ HT".encode())
        _, http_id, *_ = await house.chat.next()
        await until(lambda: "a request was refused" in str(house.log.lines))
        house.server.http_response(CHAT, http_id, 200, (), None, b"answered")
        said = await reader.read()
    first, _, second = said.partition(b"answered")
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 408")


@pytest.mark.slow
async def test_a_client_that_leaves_its_pipelined_requests_is_no_fault_of_the_node(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    house: House = await start(ConnectionLimits(http_response_seconds=1.0))
    bind(house, "/")
    async with house.raw() as (_, writer):
        writer.write(f"GET /{CHAT}/ HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 3)
        _, http_id, *_ = await house.chat.next()
        writer.transport.abort()
    state: Any = house.server._server
    await until(lambda: not state.server_state.connections)
    house.server.http_response(CHAT, http_id, 200, (), None, b"nobody reads it")
    await until(lambda: not state.server_state.tasks)
    assert caplog.records == []
    assert house.log.errors == []


@pytest.mark.parametrize("target", ["*", "http://h", "HTTP://h:80"])
async def test_options_for_the_whole_server_are_answered(house: House, target: str) -> None:
    async with house.raw() as (reader, writer):
        writer.write(f"OPTIONS {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        said = await reader.read()
    assert said.startswith(b"HTTP/1.1 204")
    assert b"allow: GET, HEAD, POST" in said
    assert house.chat.quiet


async def test_requests_that_wait_for_a_process_hold_back_those_behind_them(house: House) -> None:
    bind(house, "/")
    ask = f"GET /{CHAT}/ HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    async with house.raw() as (reader, writer):
        writer.write(ask * 100)
        for number in range(100):
            _, http_id, *_ = await house.chat.next()
            state: Any = house.server._server
            (connection,) = state.server_state.connections
            assert len(connection.pipeline) <= 17
            house.server.http_response(CHAT, http_id, 200, (), None, b"%02d" % number)
            assert (await reader.readuntil(b"\r\n\r\n%02d" % number)).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
async def test_a_login_under_way_at_a_shutdown_is_told_so(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house: House = await start()
    set_password(house.home, "secret")
    begun, over = threading.Event(), threading.Event()

    def slow(_: object, __: str) -> bool:
        begun.set()
        return over.wait(20)

    monkeypatch.setattr(credentials, "check_password", slow)
    fields = {"password_hash": password_hash("secret"), "subdomain": None}
    try:
        async with house.http() as client, asyncio.TaskGroup() as tasks:
            pending = tasks.create_task(client.post("/login", json=fields))
            assert await asyncio.to_thread(begun.wait, 10)
            await house.server.close()
            answer = await pending
    finally:
        over.set()
    assert (answer.status_code, answer.text) == (503, "the node is shutting down\n")
    assert caplog.records == []
    assert house.log.errors == []


async def test_what_is_refused_before_the_application_is_not_sniffed_and_cites_little(house: House) -> None:
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    port = house.server.port
    for request, status in (
        (b"NONSENSE\r\n\r\n", b"400"),
        (upgrade_request("/nothing", port), b"404"),
        (upgrade_request(f"/{CHAT}/", port, "Sec-WebSocket-Extensions: " + "{" * 5000), b"400"),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        whole = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        head, _, body = whole.partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == status
        assert b"x-content-type-options: nosniff" in head.lower()
        assert f"content-length: {len(body)}".encode() in head.lower()
        assert 0 < len(body) < 300


def late_reader(port: int, request: bytes, more: int) -> bytes:
    """What a client gets that reads only when it has sent all."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(request)
        for _ in range(more // 2**16):
            client.sendall(b"x" * 2**16)
        return b"".join(iter(lambda: client.recv(2**16), b""))


@pytest.mark.parametrize("declared", [True, False])
async def test_a_client_that_is_still_sending_gets_its_refusal(house: House, declared: bool) -> None:
    bind(house, "/")
    size = ConnectionLimits().message_bytes + 32 * 2**20
    coding = f"Content-Length: {size}" if declared else "Transfer-Encoding: chunked"
    request = (
        f"POST /{CHAT}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n{coding}\r\n\r\n{'' if declared else f'{size:x}'}"
    )
    request += "" if declared else "\r\n"
    answer = await asyncio.to_thread(late_reader, house.server.port, request.encode(), size)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert house.chat.quiet
