"""HTTP bindings of processes: dynamic, static, files of a `ui` folder."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.patience import PATIENCE

from guesthouse.core.config import ConnectionLimits
from guesthouse.core.messages import IncomingHttpRequest, LazyLoadBlob, Pairs
from guesthouse.http_server.routing import bindings
from guesthouse.link.calls import UnbindHttpPath

from .conftest import CHAT, NODE, OTHER, House, Start, http_path
from .direct import BOTH_WAYS

pytestmark = [pytest.mark.usefixtures("directly"), BOTH_WAYS]


@pytest.fixture
def limits() -> ConnectionLimits:
    return ConnectionLimits(http_body_bytes=1000)


def bind(house: House, path: str, **options: Any) -> None:
    settings = {"authenticated": False, "local_only": False, "secure": False, "static": None, **options}
    assert house.server.bind_http_path(CHAT, http_path(path, **settings)) is None


@asynccontextmanager
async def asked(
    house: House, method: str, path: str, **options: Any
) -> AsyncIterator[tuple[int, IncomingHttpRequest, str | None, bytes, asyncio.Task[httpx.Response]]]:
    """Ask for a path of `chat`; gives what the process gets, and the client's pending answer."""
    async with house.http() as client, asyncio.TaskGroup() as tasks:
        pending = tasks.create_task(client.request(method, f"/{CHAT}{path}", **options))
        kind, http_id, request, mime, body = await house.chat.next()
        assert kind == "http"
        yield http_id, request, mime, body, pending


async def answered(
    house: House, status: int, headers: Pairs = (), mime: str | None = None, body: bytes = b""
) -> Any:
    async with asked(house, "GET", "/") as (http_id, _, _, _, pending):
        house.server.http_response(CHAT, http_id, status, headers, mime, body)
        return await pending


# Dynamic.


