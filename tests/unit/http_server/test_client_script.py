"""`/guesthouse.js`: the JavaScript client is served as it is in the repository, and installed with the host."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from guesthouse.http_server.http.client_script import CLIENT_FILE, PLACES
from guesthouse.http_server.http.page_policy import PagePolicy
from guesthouse.http_server.routing.hosts import Site
from guesthouse.http_server.routing.subdomains import subdomain_of

from .conftest import CHAT, House

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / CLIENT_FILE
SHARED = Site("localhost:8080", "", "localhost:8080", None)
OWN = Site("l.localhost:8080", "l", "localhost:8080", "localhost:8080")


async def test_the_client_is_served_without_a_login_and_kept_by_browsers_until_it_changes(
    house: House,
) -> None:
    async with house.http() as client:
        answer = await client.get("/guesthouse.js")
        assert (answer.status_code, answer.content) == (200, SCRIPT.read_bytes())
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        again = await client.get("/guesthouse.js", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.get("/guesthouse.js", headers={"If-None-Match": '"x"'})).status_code == 200
        head = await client.head("/guesthouse.js")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) == len(SCRIPT.read_bytes())
        refused = await client.post("/guesthouse.js")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_it_is_no_service_worker_and_no_host_of_another_package_has_it(house: House) -> None:
    async with house.http() as client:
        headers = {"Service-Worker": "script", "Referer": f"{house.server.url}/{CHAT}/"}
        assert (await client.get("/guesthouse.js", headers=headers)).status_code == 403
        port = house.server.port
        own = {"Host": f"{subdomain_of(CHAT)}.localhost:{port}"}
        assert (await client.get("/guesthouse.js", headers=own)).status_code == 200
        house.router.known.pop(CHAT)
        assert (await client.get("/guesthouse.js", headers=own)).status_code == 403


@pytest.mark.parametrize("site", [SHARED, OWN])
def test_pages_may_load_it_and_no_other_script_of_the_node_beside_our_js(site: Site) -> None:
    policy = PagePolicy(site, "http", str(CHAT)).content_security_policy()
    (sources,) = [part for part in policy.split("; ") if part.startswith("script-src ")]
    origin = f"http://{site.host}"
    paths = [source.removeprefix(origin) for source in sources.split() if source.startswith(origin)]
    if site is OWN:
        assert (paths, "'self'" in sources) == ([], True)
    else:
        assert paths == [f"/{CHAT}/", f"/{CHAT}", "/our.js", "/guesthouse.js"]


def test_a_wheel_has_it_where_the_host_looks_first() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["force-include"][CLIENT_FILE] == f"guesthouse/{CLIENT_FILE}"
    assert "clients" in build["sdist"]["include"]
    assert PLACES == (ROOT / "host/guesthouse", ROOT)
