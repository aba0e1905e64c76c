"""Who gets the script of a service worker, and how the others are told."""

from __future__ import annotations

import pytest

from guesthouse.core.config import HttpSettings
from guesthouse.http_server.http.service_workers import ENDING_SCRIPT

from .conftest import CHAT, OTHER, House, Start
from .direct import BOTH_WAYS
from .test_hosts import PAGE, bind, own

pytestmark = [pytest.mark.usefixtures("directly"), BOTH_WAYS]


SCRIPT = {"Service-Worker": "script", "Sec-Fetch-Dest": "serviceworker"}


def page_of(house: House) -> dict[str, str]:
    return {**own(house), **SCRIPT, "Referer": f"http://{own(house)['Host']}/{CHAT}/"}


@pytest.mark.slow
@pytest.mark.parametrize("packages", [(), (OTHER.package_id,)])
@pytest.mark.parametrize(
    "path", [f"/{CHAT}/page", f"/{CHAT}/our.js", "/our.js", "/login", "/x/", f"/{OTHER}/page"]
)
async def test_a_page_is_refused_whatever_it_names(
    start: Start, packages: tuple[str, ...], path: str
) -> None:
    house: House = await start(None, HttpSettings(service_workers=packages))
    bind(house, authenticated=False)
    async with house.http() as client:
        answer = await client.get(path, headers=page_of(house))
        assert answer.status_code == (404 if packages and path == f"/{OTHER}/page" else 403)
        assert answer.headers["x-content-type-options"] == "nosniff"
        for address in (f"http://{own(house)['Host']}{path}", None):
            headers = {**own(house), **SCRIPT, **({} if address is None else {"Referer": address})}
            ended = await client.get(path, headers=headers)
            if ended.status_code == 200:
                assert ended.text == ENDING_SCRIPT
                assert ended.headers["content-security-policy"] == "default-src 'none'"
                assert ended.headers["cache-control"] == "no-store"
                assert ended.headers["content-type"].startswith("text/javascript")
            else:
                assert packages
                assert path == f"/{OTHER}/page"


async def test_a_package_that_is_named_has_its_own(start: Start) -> None:
    house: House = await start(None, HttpSettings(service_workers=(CHAT.package_id,)))
    bind(house, authenticated=False)
    async with house.http() as client:
        assert (await client.get(f"/{CHAT}/page", headers=page_of(house))).text == "<p>page"
        here = await client.get(f"/{CHAT}/page", headers={**SCRIPT, "Referer": f"{house.server.url}/{CHAT}/"})
        assert here.status_code == 403, "on the node's own host it would answer for others"


async def test_where_packages_share_an_origin_none_has(start: Start) -> None:
    house: House = await start(None, HttpSettings(origins="shared", service_workers=(CHAT.package_id,)))
    bind(house, authenticated=False)
    async with house.http() as client:
        page = {**SCRIPT, "Referer": f"{house.server.url}/{CHAT}/"}
        assert (await client.get(f"/{CHAT}/page", headers=page)).status_code == 403
        assert (await client.get(f"/{CHAT}/page", headers=SCRIPT)).text == ENDING_SCRIPT


async def test_what_was_asked_for_otherwise_is_no_script_of_one_in_a_cache(house: House) -> None:
    bind(house, authenticated=False)
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/page", headers={**PAGE, **own(house)})
        assert "Service-Worker" in answer.headers["vary"]
        odd = {**page_of(house), "Referer": "http://[/"}
        assert (await client.get(f"/{CHAT}/page", headers=odd)).status_code == 403