async def test_a_request_goes_to_the_process_and_its_answer_to_the_client(house: House) -> None:
    bind(house, "/items/:id")
    async with asked(house, "PUT", "/items/a%20b?q=1&r", content=b"body", headers={"X-Mine": "yes"}) as ask:
        http_id, request, mime, body, pending = ask
        assert (request.method, request.bound_path, body) == ("PUT", "/items/:id", b"body")
        assert request.url == f"{house.server.url}/{CHAT}/items/a%20b?q=1&r"
        assert request.url_params == (("id", "a b"),)
        assert request.query_params == (("q", "1"), ("r", ""))
        assert ("x-mine", "yes") in request.headers
        assert request.source_socket_addr is not None
        assert request.source_socket_addr.startswith("127.0.0.1:")
        assert mime is None
        headers = (("X-Ours", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
        house.server.http_response(CHAT, http_id, 201, headers, "text/x", b"made")
        answer = await pending
    assert (answer.status_code, answer.content) == (201, b"made")
    assert answer.headers["x-ours"] == "1"
    assert answer.headers["content-type"] == "text/x"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_a_process_neither_sees_nor_sets_the_nodes_own_cookies(house: House) -> None:
    bind(house, "/", authenticated=True)
    cookie = house.cookie["Cookie"]
    newer = cookie.replace("kinode", "hyperware")
    async with asked(house, "GET", "/", headers={"Cookie": f"a=1; {cookie}; b=2; {newer}"}) as ask:
        http_id, request, _, _, pending = ask
        assert dict(request.headers)["cookie"] == "a=1; b=2"
        mine = (
            ("Set-Cookie", f"kinode-auth_{NODE}=evil"),
            ("set-cookie", " Kinode-Auth_x=y"),
            ("Set-Cookie", f"hyperware-auth_{NODE}=evil"),
            ("Set-Cookie", "c=3"),
        )
        house.server.http_response(CHAT, http_id, 200, mine, None, b"")
        assert (await pending).headers.get_list("set-cookie") == ["c=3"]
    async with asked(house, "GET", "/", headers={"Cookie": cookie}) as ask:
        http_id, request, _, _, pending = ask
        assert "cookie" not in dict(request.headers)
        house.server.http_response(CHAT, http_id, 200, (), None, b"")


async def test_headers_that_are_not_the_guests_to_set_are_left_out(house: House) -> None:
    bind(house, "/")
    answer = await answered(
        house,
        200,
        (
            ("Content-Length", "999"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
            ("Service-Worker-Allowed", "/"),
            ("Clear-Site-Data", '"*"'),
            ("X-Kept", "é"),
        ),
        body=b"12345",
    )
    assert answer.content == b"12345"
    assert answer.headers["content-length"] == "5"
    assert not {"service-worker-allowed", "clear-site-data", "transfer-encoding"} & set(answer.headers)
    assert answer.headers["x-kept"] == "é"


REFUSED = (
    # A reverse proxy would answer with another page, or a file.
    *(
        "X-Accel-Redirect",
        "x-accel-buffering",
        "X-ACCEL-Anything",
        "X-Sendfile",
        "X-Sendfile2",
        "X-Sendfile-Type",
    ),
    *("X-Lighttpd-Send-File", "X-LIGHTTPD-send-tempfile", "X-LiteSpeed-Location", "X-Reproxy-URL"),
    # They act beyond the response: on the origin, which may be shared, or on what is sent to it later.
    *("Set-Login", "Sec-Session-Registration", "Sec-Session-Challenge", "Secure-Session-Registration"),
    *("Use-As-Dictionary", "Accept-CH", "Critical-CH", "Shared-Storage-Write", "Origin-Agent-Cluster"),
    *("NEL", "Report-To", "Reporting-Endpoints", "Alt-Svc", "Strict-Transport-Security", "Public-Key-Pins"),
    *("Attribution-Reporting-Register-Source", "Observe-Browsing-Topics"),
)


async def test_headers_that_act_beyond_the_response_are_left_out(house: House) -> None:
    bind(house, "/")
    pairs = (*((name, "/private") for name in REFUSED), ("SourceMap", "/map"), ("X-Mine", "kept"))
    answer = await answered(house, 200, pairs, body=b"mine")
    assert not {name.lower() for name in REFUSED} & set(answer.headers)
    assert (answer.headers["sourcemap"], answer.headers["x-mine"], answer.content) == (
        "/map",
        "kept",
        b"mine",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "headers", "mime"),
    [
        (99, (), None),
        (101, (), None),
        (199, (), None),
        (600, (), None),
        (-1, (), None),
        (200, (("X-A", "b\r\nSet-Cookie: c=d"),), None),
        (200, (("X A", "b"),), None),
        (200, (("", "b"),), None),
        (200, (("X-A", "snow \u2603"),), None),
        (200, (("X-A", "x" * 8193),), None),
        (200, (("X-A", "x"),) * 129, None),
        (200, (), "text/html\r\nX: y"),
    ],
)
async def test_an_answer_that_http_does_not_allow_becomes_500(
    house: House, status: int, headers: Pairs, mime: str | None
) -> None:
    bind(house, "/")
    answer = await answered(house, status, headers, mime, b"secret")
    assert (answer.status_code, answer.text) == (500, "the process gave an answer that HTTP does not allow\n")


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 204, 205, 304, 404, 599])
async def test_every_final_status_can_be_answered_and_the_connection_goes_on(
    house: House, status: int
) -> None:
    bind(house, "/")
    async with house.http() as client:
        for _ in range(2):
            async with asyncio.TaskGroup() as tasks:
                pending = tasks.create_task(client.get(f"/{CHAT}/"))
                http_id = (await house.chat.next())[1]
                house.server.http_response(CHAT, http_id, status, (), None, b"body")
            answer = pending.result()
            assert answer.status_code == status
            assert answer.content == (b"" if status in (204, 205, 304) else b"body")


async def test_head_goes_to_the_process_and_gets_no_body(house: House) -> None:
    bind(house, "/")
    async with asked(house, "HEAD", "/") as (http_id, request, _, _, pending):
        assert request.method == "HEAD"
        house.server.http_response(CHAT, http_id, 200, (), "text/plain", b"12345")
        answer = await pending
    assert (answer.content, answer.headers["content-length"]) == (b"", "5")


async def test_an_unanswered_request_gets_408_and_a_late_answer_is_logged(start: Start) -> None:
    house: House = await start(ConnectionLimits(http_response_seconds=0.05))
    bind(house, "/")
    async with asked(house, "GET", "/") as (http_id, _, _, _, pending):
        answer = await pending
        assert (answer.status_code, answer.text) == (408, "the process did not answer within the deadline\n")
        house.server.http_response(CHAT, http_id, 200, (), None, b"late")
    assert house.log.mentions("answered no open HTTP request")


