"""Requests that are answered directly: which ones, and that the client and the process see no difference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from tests.patience import PATIENCE

from guesthouse.core.config import ConnectionLimits, HttpSettings
from guesthouse.core.messages import LazyLoadBlob, Pairs
from guesthouse.http_server.http import direct_routes
from guesthouse.http_server.http.app import HttpApp
from guesthouse.http_server.http.direct_request import DirectAnswers
from guesthouse.http_server.http.direct_routes import DirectRoutes
from guesthouse.link.calls import UnbindHttpPath

from .conftest import CHAT, House, Start, http_path, until

CONTENT = LazyLoadBlob("text/html", b"<p>" * 10_000)
PAGE = f"/{CHAT}/page"
ITEMS = f"/{CHAT}/items/7"


def app_of(house: House) -> HttpApp:
    return house.server._app


def bind(house: House) -> None:
    for path, more in (("/page", {"static": CONTENT}), ("/items/:id", {})):
        call = http_path(path, authenticated=False, local_only=False, secure=False, **more)
        assert house.server.bind_http_path(CHAT, call) is None


class Client:
    """A connection that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, method: str, path: str, *headers: str, body: bytes = b"", host: str = "a") -> None:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
        lines += [f"Content-Length: {len(body)}"] if body else []
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def answer(self, *, has_body: bool = True) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, sorted headers but for the date, and the body."""
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")[:-2]
            headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
            size = int(dict(headers).get("content-length", "0")) if has_body else 0
            body = await self._reader.readexactly(size)
        return int(first.split(" ")[1]), sorted(each for each in headers if each[0] != "date"), body


class Seen:
    """Which requests were answered directly."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.direct: list[bool] = []
        ask = DirectAnswers.request

        def request(*given: Any) -> Any:
            found = ask(*given)
            self.direct.append(found is not None)
            return found

        monkeypatch.setattr(DirectAnswers, "request", request)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


async def answered(house: House, client: Client, **answer: Any) -> tuple[Any, ...]:
    """Answer what the process gets; returns that, without its id and the client's port."""
    _, http_id, request, mime, body = await house.chat.next()
    given: dict[str, Any] = {"status": 200, "headers": (), "mime": "text/plain", "body": b"yes", **answer}
    house.server.http_response(CHAT, http_id, **given)
    return replace(request, source_socket_addr=request.source_socket_addr.partition(":")[0]), mime, body


REQUESTS: list[tuple[bool, str, str, tuple[str, ...], bytes]] = [
    (True, "GET", PAGE, (), b""),
    (True, "GET", PAGE + "?q=1", ("Accept: */*", "User-Agent: x"), b""),
    (False, "GET", PAGE, ("Range: bytes=0-9",), b""),
    (False, "GET", PAGE, ("If-None-Match: *",), b""),
    (False, "GET", PAGE, ("Service-Worker: script",), b""),
    (False, "HEAD", PAGE, (), b""),
    (False, "POST", PAGE, (), b"body"),
    (False, "GET", PAGE, ("Connection: close",), b""),
    (True, "GET", ITEMS, (), b""),
    (True, "GET", ITEMS, ("Cookie: a=1", "X-Forwarded-Proto: https", "X-A: \xe9"), b""),
    (True, "GET", ITEMS + "?a=b&c=%41&a", (), b""),
    (True, "GET", PAGE, ("Accept: text/html",), b""),
    (True, "POST", ITEMS, ("Content-Type: a/b",), b"b" * 5000),
    (True, "DELETE", ITEMS, ("Guesthouse-Local: secret",), b""),
    (False, "PUT", ITEMS, ("Content-Type: a/b", "Content-Type: c/d"), b"b"),
    (False, "OPTIONS", ITEMS, (), b""),
    (False, "GET", ITEMS, ("Guesthouse-Timeout: 9",), b""),
    (False, "GET", ITEMS, ("Connection: close",), b""),
]


