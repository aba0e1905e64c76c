"""HTTP in its details: time-outs, clients that leave, ranges, conditions, several cookies, files bound in one call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.patience import PATIENCE
from tests.tiers import thorough_after

from guesthouse.core.config import ConnectionLimits
from guesthouse.core.messages import MOST_RESPONSE_HEADERS, LazyLoadBlob
from guesthouse.http_server.routing.paths import MAX_PATH
from guesthouse.link.calls import UnbindHttpPath

from .conftest import CHAT, OTHER, House, Start, until
from .direct import BOTH_WAYS
from .test_http import answered, asked, bind
from .test_json_form import ask

pytestmark = [pytest.mark.usefixtures("directly"), BOTH_WAYS]


CONTENT = bytes(range(100))


@pytest.fixture
def limits() -> ConnectionLimits:
    """Whoever waits for these is not waited for by any test."""
    return ConnectionLimits(http_response_seconds=10 * PATIENCE, http_longest_response_seconds=20 * PATIENCE)


async def status_after(house: House, **headers: str) -> tuple[int, float]:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asked(house, "GET", "/", headers=headers) as (_, _, _, _, pending):
        answer = await pending
    return answer.status_code, loop.time() - begin


async def test_a_request_can_say_how_long_it_waits(house: House) -> None:
    bind(house, "/")
    status, seconds = await status_after(house, **{"Guesthouse-Timeout": "0.2"})
    assert status == 408
    assert seconds > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", thorough_after(1, ["X-Hyperware-Http-Server-Timeout", "X-Kinode-Http-Server-Timeout"])
)
async def test_a_request_of_older_tools_can_say_how_long_it_waits(house: House, name: str) -> None:
    bind(house, "/")
    status, seconds = await status_after(house, **{name: "1"})
    assert status == 408
    assert seconds > 0.9
    for value in ("soon", "-1", "1.5", "٣", ""):
        async with asked(house, "GET", "/", headers=[(name, value.encode())]) as (http_id, _, _, _, pending):
            house.server.http_response(CHAT, http_id, 200, (), None, b"")
            assert (await pending).status_code == 200


async def test_a_binding_can_say_how_long_its_process_takes(house: House) -> None:
    bind(house, "/", response_seconds=0.2)
    status, seconds = await status_after(house)
    assert status == 408
    assert seconds > 0.1


async def test_nobody_waits_longer_than_the_node_says(start: Start) -> None:
    house = await start(ConnectionLimits(http_response_seconds=0.1, http_longest_response_seconds=0.3))
    bind(house, "/", response_seconds=1000)
    for headers in ({}, {"Guesthouse-Timeout": "1000"}):
        status, seconds = await status_after(house, **headers)
        assert status == 408
        assert seconds > 0.2


@pytest.mark.parametrize("value", ["soon", "-1", "1e3", "", "nan"])
async def test_a_time_that_is_none_is_refused(house: House, value: str) -> None:
    bind(house, "/")
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/", headers={"Guesthouse-Timeout": value})).status_code == 400
    assert house.chat.quiet


async def test_a_client_that_leaves_ends_its_exchange(house: House) -> None:
    bind(house, "/")
    async with house.raw() as (_, writer):
        writer.write(f"GET /{CHAT}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        _, http_id, *_ = await house.chat.next()
        assert len(house.server._exchanges) == 1
    await until(lambda: len(house.server._exchanges) == 0)
    house.server.http_response(CHAT, http_id, 200, (), None, b"")
    assert house.log.mentions("answered no open HTTP request")


async def test_an_answer_may_set_several_cookies(house: House) -> None:
    bind(house, "/")
    answer = await answered(house, 200, (("Set-Cookie", "a=1"), ("set-cookie", "b=2; Path=/")))
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2; Path=/"]


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 500)])
async def test_the_headers_of_an_answer_are_so_many(house: House, over: int, status: int) -> None:
    bind(house, "/")
    answer = await answered(house, 200, (("x-a", "1"),) * (MOST_RESPONSE_HEADERS + over))
    assert answer.status_code == status


@pytest.mark.parametrize(("over", "status"), [(-1, 404), (0, 404), (1, 414)])
async def test_a_path_is_so_long(house: House, over: int, status: int) -> None:
    async with house.http() as client:
        path = f"/{CHAT}/".ljust(MAX_PATH + over, "x")
        assert (await client.get(path)).status_code == status


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=10-19", 206, slice(10, 20)),
        ("bytes=90-", 206, slice(90, 100)),
        ("bytes=90-500", 206, slice(90, 100)),
        ("bytes=-7", 206, slice(93, 100)),
        ("bytes=-500", 206, slice(0, 100)),
        ("bytes=99-99", 206, slice(99, 100)),
        ("bytes=100-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=5-4", 200, slice(0, 100)),
        ("bytes=-", 200, slice(0, 100)),
        ("bytes=0-1,5-6", 200, slice(0, 100)),
        ("lines=0-1", 200, slice(0, 100)),
        ("bytes=x-y", 200, slice(0, 100)),
        ("bytes=1 -2", 200, slice(0, 100)),
        ("bytes", 200, slice(0, 100)),
        ("Bytes=0-1", 206, slice(0, 2)),
        ("bytes=,0-1 ,", 206, slice(0, 2)),
        ("bytes=,", 200, slice(0, 100)),
        (f"bytes=90-{'9' * 5000}", 206, slice(90, 100)),
        (f"bytes={'9' * 5000}-", 416, None),
        (f"bytes=-{'9' * 5000}", 206, slice(0, 100)),
        (f"bytes={'0' * 5000}7-8", 206, slice(7, 9)),
    ],
)
@pytest.mark.parametrize("path", ["/file", "/css/a.css"])
async def test_a_part_of_static_content_and_of_a_file(
    house: House, tmp_path: Path, path: str, given: str, status: int, part: slice | None
) -> None:
    bind(house, "/file", static=LazyLoadBlob("text/css; charset=utf-8", CONTENT))
    house.server.serve_ui(CHAT, ui(tmp_path))
    async with house.http(headers=house.cookie) as client:
        answer = await client.get(f"/{CHAT}{path}", headers={"Range": given})
        head = await client.head(f"/{CHAT}{path}", headers={"Range": given})
    assert answer.status_code == status
    assert answer.content == (b"" if part is None else CONTENT[part])
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["etag"] == head.headers["etag"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers.get("content-type") == (None if status == 416 else "text/css; charset=utf-8")
    shown = answer.headers.get("content-range")
    if status == 206:
        assert part is not None
        assert shown == f"bytes {part.start}-{part.stop - 1}/100"
    else:
        assert shown == ("bytes */100" if status == 416 else None)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "100")


async def test_a_part_is_given_only_of_the_content_that_the_client_has(house: House) -> None:
    bind(house, "/file", static=LazyLoadBlob("x/y", CONTENT))
    async with house.http() as client:
        etag = (await client.get(f"/{CHAT}/file")).headers["etag"]
        for condition, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200)):
            headers = {"Range": "bytes=0-1", "If-Range": condition}
            assert (await client.get(f"/{CHAT}/file", headers=headers)).status_code == status
        for part in ("bytes=0-1", "bytes=100-"):
            known = {"Range": part, "If-None-Match": etag}
            assert (await client.get(f"/{CHAT}/file", headers=known)).status_code == 304


async def test_a_part_of_a_file_is_given_for_its_tag_or_its_very_time(house: House, tmp_path: Path) -> None:
    house.server.serve_ui(CHAT, ui(tmp_path))
    async with house.http(headers=house.cookie) as client:
        path = f"/{CHAT}/css/a.css"
        whole = (await client.get(path)).headers
        for condition, status in (
            (whole["etag"], 206),
            (whole["last-modified"], 206),
            ("Thu, 01 Jan 2099 00:00:00 GMT", 200),
            (f"W/{whole['etag']}", 200),
        ):
            headers = {"Range": "bytes=0-1", "If-Range": condition}
            assert (await client.get(path, headers=headers)).status_code == status, condition
        (tmp_path / "ui/empty").write_bytes(b"")
        for given, status in (("bytes=0-", 416), ("bytes=-1", 200)):
            assert (await client.get(f"/{CHAT}/empty", headers={"Range": given})).status_code == status


def ui(tmp_path: Path) -> Path:
    folder = tmp_path / "ui"
    (folder / "css").mkdir(parents=True)
    (folder / "index.html").write_text("index")
    (folder / "css" / "a.css").write_bytes(CONTENT)
    return folder


async def test_files_have_ranges_and_conditions_too(house: House, tmp_path: Path) -> None:
    house.server.serve_ui(CHAT, ui(tmp_path))
    async with house.http(headers=house.cookie) as client:
        path = f"/{CHAT}/css/a.css"
        whole = await client.get(path)
        part = await client.get(path, headers={"Range": "bytes=1-2"})
        assert (part.status_code, part.content) == (206, CONTENT[1:3])
        assert (await client.get(path, headers={"Range": "bytes=100-"})).status_code == 416
        for header, value in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
            known = {header: whole.headers[value]}
            assert (await client.get(path, headers=known)).status_code == 304, header
        old = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
        assert (await client.get(path, headers=old)).status_code == 200
        assert (await client.head(path)).headers["content-length"] == "100"


async def test_one_call_serves_the_ui_folder_where_the_process_wants_it(house: House, tmp_path: Path) -> None:
    assert ask(house, {"ServeUi": {"path": "/app"}}) == {"Err": "NoUi"}
    house.server.serve_ui(CHAT, ui(tmp_path))
    assert ask(house, {"ServeUi": {"path": "/app", "authenticated": False}}) == {"Ok": None}
    assert ask(house, {"ServeUi": {"path": "/:x"}}) == {"Err": "BadPath"}
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/app/")).text == "index"
        assert (await client.get(f"/{CHAT}/app/css/a.css")).content == CONTENT
        assert (await client.get(f"/{CHAT}/app")).status_code == 307
        assert (await client.get(f"/{CHAT}/app/../css/a.css")).status_code in (401, 404)
        assert (await client.get(f"/{CHAT}/css/a.css")).status_code == 401
        assert ask(house, {"Unbind": {"path": "/app"}}) == {"Ok": None}
        assert (await client.get(f"/{CHAT}/app/")).status_code == 401


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 413)])
async def test_a_chunked_body_is_limited_while_it_comes(start: Start, over: int, status: int) -> None:
    house = await start(ConnectionLimits(http_body_bytes=1000))
    bind(house, "/")

    async def pieces() -> Any:
        for _ in range(100):
            yield b"x" * 10
        if over > 0:
            yield b"x"

    async with house.http() as client, asyncio.TaskGroup() as tasks:
        body = pieces() if over >= 0 else b"x" * 999
        pending = tasks.create_task(client.post(f"/{CHAT}/", content=body))
        if status == 200:
            _, http_id, _, _, got = await house.chat.next()
            assert len(got) == 1000 + min(over, 0)
            house.server.http_response(CHAT, http_id, 200, (), None, b"")
        answer: httpx.Response = await pending
    assert answer.status_code == status


# What nothing else takes.


async def test_a_path_that_nothing_else_takes_is_for_what_the_process_bound_at_its_root(house: House) -> None:
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/tables/7")).status_code == 404
    bind(house, "/")
    bind(house, "/tables/:id")
    async with asked(house, "POST", "/deep/route?q=1", content=b"x") as (http_id, request, _, body, pending):
        assert (request.bound_path, request.url_params, body) == ("/", (), b"x")
        assert request.url.endswith(f"/{CHAT}/deep/route?q=1")
        house.server.http_response(CHAT, http_id, 200, (), None, b"")
        assert (await pending).status_code == 200
    async with asked(house, "GET", "/tables/7") as (http_id, request, _, _, pending):
        assert request.bound_path == "/tables/:id"
        house.server.http_response(CHAT, http_id, 200, (), None, b"")
        assert (await pending).status_code == 200
    house.server.unbind_http_path(CHAT, UnbindHttpPath("/"))
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/deep/route")).status_code == 404
        assert (await client.get(f"/{OTHER}/deep/route")).status_code == 404


async def test_the_rules_of_the_root_hold_for_what_falls_back_to_it(house: House) -> None:
    page = LazyLoadBlob("text/html", b"<h1>one page</h1>")
    bind(house, "/", authenticated=True, static=page)
    async with house.http() as client:
        refused = await client.get(f"/{CHAT}/route")
        assert refused.status_code == 401
        known = await client.get(f"/{CHAT}/route", headers=house.cookie)
        assert (known.status_code, known.text) == (200, "<h1>one page</h1>")
        assert (await client.post(f"/{CHAT}/route", headers=house.cookie)).status_code == 405
    bind(house, "/", local_only=True, static=page)
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/route", headers={"Via": "1.1 proxy"})).status_code == 403


@pytest.fixture
def site(house: House, tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("the page")
    (tmp_path / "app.js").write_text("the script")
    house.server.serve_ui(CHAT, tmp_path)
    return tmp_path


async def test_files_come_before_the_root_and_strangers_do_not_learn_which_there_are(
    house: House, site: Path
) -> None:
    bind(house, "/", static=LazyLoadBlob("text/plain", b"the root"))
    async with house.http() as client:
        for path, stranger, known in (
            ("/app.js", "the root", "the script"),
            ("/none.js", "the root", "the root"),
            ("/", "the root", "the root"),
        ):
            assert (await client.get(f"/{CHAT}{path}")).text == stranger
            assert (await client.get(f"/{CHAT}{path}", headers=house.cookie)).text == known


@pytest.mark.usefixtures("site")
async def test_a_route_of_a_page_that_is_served_from_files_is_the_page_itself(house: House) -> None:
    browser = {**house.cookie, "Accept": "text/html,*/*", "Sec-Fetch-Mode": "cors"}
    async with house.http() as client:
        page = await client.get(f"/{CHAT}/tables/7", headers=browser)
        assert (page.status_code, page.text) == (200, "the page")
        assert (await client.get(f"/{CHAT}/none.js", headers=house.cookie)).status_code == 404
        assert (await client.post(f"/{CHAT}/tables/7", headers=browser)).status_code == 405
        stranger = await client.get(f"/{CHAT}/tables/7", headers={"Accept": "text/html"})
        assert stranger.headers["location"] == f"/login?redirect=/{CHAT}/tables/7"