async def test_only_its_own_process_can_answer_a_request_and_only_once(house: House) -> None:
    bind(house, "/")
    async with asked(house, "GET", "/") as (http_id, _, _, _, pending):
        house.server.http_response(OTHER, http_id, 200, (), None, b"evil")
        house.server.http_response(CHAT, http_id + 1, 200, (), None, b"wrong")
        house.server.http_response(CHAT, http_id, 200, (), None, b"good")
        house.server.http_response(CHAT, http_id, 200, (), None, b"again")
        assert (await pending).content == b"good"
    assert house.log.mentions(f"{OTHER}: answered no open HTTP request")
    assert house.log.mentions(f"{CHAT}: answered no open HTTP request")


async def test_a_process_that_ends_answers_503_at_once(house: House) -> None:
    bind(house, "/")
    async with asked(house, "GET", "/") as (_, _, _, _, pending):
        house.server.process_gone(CHAT, "trap")
        assert (await pending).status_code == 503
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/")).status_code == 404, "its bindings are gone"


async def test_a_run_that_ends_answers_503_at_once_for_what_it_took_and_the_rest_waits(house: House) -> None:
    bind(house, "/")
    first, second = asked(house, "GET", "/"), asked(house, "GET", "/")
    async with first as (_, _, _, _, taken), second as (kept, _, _, _, waiting):
        house.server.run_ended(CHAT, {kept})
        ended = await taken
        assert (ended.status_code, ended.text) == (503, "the process ended before it answered\n")
        house.server.http_response(CHAT, kept, 200, (), None, b"of the next run")
        assert (await waiting).text == "of the next run"


async def test_a_full_mailbox_answers_503_and_when_to_try_again(house: House) -> None:
    bind(house, "/")
    house.chat.takes_http = False
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.slow
@pytest.mark.parametrize("size", [999, 1000, 1001])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_size_of_a_request_body_is_limited(house: House, size: int, chunked: bool) -> None:
    bind(house, "/")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // 3):
            yield b"xxx"
        yield b"x" * (size % 3)

    content: Any = pieces() if chunked else b"x" * size
    if size <= 1000:
        async with asked(house, "POST", "/", content=content) as (http_id, _, _, body, _):
            assert body == b"x" * size
            house.server.http_response(CHAT, http_id, 200, (), None, b"")
        return
    async with house.http() as client:
        answer = await client.post(f"/{CHAT}/", content=content)
    assert (answer.status_code, answer.text) == (413, "the request body is too big\n")
    assert house.chat.quiet


async def test_the_bodies_of_all_requests_together_are_limited(house: House) -> None:
    bind(house, "/")
    async with house.http(timeout=PATIENCE) as client, asyncio.TaskGroup() as tasks:
        pending = [tasks.create_task(client.post(f"/{CHAT}/", content=b"x" * 1000)) for _ in range(16)]
        ids = [(await house.chat.next())[1] for _ in pending]
        one_more = await client.post(f"/{CHAT}/", content=b"x")
        assert one_more.status_code == 503
        for http_id in ids:
            house.server.http_response(CHAT, http_id, 200, (), None, b"")
    async with asked(house, "POST", "/", content=b"x" * 1000) as (http_id, _, _, _, _):
        house.server.http_response(CHAT, http_id, 200, (), None, b"")


async def test_local_only_means_this_machine_and_no_proxy_and_no_rebound_name(house: House) -> None:
    bind(house, "/", local_only=True, static=LazyLoadBlob("text/plain", b"local"))
    refused: list[dict[str, str]] = [
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 x"},
    ]
    rebound = ("evil.example", f"evil.example:{house.server.port}", "127.0.0.1.evil.example")
    async with house.http(headers=house.local) as client:
        for host in ("127.0.0.1", "localhost", f"LOCALHOST:{house.server.port}", "[::1]:80"):
            assert (await client.get(f"/{CHAT}/", headers={"Host": host})).text == "local"
        for headers in refused:
            assert (await client.get(f"/{CHAT}/", headers=headers)).status_code == 403, headers
        for host in rebound:
            assert (await client.get(f"/{CHAT}/", headers={"Host": host})).status_code == 421, host


