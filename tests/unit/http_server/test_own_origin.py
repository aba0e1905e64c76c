"""How a browser comes to the origin of a package, and what it gets if it cannot."""

from __future__ import annotations

import re

import httpx
import pytest

from guesthouse.core.config import HttpSettings
from guesthouse.http_server.auth.tokens import Scope
from guesthouse.http_server.html_pages import OWN_ORIGIN_SCRIPT

from .conftest import CHAT, NODE, House, Start
from .test_hosts import LABEL, PAGE, bind, own

SAFARI = {
    **PAGE,
    "User-Agent": "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1",
}


async def shared(client: httpx.AsyncClient, house: House) -> dict[str, str]:
    """The cookie of a browser whose person has packages share the node's origin."""
    origin = {"Origin": house.server.url}
    answer = await client.post(f"/shared-origin?redirect=/{CHAT}/page", headers=origin)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/{CHAT}/page")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    return {"Cookie": cookie.partition(";")[0]}


async def test_a_browser_that_may_not_find_it_is_asked_to_try(house: House) -> None:
    bind(house, authenticated=False)
    async with house.http() as client:
        page = await client.get(f"/{CHAT}/page", headers=SAFARI)
        place = f"http://{LABEL}.localhost:{house.server.port}"
        assert f'href="{place}/{CHAT}/page" data-probe="{place}/login?probe"' in page.text
        assert (
            f"script-src {OWN_ORIGIN_SCRIPT}; connect-src {place}" in page.headers["content-security-policy"]
        )
        assert "<p>page" not in page.text
        probe = await client.get("/login?probe", headers=own(house))
        assert probe.status_code == 204
        assert probe.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_its_person_may_have_packages_share_the_nodes_origin(house: House) -> None:
    bind(house, authenticated=False)
    async with house.http() as client:
        cookie = await shared(client, house)
        page = await client.get(f"/{CHAT}/page", headers={**SAFARI, **cookie})
        assert page.text == "<p>page"
        policy = page.headers["content-security-policy"]
        assert "sandbox allow-same-origin" in policy
        assert f"connect-src http://127.0.0.1:{house.server.port}/{CHAT}/" in policy
        worker = await client.get(
            f"/{CHAT}/page", headers={**cookie, "Service-Worker": "script", "Referer": house.server.url}
        )
        assert worker.status_code == 403
    assert house.log.mentions("cannot resolve names below localhost")


@pytest.mark.parametrize("subdomain", [None, "@shared2", str(CHAT)])
async def test_a_page_cannot_say_so_for_it(house: House, subdomain: str | None) -> None:
    bind(house, authenticated=False)
    token = house.server.issue_token(60, Scope(subdomain))
    async with house.http() as client:
        for value in (token, "junk"):
            cookie = {"Cookie": f"kinode-auth_{NODE}@@shared={value}"}
            answer = await client.get(f"/{CHAT}/page", headers={**PAGE, **cookie})
            assert answer.status_code == 303
        for origin in (f"http://{LABEL}.localhost:{house.server.port}", "null", "http://evil.example"):
            assert (await client.post("/shared-origin", headers={"Origin": origin})).status_code == 403
        mark = await shared(client, house)
        value = mark["Cookie"].partition("=")[2]
        login = {"Cookie": f"kinode-auth_{NODE}={value}"}
        assert (await client.get("/", headers=login)).headers["location"] == "/login"


@pytest.mark.parametrize("origins", ["package", "shared"])
async def test_who_settled_it_is_not_asked(start: Start, origins: str) -> None:
    house: House = await start(None, HttpSettings(origins=origins))
    bind(house, authenticated=False)
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/page", headers=SAFARI)
        assert answer.status_code == (303 if origins == "package" else 200)
        refused = await client.post("/shared-origin", headers={"Origin": house.server.url})
        assert refused.status_code == 403


async def test_logging_out_forgets_it(house: House) -> None:
    async with house.http() as client:
        cookie = await shared(client, house)
        answer = await client.post("/logout", headers={**cookie, "Origin": house.server.url})
    assert any(re.match(r".*@@shared=; Max-Age=0", line) for line in answer.headers.get_list("set-cookie"))