@pytest.mark.slow
@pytest.mark.parametrize(("direct", "method", "path", "headers", "body"), REQUESTS)
@pytest.mark.parametrize("origins", ["shared", "auto", "package"])
async def test_an_answer_is_the_same_either_way(
    start: Start, seen: Seen, origins: Any, direct: bool, method: str, path: str, headers: Any, body: bytes
) -> None:
    house: House = await start(http=HttpSettings(origins=origins, hosts=("a",)))
    bind(house)
    found: list[Any] = []
    for _ in range(
        3
    ):  # by the application, which keeps the route, and directly if that is for such a request
        async with house.raw() as (reader, writer):
            client = Client(reader, writer)
            client.send(method, path, *headers, body=body)
            told = await answered(house, client) if path.startswith(ITEMS) else None
            found.append((told, await client.answer(has_body=method != "HEAD")))
    assert found[0] == found[1] == found[2]
    assert found[0][1][0] in (200, 206, 303, 304, 403, 405)
    if origins == "package" and "Accept: text/html" in headers:
        direct = False  # a page is sent to its own origin
    assert seen.direct.count(True) == (2 if direct else 0)


ANSWERS: list[tuple[int, Pairs, str | None, bytes]] = [
    (200, (), "text/plain", b"x" * 100),
    (200, (), None, b"x" * 100_000),
    (404, (("X-A", "é"), ("Set-Cookie", "a=1; Path=/"), ("set-cookie", "b=2")), None, b""),
    (204, (("X-A", "b"),), "text/plain", b"ignored"),
    (304, (("ETag", '"e"'),), None, b"ignored"),
    (205, (), None, b"ignored"),
    (303, (("Location", f"/{CHAT}/elsewhere"),), None, b""),
    (303, (("Location", "/other"),), None, b""),
    (200, (("Content-Security-Policy", "default-src 'self'; report-uri /x"), ("Connection", "close")), "a/b", b"x"),
    (99, (), None, b"no status"),
    (200, (("Bad Name", "x"),), None, b""),
    (200, (("X-A", "b\r\nX-B: c"),), None, b""),
    (200, (), "text/plain\r\nX-B: c", b""),
    (200, tuple((f"X-{number}", "x") for number in range(129)), None, b""),
    (200, (("X-A", "a" * 2000),), None, b""),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("origins", ["shared", "auto"])
async def test_what_a_process_answers_is_checked_either_way(
    start: Start, seen: Seen, origins: Any, answer: tuple[int, Pairs, str | None, bytes]
) -> None:
    house: House = await start(http=HttpSettings(origins=origins, hosts=("a",)))
    bind(house)
    status, headers, mime, body = answer
    found = []
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        for _ in range(4):
            client.send("GET", ITEMS)
            await answered(house, client, status=status, headers=headers, mime=mime, body=body)
            found.append(await client.answer(has_body=status not in (204, 304)))
    assert found == [found[0]] * 4
    assert seen.direct == [False, True, True, True]


async def test_each_change_of_bindings_and_settings_is_seen_at_once(house: House, seen: Seen) -> None:
    bind(house)

    async def status() -> int:
        async with house.raw() as (reader, writer):
            client = Client(reader, writer)
            client.send("GET", PAGE)
            return (await client.answer())[0]

    assert [await status() for _ in range(3)] == [200, 200, 200]
    house.server.bind_http_path(CHAT, http_path("/page", authenticated=True, local_only=False, secure=False))
    assert await status() == 401
    bind(house)
    assert [await status() for _ in range(2)] == [200, 200]
    house.server.unbind_http_path(CHAT, UnbindHttpPath("/page"))
    assert await status() == 404
    bind(house)
    assert [await status() for _ in range(2)] == [200, 200]
    settings = app_of(house).context.settings
    app_of(house).context.apply(replace(settings, http=replace(settings.http, hosts=("elsewhere",))))
    assert await status() == 421
    app_of(house).context.apply(settings)
    assert [await status() for _ in range(2)] == [200, 200]
    house.chat.gone = True
    assert await status() == 404
    assert seen.direct == [
        False,
        True,
        True,
        False,
        False,
        True,
        False,
        False,
        True,
        False,
        False,
        True,
        False,
    ]


async def test_the_routes_and_heads_that_are_kept_are_bounded(
    house: House, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_routes, "MOST_ROUTES", 3)
    monkeypatch.setattr(direct_routes, "MOST_HEADS", 3)
    bind(house)
    routes: Any = app_of(house).direct.routes
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        for number in range(10):
            client.send("GET", f"/{CHAT}/items/{number}")
            await answered(house, client)
            await client.answer()
            assert 0 < len(routes._routes) <= 3
        for number in range(10):
            client.send("GET", f"/{CHAT}/items/9")
            await answered(house, client, headers=(("X-A", str(number)),))
            assert ("x-a", str(number)) in (await client.answer())[1]
        (route,) = [route for key, route in routes._routes.items() if key[1].endswith(b"/9")]
        assert 0 < len(route.heads) <= 3
    assert seen.direct == [False] * 10 + [True] * 10


async def test_a_body_counts_against_the_budget_of_all_until_it_is_answered(start: Start, seen: Seen) -> None:
    house: House = await start(ConnectionLimits(http_body_bytes=40_000))
    bind(house)
    bodies: Any = app_of(house).direct.bodies
    free = bodies._free
    async with house.raw() as (reader, writer), house.raw() as (other_reader, other_writer):
        client, other = Client(reader, writer), Client(other_reader, other_writer)
        client.send("GET", ITEMS)
        await answered(house, client)
        await client.answer()
        client.send("POST", ITEMS, body=b"x" * 40_000)
        _, http_id, *_ = await house.chat.next()
        assert bodies._free == free - 40_000
        bodies.take(bodies._free)
        other.send("POST", ITEMS, body=b"x")
        status, headers, _ = await other.answer()
        assert (status, dict(headers)["connection"]) == (503, "close")
        house.server.http_response(CHAT, http_id, 200, (), None, b"")
        assert (await client.answer())[0] == 200
        assert bodies._free == 40_000
        client.send("POST", ITEMS, body=b"x" * 40_001)
        assert (await client.answer())[0] == 413
    assert seen.direct == [False, True, True, False]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_client_that_leaves_leaves_nothing_behind(house: House, seen: Seen, whole: bool) -> None:
    bind(house)
    direct: Any = app_of(house).direct
    free = direct.bodies._free
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        client.send("GET", ITEMS)
        await answered(house, client)
        await client.answer()
        length = 10 if whole else 20
        writer.write(
            f"POST {ITEMS} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n0123456789".encode()
        )
        await until(lambda: direct.bodies._free < free)
    await until(lambda: direct.bodies._free == free)
    await until(lambda: not len(direct.exchanges))
    assert seen.direct == [False, True]
    if whole:
        _, http_id, *_ = await house.chat.next()
        house.server.http_response(CHAT, http_id, 200, (), None, b"late")
        assert house.log.mentions("answered no open HTTP request")


async def test_a_process_that_ends_or_does_not_answer_is_told_to_the_client(
    house: House, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind(house)
    context = app_of(house).context
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        client.send("GET", ITEMS)
        await answered(house, client)
        await client.answer()
        client.send("GET", ITEMS)
        await house.chat.next()
        house.server.run_ended(CHAT, ())
        assert (await client.answer())[0] == 503
        client.send("GET", ITEMS)
        await house.chat.next()
        later = context.monotonic() + 1000
        monkeypatch.setattr(context, "monotonic", lambda: later)
        assert (await client.answer())[0] == 408
        monkeypatch.undo()
        house.chat.takes_http = False
        client.send("GET", ITEMS)
        status, headers, _ = await client.answer()
        assert (status, dict(headers)["retry-after"]) == (503, "1")
    assert not len(app_of(house).direct.exchanges)


async def test_a_fault_of_the_node_is_one_response_and_one_line(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    house: House = await start()
    bind(house)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        client.send("GET", ITEMS)
        await answered(house, client)
        await client.answer()
        monkeypatch.setattr(direct_routes.DirectRoute, "response", fail)
        client.send("GET", ITEMS)
        await answered(house, client)
        assert (await client.answer())[0] == 500
        assert not await reader.read()
    (error,) = house.log.errors
    assert "RuntimeError: broken" in error


async def test_many_requests_of_one_read_are_answered_in_order_some_at_a_time(
    house: House, seen: Seen
) -> None:
    bind(house)
    async with house.raw() as (reader, writer):
        client = Client(reader, writer)
        client.send("GET", PAGE)
        await client.answer()
        client.send("GET", ITEMS)
        await answered(house, client)
        await client.answer()
        for number in range(30):
            client.send("GET", PAGE if number % 2 else ITEMS)
        for number in range(30):
            if not number % 2:
                await answered(house, client, body=b"%d" % number)
            _, _, body = await client.answer()
            assert body == (CONTENT.bytes if number % 2 else b"%d" % number)
    assert True in seen.direct


def test_what_the_server_adds_is_encoded_when_it_changes() -> None:
    routes: Any = DirectRoutes(None)  # type: ignore[arg-type] # not asked
    first = [(b"date", b"now")]
    assert routes.added(first) is routes.added(first)
    assert routes.added([*first, (b"a", b"b")]) == b"date: now\r\na: b\r\n"