async def test_an_authenticated_binding_needs_the_cookie_and_a_change_an_own_page(house: House) -> None:
    bind(house, "/", authenticated=True, static=LazyLoadBlob(None, b"x"))
    origin = {"Origin": "http://evil.example"}
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/")).status_code == 401
        page = await client.get(f"/{CHAT}/?a=b", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, f"/login?redirect=/{CHAT}/%3Fa%3Db")
        assert (await client.get(f"/{CHAT}/", headers=house.cookie)).status_code == 200
        assert (await client.post(f"/{CHAT}/", headers={**house.cookie, **origin})).status_code == 403
        assert (await client.post(f"/{CHAT}/", headers=house.cookie)).status_code == 405


async def test_a_process_whose_mailbox_is_never_asked_gets_nothing_of_a_refused_request(house: House) -> None:
    bind(house, "/", authenticated=True)
    async with house.http() as client:
        await client.post(f"/{CHAT}/", content=b"x")
    assert house.chat.quiet


# Static.


async def test_static_content_is_served_without_asking_and_with_its_tag(house: House) -> None:
    bind(house, "/page", static=LazyLoadBlob("text/html", b"<p>hi"))
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/page")
        assert (answer.content, answer.headers["content-type"]) == (b"<p>hi", "text/html")
        tag = answer.headers["etag"]
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            again = await client.get(f"/{CHAT}/page", headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (await client.get(f"/{CHAT}/page", headers={"If-None-Match": '"x"'})).status_code == 200
        head = await client.head(f"/{CHAT}/page")
        assert (head.content, head.headers["content-length"]) == (b"", "5")
        house.server.unbind_http_path(CHAT, UnbindHttpPath("/page"))
        assert (await client.get(f"/{CHAT}/page")).status_code == 404
    assert house.chat.quiet


@pytest.mark.parametrize("mime", [None, "text/html\r\nX: y", "\u2603"])
async def test_static_content_without_a_usable_type_is_never_a_page(house: House, mime: str | None) -> None:
    bind(house, "/page", static=LazyLoadBlob(mime, b"<script>"))
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/page")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_content_is_hashed_when_it_is_first_asked_for_and_not_when_it_is_bound(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is large not in the thread that serves everybody; what is beyond the quota never."""
    hashed: list[tuple[int, bool]] = []

    def sha256(content: bytes) -> Any:
        hashed.append((len(content), threading.current_thread() is threading.main_thread()))
        return hashlib.sha256(content)

    monkeypatch.setattr(bindings, "hashlib", SimpleNamespace(sha256=sha256))
    rules: dict[str, Any] = {"authenticated": False, "local_only": False, "secure": False}
    monkeypatch.setattr(bindings, "_HASHED_INLINE", 100)
    over = LazyLoadBlob(None, bytes(1001))
    assert house.server.bind_http_path(CHAT, http_path("/over", static=over, **rules)) == "too-many"
    bind(house, "/page", static=LazyLoadBlob(None, b"page"))
    bind(house, "/large", static=LazyLoadBlob(None, bytes(101)))
    assert hashed == []
    async with house.http() as client:
        for path in ("/large", "/page", "/large"):
            assert (await client.get(f"/{CHAT}{path}")).headers["etag"]
    assert hashed == [(101, False), (4, True)]


async def test_the_static_content_of_a_process_is_limited_in_all(house: House) -> None:
    def bind_static(path: str, size: int) -> str | None:
        static = LazyLoadBlob(None, b"x" * size)
        return house.server.bind_http_path(
            CHAT, http_path(path, authenticated=False, local_only=False, static=static)
        )

    assert bind_static("/a", 600) is None
    assert bind_static("/b", 401) == "too-many"
    assert bind_static("/b", 400) is None
    assert bind_static("/a", 601) == "too-many"
    assert bind_static("/a", 600) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "//{chat}/page",
        "/{chat}//page",
        "/{other}/../{chat}/page",
        "/{other}/%2e%2e/{chat}/page",
        "/{other}/%2E%2e%2f{chat}/page",
        "/{other}/..%5c{chat}/page",
        "/{chat}%2fpage",
        "/%2f{chat}/page",
        "/x/../{chat}/page",
        "/{other}/page",
    ],
)
async def test_no_other_way_of_writing_a_path_reaches_a_binding(house: House, path: str) -> None:
    bind(house, "/page", static=LazyLoadBlob(None, b"found"))
    target = path.format(chat=CHAT, other=OTHER)
    async with house.raw() as (reader, writer):
        writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 404 "), target


