"""What is bound as secure: on the package's own sub-domain, for a login there, and for no other page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from guesthouse.core.address import ProcessId
from guesthouse.core.config import HttpSettings
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.http_server.auth.credentials import password_hash, set_password
from guesthouse.http_server.auth.tokens import Scope
from guesthouse.http_server.routing import subdomains
from guesthouse.http_server.routing.bindings import Bindings
from guesthouse.http_server.routing.subdomains import (
    MAX_LABEL,
    is_label,
    label_of,
    same_label,
    subdomain_of,
)
from guesthouse.link.calls import BindHttpPath, BindWsPath

from .conftest import CHAT, NODE, OTHER, House, Start, http_path

PASSWORD = "correct horse"
COOKIE = f"kinode-auth_{NODE}@{CHAT}"


def host(house: House, process: ProcessId = CHAT) -> str:
    return f"{subdomain_of(process)}.localhost:{house.server.port}"


@asynccontextmanager
async def on(house: House, name: str) -> AsyncIterator[httpx.AsyncClient]:
    async with house.http(headers={"Host": name}) as client:
        yield client


@asynccontextmanager
async def socket_on(house: House, name: str, path: str, **headers: str) -> AsyncIterator[None]:
    """A WebSocket to that host name, wherever it leads."""
    async with connect(
        f"ws://{name}{path}",
        host="127.0.0.1",
        port=house.server.port,
        additional_headers=headers,
        ping_interval=None,
        proxy=None,
    ):
        yield


def token(house: House, subdomain: ProcessId | None = CHAT) -> str:
    return house.server.issue_token(60, Scope(None if subdomain is None else str(subdomain)))


def bind(house: House) -> None:
    content = LazyLoadBlob("text/plain", b"secret")
    rules = {"authenticated": True, "local_only": False, "secure": True}
    assert house.server.bind_http_path(CHAT, http_path("/page", static=content, **rules)) is None
    assert house.server.bind_ws_path(CHAT, BindWsPath("/ws", authenticated=True, secure=True)) is None


@pytest.mark.parametrize(
    ("process", "label"),
    [("chat:chat:guesthouse.os", "chat-guesthouse-os"), ("x:My_App:a.b-c", "my-app-a-b-c")],
)
def test_the_subdomain_is_package_and_publisher(process: str, label: str) -> None:
    assert subdomain_of(ProcessId.parse(process)) == label


@pytest.mark.parametrize(
    "package_id",
    [f"{'a' * 62}:b", f"{'A-' * 60}x:b.os", "a:b_", "a:b-", "xn-:caf.os", "xn-:-", f"a{'_' * 100}:b"],
)
def test_a_name_that_is_no_label_makes_one_with_a_hash(package_id: str) -> None:
    label = label_of(package_id)
    assert is_label(label)
    assert re.fullmatch(r"[a-z0-9-]+-[0-9a-f]{10}", label)
    assert label != label_of(package_id + "2")


def test_a_label_stands_in_a_host_name_as_it_is() -> None:
    assert is_label("a" * MAX_LABEL)
    for text in ("a" * (MAX_LABEL + 1), "-a", "a-", "xn--a"):
        assert not is_label(text)


def test_packages_with_one_label_are_found() -> None:
    others = ("x:y", "a:b-c", "A-b:c")
    assert same_label(("x:y", "a-b:c"), others) == ("a-b:c", "a:b-c")
    assert same_label(("a:b-c",), ("a:b-c", "x:y", "a:b-c")) is None
    assert same_label(others, others) == ("a:b-c", "A-b:c")


def test_each_package_is_looked_at_once_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    def label(package_id: str) -> str:
        looked_at.append(package_id)
        return package_id

    monkeypatch.setattr(subdomains, "label_of", label)
    many = [f"p{number}:n.os" for number in range(5000)]
    assert same_label(many, many) is None
    assert len(looked_at) == 2 * len(many)


def test_two_packages_never_share_a_subdomain() -> None:
    bindings = Bindings(10, 100)
    first, second = ProcessId.parse("p:a-b:c"), ProcessId.parse("p:a:b-c")
    assert bindings.bind_ws(first, BindWsPath("/", authenticated=True, secure=True)) is None
    assert (
        bindings.bind_http(second, BindHttpPath("/", authenticated=True, local_only=False, secure=True))
        == "no-subdomain"
    )
    bindings.drop(first)
    assert bindings.bind_ws(second, BindWsPath("/", authenticated=True, secure=True)) == "no-subdomain"
    assert bindings.bind_ws(first, BindWsPath("/", authenticated=True, secure=True)) is None


async def test_a_secure_path_is_served_on_its_subdomain_to_a_login_there(house: House) -> None:
    bind(house)
    async with on(house, host(house)) as client:
        answer = await client.get(f"/{CHAT}/page", headers={"Cookie": f"{COOKIE}={token(house)}"})
    assert (answer.status_code, answer.text) == (200, "secret")


async def test_every_other_host_is_refused(house: House) -> None:
    bind(house)
    cookie = {"Cookie": f"{COOKIE}={token(house)}; kinode-auth_{NODE}={token(house, None)}"}
    for name in (f"127.0.0.1:{house.server.port}", host(house, OTHER), f"x-y.localhost:{house.server.port}"):
        async with on(house, name) as client:
            answer = await client.get(f"/{CHAT}/page", headers=cookie)
        assert answer.status_code == 403, name
        with pytest.raises(InvalidStatus) as refused:
            async with socket_on(house, name, f"/{CHAT}/ws", **cookie):
                pass
        assert refused.value.response.status_code == 403


async def test_the_login_of_the_node_or_of_another_subdomain_is_none_here(house: House) -> None:
    bind(house)
    for value in (
        f"kinode-auth_{NODE}={token(house, None)}",
        f"{COOKIE}={token(house, None)}",
        f"{COOKIE}={token(house, OTHER)}",
        f"kinode-auth_{NODE}@{OTHER}={token(house)}",
    ):
        async with on(house, host(house)) as client:
            answer = await client.get(f"/{CHAT}/page", headers={"Cookie": value})
        assert answer.status_code == 401, value


async def test_the_login_of_a_subdomain_opens_nothing_else(house: House) -> None:
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=True))
    cookie = f"kinode-auth_{NODE}={token(house)}"
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{house.ws_url}/{CHAT}/", additional_headers={"Cookie": cookie}, proxy=None):
            pass
    assert refused.value.response.status_code == 401


async def test_nothing_but_what_is_secure_is_served_on_a_subdomain_where_packages_share_an_origin(
    start: Start,
) -> None:
    house: House = await start(None, HttpSettings(origins="shared"))
    bind(house)
    page = LazyLoadBlob("text/html", b"<script>")
    rules = {"authenticated": False, "local_only": False, "secure": False}
    for process in (CHAT, OTHER):
        assert house.server.bind_http_path(process, http_path("/open", static=page, **rules)) is None
        assert house.server.bind_ws_path(process, BindWsPath("/", authenticated=False)) is None
    async with on(house, host(house)) as client:
        for path in (f"/{CHAT}/open", f"/{OTHER}/open", "/"):
            assert (await client.get(path)).status_code == 403, path
    for path in (f"/{OTHER}/", f"/{CHAT}/", "/"):
        with pytest.raises(InvalidStatus) as refused:
            async with socket_on(house, host(house), path):
                pass
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 200),
    ],
)
async def test_no_page_of_another_origin_can_use_the_cookie(
    house: House, headers: dict[str, str], status: int
) -> None:
    bind(house)
    headers = {name: value.replace("{port}", str(house.server.port)) for name, value in headers.items()}
    async with on(house, host(house)) as client:
        cookie = {"Cookie": f"{COOKIE}={token(house)}"}
        assert (await client.get(f"/{CHAT}/page", headers={**headers, **cookie})).status_code == status


async def test_a_channel_opens_from_the_subdomains_own_page_alone(house: House) -> None:
    bind(house)
    cookie = {"Cookie": f"{COOKIE}={token(house)}"}
    for origin in ("http://evil.example", house.server.url, f"http://{host(house, OTHER)}"):
        with pytest.raises(InvalidStatus) as refused:
            async with socket_on(house, host(house), f"/{CHAT}/ws", Origin=origin, **cookie):
                pass
        assert refused.value.response.status_code == 403
    own = f"http://{host(house)}"
    async with socket_on(house, host(house), f"/{CHAT}/ws", Origin=own, **cookie):
        assert (await house.chat.opened()).path == "/ws"


async def test_logging_in_on_a_subdomain_sets_its_cookie_for_no_script(house: House) -> None:
    bind(house)
    set_password(house.home, PASSWORD)
    async with on(house, host(house)) as client:
        answer = await client.post(
            "/login", json={"password_hash": password_hash(PASSWORD), "subdomain": str(CHAT)}
        )
        assert answer.status_code == 200
        cookies = answer.headers.get_list("set-cookie")
        for cookie, name in zip(cookies, (COOKIE, COOKIE.replace("kinode", "hyperware")), strict=True):
            assert cookie.startswith(f"{name}=")
            assert "HttpOnly" in cookie
            page = await client.get(f"/{CHAT}/page", headers={"Cookie": cookie.partition(";")[0]})
            assert page.text == "secret"


async def test_no_token_of_the_node_becomes_a_login_on_a_subdomain(house: House) -> None:
    bind(house)
    async with on(house, host(house)) as client:
        answer = await client.post("/login", json={"token": token(house, None)})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert (await client.post("/login", json={"token": token(house)})).status_code == 200


async def test_a_login_for_a_subdomain_is_refused_elsewhere(house: House) -> None:
    set_password(house.home, PASSWORD)
    async with house.http() as client:
        answer = await client.post(
            "/login", json={"password_hash": password_hash(PASSWORD), "subdomain": str(CHAT)}
        )
    assert answer.status_code == 403


async def test_the_password_for_secure_paths_is_typed_on_the_nodes_host(house: House) -> None:
    """On the package's own host a page of it could read what is typed."""
    set_password(house.home, PASSWORD)
    bind(house)
    label, here = subdomain_of(CHAT), f"localhost:{house.server.port}"
    async with on(house, host(house)) as there, on(house, here) as node:
        sent = await there.get(f"/login?redirect=/{CHAT}/page%3Fx=1")
        assert (sent.status_code, "password" in sent.text) == (303, False)
        url = httpx.URL(sent.headers["location"])
        assert (url.host, dict(url.params)) == (
            "localhost",
            {"package": label, "redirect": f"/{CHAT}/page?x=1"},
        )
        form = await node.get(url.raw_path.decode())
        (action,) = re.findall(r'action="([^"]+)"', form.text)
        origin = {"Origin": f"http://{here}"}
        wrong = await node.post(action.replace("&amp;", "&"), data={"password": "x"}, headers=origin)
        assert (wrong.status_code, f"package={label}" in wrong.text) == (401, True)
        right = await node.post(action.replace("&amp;", "&"), data={"password": PASSWORD}, headers=origin)
        back = httpx.URL(right.headers["location"])
        assert (back.host, back.params["redirect"]) == (f"{label}.localhost", f"/{CHAT}/page?x=1")
        arrived = await there.get(back.raw_path.decode())
        set_here = [value.partition(";")[0] for value in arrived.headers.get_list("set-cookie")]
        (secure,) = (value for value in set_here if value.startswith(f"{COOKIE}="))
        page = await there.get(f"/{CHAT}/page", headers={"Cookie": secure})
        assert page.text == "secret"
        again = await there.get(back.raw_path.decode())
        assert "set-cookie" not in again.headers


