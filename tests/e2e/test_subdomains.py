"""Sub-domains in a browser: Chromium takes every name under `localhost` for this machine."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, Page, expect

from .browser import Browser
from .conftest import StartNode
from .daemon import Daemon
from .packages import package
from .waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

VAULT: Final = "vault:vault:test.os"
SAFE: Final = "vault:safe:my.test.os"
PASSWORD: Final = "correct horse"
_OPEN: Final = """(url) => new Promise((done) => {
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => { done(event.data); socket.close(); };
    socket.onerror = () => done(null);
})"""


@pytest.fixture
def start(start_for_browser: StartNode) -> StartNode:
    return start_for_browser


def other_package(folder: Path) -> Path:
    """The same process in a package of another name, whose publisher has more dots."""
    copied = shutil.copytree(package("vault"), folder / "safe")
    manifest = copied / "package.toml"
    text = manifest.read_text().replace('name = "vault"', 'name = "safe"', 1)
    manifest.write_text(text.replace('"test.os"', '"my.test.os"'))
    return copied


def on(daemon: Daemon, label: str, scheme: str = "http") -> str:
    """Where a sub-domain of the node is."""
    return f"{scheme}://{label}.localhost:{urlsplit(daemon.url).port}"


async def log_in(person: BrowserContext, url: str, at: str) -> Page:
    """Ask for a page, log in where that leads to, and come to the page."""
    page = await person.new_page()
    await page.goto(url)
    await expect(page).to_have_url(re.compile(re.escape(f"{at}/login?")))
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(url)
    return page


async def only_refusals(browser: Browser, count: int) -> None:
    """Take back the problems of a browser that was refused so often, and of nothing else."""

    async def told() -> list[str]:
        return [problem for problem in browser.problems if "/favicon.ico" not in problem]

    problems = await until(told, lambda problems: len(problems) >= count, f"{count} refusals")
    assert len(problems) == count, problems
    refused = ("403", "Content Security Policy")
    assert all(any(reason in problem for reason in refused) for problem in problems), problems
    browser.expect_problems()


async def test_a_sub_domain_has_its_own_login_its_own_cookie_and_the_only_way_to_what_is_secure(
    start: StartNode, browser: Browser, tmp_path: Path
) -> None:
    daemon = await start("vault", other_package(tmp_path), settings={"http_origins": "shared"})
    assert (await daemon.cli("passwd", stdin=f"{PASSWORD}\n")).code == 0
    vault, safe = on(daemon, "vault-test-os"), on(daemon, "safe-my-test-os")
    own_socket = f"{on(daemon, 'vault-test-os', 'ws')}/{VAULT}/socket"
    person = await browser.person()

    inside = await log_in(person, f"{vault}/{VAULT}/page", vault)
    await expect(inside.get_by_role("heading", name="Inside")).to_be_visible()
    assert await inside.evaluate(_OPEN, own_socket) == "hello"
    cookies = await person.cookies()
    assert [cookie["name"] for cookie in cookies] == [f"{name}@{VAULT}" for name in daemon.cookie_names]
    for cookie in cookies:
        assert (cookie["domain"], cookie["httpOnly"]) == ("vault-test-os.localhost", True)
    assert await inside.evaluate("document.cookie") == ""

    other = await log_in(person, f"{safe}/{SAFE}/page", safe)
    for place, process in ((safe, SAFE), (vault, VAULT)):
        names = {each["name"] for each in await person.cookies(place)}
        assert names == {f"{name}@{process}" for name in daemon.cookie_names}
    assert await other.evaluate(_OPEN, own_socket) is None, "the page of another package"
    assert await other.evaluate(_OPEN, own_socket.replace("vault-test-os", "safe-my-test-os")) is None
    await only_refusals(browser, 2)

    main = await person.new_page()
    for refused in (f"{daemon.url}/{VAULT}/page", f"{safe}/{VAULT}/page"):
        response = await main.goto(refused)
        assert response is not None
        assert response.status == 403
    await only_refusals(browser, 2)
    outside = f"{daemon.url}/{VAULT}/outside"
    await main.goto(f"{daemon.url}/login?redirect=/{VAULT}/outside")
    await main.get_by_label("Password").fill(PASSWORD)
    await main.get_by_role("button", name="Log in").click()
    await expect(main).to_have_url(outside)
    assert await person.cookies(daemon.url) != []
    assert await main.evaluate(_OPEN, own_socket) is None, "the process's own page on another host"
    assert await main.evaluate(_OPEN, f"{daemon.ws_url}/{VAULT}/socket") is None
    await only_refusals(browser, 2)
    assert await inside.evaluate(_OPEN, own_socket) == "hello"


@pytest.mark.thorough
async def test_the_password_for_secure_paths_is_typed_where_no_page_of_a_package_reads_it(
    start: StartNode, browser: Browser
) -> None:
    daemon = await start("vault")
    assert (await daemon.cli("passwd", stdin=f"{PASSWORD}\n")).code == 0
    vault, node = on(daemon, "vault-test-os"), f"http://localhost:{urlsplit(daemon.url).port}"
    person = await browser.person()
    inside = await log_in(person, f"{vault}/{VAULT}/page", node)
    await expect(inside.get_by_role("heading", name="Inside")).to_be_visible()
    assert await inside.evaluate(_OPEN, f"{on(daemon, 'vault-test-os', 'ws')}/{VAULT}/socket") == "hello"