# Files of a `ui` folder.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ui = tmp_path / "ui"
    (ui / "sub").mkdir(parents=True)
    (ui / "empty").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (ui / "index.html").write_text("<h1>chat</h1>")
    (ui / "app.js").write_text("1")
    (ui / "sub" / "index.html").write_text("sub")
    (ui / "a b.txt").write_text("spaced")
    (ui / "link.txt").symlink_to(tmp_path / "secret.txt")
    (ui / "out").symlink_to(tmp_path)
    return ui


async def test_the_files_of_a_package_are_served_to_people_who_are_logged_in(
    house: House, folder: Path
) -> None:
    house.server.serve_ui(CHAT, folder)
    async with house.http(headers=house.cookie) as client:
        index = await client.get(f"/{CHAT}/")
        assert (index.text, index.headers["content-type"]) == ("<h1>chat</h1>", "text/html; charset=utf-8")
        assert (await client.get(f"/{CHAT}/index.html")).text == "<h1>chat</h1>"
        script = await client.get(f"/{CHAT}/app.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert script.headers["x-content-type-options"] == "nosniff"
        assert (await client.get(f"/{CHAT}/a%20b.txt")).text == "spaced"
        assert (await client.get(f"/{CHAT}/sub/")).text == "sub"
        for bare in (f"/{CHAT}", f"/{CHAT}/sub"):
            answer = await client.get(bare)
            assert (answer.status_code, answer.headers["location"]) == (307, f"{bare}/")
        again = await client.get(f"/{CHAT}/", headers={"If-None-Match": index.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = await client.head(f"/{CHAT}/")
        assert (head.content, head.headers["content-length"]) == (b"", "13")
        part = await client.get(f"/{CHAT}/", headers={"Range": "bytes=1-3"})
        assert (part.status_code, part.text) == (206, "h1>")
        assert (await client.post(f"/{CHAT}/")).status_code == 405
        house.server.unserve_ui(CHAT)
        assert (await client.get(f"/{CHAT}/")).status_code == 404


async def test_strangers_are_sent_to_the_login_page(house: House, folder: Path) -> None:
    house.server.serve_ui(CHAT, folder)
    async with house.http() as client:
        page = await client.get(f"/{CHAT}/", headers={"Accept": "text/html,*/*"})
        assert (page.status_code, page.headers["location"]) == (303, f"/login?redirect=/{CHAT}/")
        assert (await client.get(f"/{CHAT}/app.js")).status_code == 401
        assert (await client.get(f"/{CHAT}/missing")).status_code == 401, "what exists is told to nobody"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "%2e%2e%2fsecret.txt",
        "..%5csecret.txt",
        "sub/../../secret.txt",
        "link.txt",
        "out/secret.txt",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "app.js/",
        "app.js/x",
        "empty/",
        "missing",
        "app.js%00.html",
        "x" * 1500,
    ],
)
async def test_no_path_reaches_a_file_outside_the_folder(house: House, folder: Path, path: str) -> None:
    house.server.serve_ui(CHAT, folder)
    async with house.raw() as (reader, writer):
        cookie = house.cookie["Cookie"]
        request = f"GET /{CHAT}/{path} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
    assert answer.startswith(b"HTTP/1.1 404 "), answer


async def test_a_bound_path_wins_over_a_file(house: House, folder: Path) -> None:
    house.server.serve_ui(CHAT, folder)
    bind(house, "/app.js", static=LazyLoadBlob("text/javascript", b"bound"))
    async with house.http(headers=house.cookie) as client:
        assert (await client.get(f"/{CHAT}/app.js")).text == "bound"


async def test_a_folder_that_is_gone_answers_404(house: House, tmp_path: Path) -> None:
    house.server.serve_ui(CHAT, tmp_path / "gone")
    async with house.http(headers=house.cookie) as client:
        assert (await client.get(f"/{CHAT}/")).status_code == 404