async def test_a_token_given_for_secure_paths_has_to_be_for_them(house: House) -> None:
    bind(house)
    label, here = subdomain_of(CHAT), f"localhost:{house.server.port}"
    origin = {"Origin": f"http://{here}"}
    async with on(house, host(house)) as there, on(house, here) as node:
        for text in (token(house, None), token(house, OTHER)):
            answer = await node.post(f"/login?package={label}", data={"token": text}, headers=origin)
            assert (answer.status_code, answer.headers.get_list("set-cookie")) == (401, [])
        answer = await node.post(f"/login?package={label}", data={"token": token(house)}, headers=origin)
        assert answer.headers.get_list("set-cookie") == [], "it is no login of the node"
        back = httpx.URL(answer.headers["location"])
        arrived = await there.get(back.raw_path.decode())
        names = {value.partition("=")[0] for value in arrived.headers.get_list("set-cookie")}
        assert COOKIE in names


async def test_a_login_of_the_node_alone_opens_no_secure_path(house: House) -> None:
    """A ticket that comes of following a link is for what is not secure."""
    bind(house)
    content = LazyLoadBlob("text/html", b"<p>")
    rules = {"authenticated": True, "local_only": False, "secure": False}
    assert house.server.bind_http_path(CHAT, http_path("/open", static=content, **rules)) is None
    page = {"User-Agent": "Firefox/1", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with on(house, host(house)) as there, house.http() as node:
        answer = await node.get(f"/{CHAT}/open", headers={**page, **house.cookie})
        arrived = await there.get(httpx.URL(answer.headers["location"]).raw_path.decode())
    names = {value.partition("=")[0] for value in arrived.headers.get_list("set-cookie")}
    assert names
    assert COOKIE not in names


@pytest.mark.parametrize("path", ["/", "/login", "/our.js", "/none:none:none/page", "/none:none:none/our.js"])
async def test_the_host_of_a_package_that_is_not_there_yet_asks_to_come_again(
    house: House, path: str
) -> None:
    """As other hosts do while the node starts, rather than refuse for good."""
    name = f"none-none.localhost:{house.server.port}"
    house.server.starts(True)
    async with on(house, name) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5")
        assert answer.text == "the node is starting: try again\n"
        house.server.starts(False)
        assert (await client.get(path)).status_code in (403, 404)


@pytest.mark.parametrize("path", ["/", "/none:none:none/room"])
async def test_sockets_to_the_host_of_a_package_that_is_not_there_yet_are_to_come_again(
    house: House, path: str
) -> None:
    name = f"none-none.localhost:{house.server.port}"
    for starting, codes, retry_after in ((True, (503,), "5"), (False, (403, 404), None)):
        house.server.starts(starting)
        with pytest.raises(InvalidStatus) as refused:
            async with socket_on(house, name, path):
                pass
        assert refused.value.response.status_code in codes
        assert refused.value.response.headers.get("Retry-After") == retry_after
