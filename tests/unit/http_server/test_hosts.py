"""Which hosts the node answers for, and what it serves on each."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.datastructures import MutableHeaders
from tests.certificates import self_signed
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from guesthouse.core.config import HttpSettings, Settings
from guesthouse.core.messages import HttpResponse, LazyLoadBlob
from guesthouse.http_server.auth.tokens import is_own_cookie
from guesthouse.http_server.certificate import certified_names
from guesthouse.http_server.http.guest_response import response_from_guest
from guesthouse.http_server.http.page_policy import PagePolicy
from guesthouse.http_server.routing.hosts import Hosts, Site, own_hosts
from guesthouse.http_server.routing.subdomains import subdomain_of
from guesthouse.link.calls import BindWsPath

from .conftest import CHAT, NODE, OTHER, House, Start, http_path

LABEL = subdomain_of(CHAT)
PAGE = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0",
    "Accept": "text/html",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "none",
}


def own(house: House) -> dict[str, str]:
    return {"Host": f"{LABEL}.localhost:{house.server.port}"}


def bind(house: House, *, authenticated: bool = True) -> None:
    content = LazyLoadBlob("text/html", b"<p>page")
    rules = {"authenticated": authenticated, "local_only": False, "secure": False}
    assert house.server.bind_http_path(CHAT, http_path("/page", static=content, **rules)) is None


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("localhost", ""),
        ("LocalHost:80", ""),
        ("localhost:", ""),
        ("[::1]:", ""),
        ("chat-x.localhost:", "chat-x"),
        ("127.0.0.1:8080", ""),
        ("[::1]:8080", ""),
        ("192.0.2.7", ""),
        ("node.example.com", ""),
        ("chat-x.node.example.com:443", "chat-x"),
        ("chat-x.localhost", "chat-x"),
        ("evil.example", None),
        ("evil.localhost.example", None),
        ("a.b.localhost", None),
        ("chat.localhost", None),
        ("other.node.example.com", None),
        ("localhost.", None),
        ("127.0.0.1.evil.example", None),
        ("user@localhost", None),
        ("localhost/x", None),
        ("", None),
    ],
)
def test_a_host_stands_for_the_node_for_a_package_or_for_nothing(host: str, label: str | None) -> None:
    site = Hosts(("node.example.com",), "auto").site([host])
    assert (None if site is None else site.label) == label


def test_an_empty_port_is_none() -> None:
    for name in ("localhost", "127.0.0.1", "l-x.localhost"):
        assert Hosts((), "auto").site([f"{name}:"]) == Hosts((), "auto").site([name])


def test_packages_have_origins_of_their_own_where_that_is_sure_to_work() -> None:
    names, below = ("node.example", "wild.example"), ("wild.example",)
    for host, auto in (
        ("127.0.0.1:1", "l.localhost:1"),
        ("localhost", "l.localhost"),
        ("node.example", None),
    ):
        site = Hosts(names, "auto", below).site([host])
        assert site is not None
        assert site.of_package("l") == auto
    for origins, expected in (("auto", "l.wild.example"), ("shared", None), ("package", "l.wild.example")):
        site = Hosts(names, origins, below).site(["wild.example"])  # type: ignore[arg-type] # of a literal
        assert site is not None
        assert site.of_package("l") == expected


@pytest.mark.parametrize("host", ["192.0.2.7", "192.0.2.7:8080", "any.example"])
def test_who_wants_origins_for_packages_has_no_pages_where_there_can_be_none(host: str) -> None:
    for origins, pages in (("package", False), ("auto", True), ("shared", True)):
        site = Hosts(("*",), origins).site([host])  # type: ignore[arg-type] # of a literal
        assert site is not None
        policy = PagePolicy(site, "http", str(CHAT))
        assert (policy.is_page, policy.shared) == (pages, pages)
        assert site.of_package("l") is None


async def test_a_host_that_is_not_the_nodes_gets_421_whatever_is_asked(house: House) -> None:
    bind(house, authenticated=False)
    async with house.http(headers={"Host": f"evil.example:{house.server.port}"}) as client:
        for method, path in (
            ("GET", "/login"),
            ("POST", "/login"),
            ("POST", "/token"),
            ("GET", f"/{CHAT}/page"),
        ):
            assert (await client.request(method, path)).status_code == 421, path
    with pytest.raises(InvalidStatus) as refused:
        async with connect("ws://evil.example/", host="127.0.0.1", port=house.server.port, proxy=None):
            pass
    assert refused.value.response.status_code == 421


async def test_what_a_certificate_names_is_the_nodes(tmp_path: Path) -> None:
    cert, _ = self_signed(tmp_path, "a.example", "*.b.example", "*.a.example")
    hosts = own_hosts(Settings(http=HttpSettings(tls_cert=str(cert), host="h.example", hosts=("B.example",))))
    for host, own_label in (
        ("a.example", "x-y.a.example"),
        ("b.example", "x-y.b.example"),
        ("h.example", None),
        ("c.b.example", ""),
    ):
        site = hosts.site([host])
        assert (None if site is None else site.of_package("x-y")) == (own_label or None), host
        assert (site is None) == (own_label == "")
    cert.write_text("none")
    assert certified_names(str(cert)).names == certified_names(str(tmp_path / "none")).names == frozenset()


async def test_a_named_host_is_the_nodes(start: Start) -> None:
    house: House = await start(None, HttpSettings(hosts=("node.example.com",)))
    async with house.http(headers={"Host": "node.example.com"}) as client:
        assert (await client.get("/login")).status_code == 200


async def test_the_host_of_a_package_that_is_not_there_serves_nothing(house: House) -> None:
    bind(house, authenticated=False)
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/page", headers=own(house))).text == "<p>page"
        house.router.known.pop(CHAT)
        for path in ("/", "/login", "/our.js", "/logout"):
            assert (await client.get(path, headers=own(house))).status_code == 403, path
        for path in (f"/{CHAT}/page", f"/{OTHER}/"):
            assert (await client.get(path, headers=own(house))).status_code in (403, 404), path


async def test_the_host_of_a_stopped_package_serves_no_other_packages_page(house: House) -> None:
    content = LazyLoadBlob("text/html", b"<script>")
    rules = {"authenticated": False, "local_only": False, "secure": False}
    assert house.server.bind_http_path(OTHER, http_path("/page", static=content, **rules)) is None
    house.router.known.pop(CHAT)
    async with house.http(headers=own(house)) as client:
        assert (await client.get(f"/{OTHER}/page")).status_code == 403


async def test_a_login_comes_to_a_packages_own_origin_by_a_ticket_that_works_once(house: House) -> None:
    bind(house)
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/page", headers={**PAGE, **house.cookie})
        assert answer.status_code == 303
        url = httpx.URL(answer.headers["location"])
        assert url.host == f"{LABEL}.localhost"
        assert "no-store" in answer.headers["cache-control"]
        there = await client.get(url.raw_path.decode(), headers=own(house))
        assert f"url=/{CHAT}/page" in there.text
        session = there.headers.get_list("set-cookie")[0]
        assert session.startswith(f"kinode-auth_{NODE}@{LABEL}=")
        assert "HttpOnly" in session
        again = await client.get(url.raw_path.decode(), headers=own(house))
        assert "set-cookie" not in again.headers
        assert again.status_code == 401
        assert "Logged in" not in again.text
        assert f"url=/{CHAT}/page" in again.text, "who is logged in there already goes on"
        cookie = {"Cookie": session.partition(";")[0]}
        page = await client.get(f"/{CHAT}/page", headers={**PAGE, **own(house), **cookie})
        assert page.text == "<p>page"
        readable = page.headers.get_list("set-cookie")[0]
        assert readable.startswith(f"kinode-auth_{NODE}=")
        assert f"Path=/{CHAT};" in readable
        assert "HttpOnly" not in readable
        token = readable.partition("=")[2].partition(";")[0]
        assert house.server._context.tokens.verify(token, house.server._context.now()).process == str(CHAT)
        elsewhere = await client.get("/", headers={"Cookie": session.partition(";")[0]})
        assert elsewhere.headers["location"] == "/login", "the session is good on that host alone"


async def test_a_ticket_is_for_one_package(house: House) -> None:
    bind(house)
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/page", headers={**PAGE, **house.cookie})
        target = httpx.URL(answer.headers["location"]).raw_path.decode()
        host = {"Host": f"{subdomain_of(OTHER)}.localhost:{house.server.port}"}
        assert "set-cookie" not in (await client.get(target, headers=host)).headers


async def test_without_a_login_there_a_person_is_sent_to_the_nodes_host(house: House) -> None:
    bind(house)
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/page", headers={**PAGE, **own(house)})
        assert answer.headers["location"] == f"http://localhost:{house.server.port}/{CHAT}/page"
        answer = await client.get(f"/{CHAT}/page", headers=PAGE)
        assert answer.headers["location"] == f"/login?redirect=/{CHAT}/page"


async def test_what_the_nodes_own_host_gives_programs_is_no_page(house: House) -> None:
    bind(house)
    async with house.http(headers=house.cookie) as client:
        answer = await client.get(f"/{CHAT}/page")
    assert answer.text == "<p>page"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
async def test_no_page_elsewhere_has_a_browser_ask_with_the_login(house: House, site: str) -> None:
    bind(house)
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/page", headers={**headers, **house.cookie})
    assert answer.status_code == 403


async def test_a_page_that_shares_its_origin_has_no_service_worker(start: Start) -> None:
    house: House = await start(None, HttpSettings(origins="shared"))
    bind(house)
    async with house.http(
        headers={**house.cookie, "Service-Worker": "script", "Referer": house.server.url}
    ) as client:
        assert (await client.get(f"/{CHAT}/page")).status_code == 403


SHARED = Site("localhost:8080", "", "localhost:8080", None)
OWN = Site("l.localhost:8080", "l", "localhost:8080", "localhost:8080")


@pytest.mark.parametrize(
    ("site", "registers", "connects"),
    [
        (OWN, True, "'self' ws://l.localhost:8080 ws://localhost:8080 data: blob:"),
        (OWN, False, "'self' ws://l.localhost:8080 data: blob:"),
        (
            SHARED,
            True,
            f"http://localhost:8080/{CHAT}/ http://localhost:8080/{CHAT} ws://localhost:8080/ data: blob:",
        ),
        (
            SHARED,
            False,
            f"http://localhost:8080/{CHAT}/ http://localhost:8080/{CHAT} ws://localhost:8080/{CHAT}/ data: blob:",
        ),
    ],
)
def test_a_page_opens_sockets_of_its_own_and_of_the_register_form(
    site: Site, registers: bool, connects: str
) -> None:
    policy = PagePolicy(site, "http", str(CHAT), registers=registers).content_security_policy()
    assert f"; connect-src {connects};" in policy


async def test_a_page_of_another_package_opens_no_socket_not_even_one_for_everybody(house: House) -> None:
    assert house.server.bind_ws_path(CHAT, BindWsPath("/ws", authenticated=False)) is None
    port = house.server.port
    for label, host, opens in (
        (LABEL, "localhost", True),
        (LABEL, f"{LABEL}.localhost", True),
        (subdomain_of(OTHER), "localhost", False),
        ("gone-os", "localhost", False),
    ):
        socket = connect(
            f"ws://{host}:{port}/{CHAT}/ws",
            host="127.0.0.1",
            proxy=None,
            origin=Origin(f"http://{label}.localhost:{port}"),
        )
        if opens:
            async with socket:
                pass
        else:
            with pytest.raises(InvalidStatus) as refused:
                await socket
            assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("location", "away"),
    [
        (f"/{OTHER}/x", True),
        (f"../../{OTHER}/x", True),
        ("/login", True),
        (f"/{CHAT}/../{OTHER}/x", True),
        (f"\\{OTHER}/x", True),
        (f"//localhost:8080/{OTHER}", True),
        (f"http://LOCALHOST:8080/{OTHER}", True),
        (f"/{CHAT}/y", False),
        ("y", False),
        ("https://example.com/", False),
    ],
)
def test_a_fetch_is_not_redirected_off_a_processs_paths_on_a_shared_origin(location: str, away: bool) -> None:
    assert PagePolicy(SHARED, "http", str(CHAT)).redirects_away(f"/{CHAT}/a", location) == away
    assert not PagePolicy(OWN, "http", str(CHAT)).redirects_away(f"/{CHAT}/a", location)


@pytest.mark.parametrize(
    "text",
    ["kinode-auth_n=x", "=kinode-auth_n=x", " = hyperware-auth_n", "__Host-kinode-auth_n=x", "KINODE-auth_"],
)
def test_a_cookie_is_the_nodes_however_it_is_written(text: str) -> None:
    assert is_own_cookie(text)
    assert not is_own_cookie(f"a{text}")


@pytest.mark.parametrize(("site", "kept"), [(SHARED, f"a=1; Path=/{CHAT}"), (OWN, "a=1; Path=/")])
def test_what_a_process_sets_stays_its_own(site: Site, kept: str) -> None:
    headers = (
        ("Set-Cookie", "a=1; Domain=example.com; Path=/"),
        ("Set-Cookie", f"=kinode-auth_{NODE}=x"),
        (
            "Content-Security-Policy",
            "script-src 'none';\tReport-URI //evil/;report-to x, REPORT-TO y; img-src a",
        ),
        ("Content-Security-Policy-Report-Only", "default-src 'none'; report-uri https://evil.example"),
        ("NEL", "{}"),
        ("Report-To", "{}"),
        ("Reporting-Endpoints", 'x="https://evil.example"'),
        ("Service-Worker-Allowed", "/"),
        ("Cross-Origin-Opener-Policy", "unsafe-none"),
    )
    response = response_from_guest(HttpResponse(200, headers, b"", "text/html"))
    PagePolicy(site, "http", str(CHAT)).apply(MutableHeaders(raw=response.raw_headers), authenticated=True)
    assert response.headers.getlist("set-cookie") == [kept]
    assert len(response.headers.getlist("content-security-policy")) == 2
    assert "service-worker-allowed" not in response.headers
    policies = response.headers.getlist("content-security-policy")
    assert policies[0] == "script-src 'none';;,; img-src a"
    for name in ("content-security-policy-report-only", "nel", "report-to", "reporting-endpoints"):
        assert name not in response.headers
    assert response.headers["x-content-type-options"] == "nosniff"
