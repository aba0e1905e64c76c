"""Origins of packages in Chromium, under names that it is told lead to the node."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Playwright, expect
from tests.tiers import thorough_after, thorough_but

from .browser import Browser, browsing, chromium_of
from .clients import CHAT, ECHO_C, PAGES
from .conftest import StartNode
from .daemon import Daemon
from .packages import package
from .waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLE: Final = """
function getCookie(name) {
    const cookies = document.cookie.split(';');
    for (let i = 0; i < cookies.length; i++) {
        const cookie = cookies[i].trim();
        if (cookie.startsWith(name)) {
            return cookie.substring(name.length + 1);
        }
    }
}

const websocket = new WebSocket("http://localhost:8080/");

const message = JSON.stringify({
    "auth_token": getCookie(`kinode-auth_${nodeId}`),
    "target_process": "my-package:my-package:template.os",
    "encrypted": false,
});
"""
"""The simple example of the WebSocket API, to the letter; then comes `websocket.send(message)`."""

SAFARI: Final = (
    "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15"
)
_BOMB: Final = """([path, domain]) => {
    for (let i = 0; i < 40; i++)
        document.cookie = `bomb${i}=${"x".repeat(3900)}; path=${path}${domain ? "; domain=" + domain : ""}`;
    return document.cookie.length;  // read after it was written: a browser may write later
}"""
_TOSS: Final = """([node, domain, process]) => {
    for (const name of [`kinode-auth_${node}`, `hyperware-auth_${node}`])
        for (const path of ["/", "/login", `/${process}`, `/${process}/`])
            document.cookie = `${name}=junk; path=${path}; domain=${domain}`;
    return document.cookie.length;
}"""


@pytest.fixture
def start(start_for_browser: StartNode) -> StartNode:
    return start_for_browser


@asynccontextmanager
async def told(playwright: Playwright, *rules: str) -> AsyncIterator[Browser]:
    """Chromium that finds hosts by these rules."""
    rule = f"--host-resolver-rules={', '.join(rules)}"
    async with chromium_of(playwright, rule) as chromium, browsing(chromium) as browser:
        yield browser


async def log_in(page: Page, daemon: Daemon) -> None:
    """On the login page."""
    await expect(page).to_have_url(re.compile("/login"))
    await page.get_by_label("Token", exact=True).fill(await daemon.token())
    await page.get_by_role("button", name="Log in").click()


@pytest.mark.thorough
async def test_the_example_of_the_websocket_api_works_to_the_letter(
    start: StartNode, playwright: Playwright, tmp_path: Path
) -> None:
    folder = shutil.copytree(package("echo-c"), tmp_path / "my-package")
    manifest = folder / "package.toml"
    text = manifest.read_text().replace('name = "echo-c"', 'name = "my-package"')
    text = re.sub(r'publisher = ".*"', 'publisher = "template.os"', text)
    manifest.write_text(re.sub(r"(wasm = .*)", r'\1\nui = "ui"', text, count=1))
    (folder / "ui").mkdir()
    (folder / "ui/index.html").write_text(
        '<!doctype html><title>Mine</title><link rel="icon" href="data:,"><script src="/our.js"></script>'
    )
    daemon = await start(folder)
    port = urlsplit(daemon.url).port
    async with told(
        playwright, f"MAP localhost:8080 127.0.0.1:{port}", f"MAP *.localhost:8080 127.0.0.1:{port}"
    ) as browser:
        page = await (await browser.person()).new_page()
        await page.goto("http://localhost:8080/my-package:my-package:template.os/")
        await log_in(page, daemon)
        await expect(page).to_have_url(re.compile(r"http://my-package-template-os\.localhost:8080/"))
        await expect(page).to_have_title("Mine")
        await page.add_script_tag(content=f"const nodeId = window.our.node;{EXAMPLE}")
        await page.evaluate("websocket.onmessage = ({data}) => { window.answer = data; }; null")
        await page.wait_for_function("websocket.readyState === WebSocket.OPEN")
        await page.evaluate("websocket.send(message)")
        await page.wait_for_function('window.answer?.includes("channel_id")')
        await page.evaluate("websocket.send('hello')")
        await page.wait_for_function('window.answer === "hello"')


@pytest.mark.parametrize(
    "settings",
    thorough_but(
        [
            {"http_readable_packages": "pages:test.os"},
            {"http_register_cookie": "readable"},
            {"http_readable_packages": "pages:test.os", "http_origins": "shared"},
        ],
        {"http_readable_packages": "pages:test.os"},
    ),
)
async def test_a_page_that_the_operator_trusts_registers_with_another_packages_process(
    start: StartNode, browser: Browser, settings: dict[str, str]
) -> None:
    daemon = await start("pages", "echo-c", settings=settings)
    page = await (await browser.person()).new_page()
    await page.goto(f"{daemon.url}/{PAGES}/")
    await log_in(page, daemon)
    await page.get_by_text("seed").wait_for()
    await page.goto(f"{page.url}seed.html?process={ECHO_C}")
    await page.wait_for_function('answers[0]?.includes("channel_id")')
    await page.evaluate("websocket.send('hello')")
    await page.wait_for_function('answers[1] === "hello"')


@pytest.mark.thorough
async def test_a_browser_that_finds_no_names_below_localhost_may_share_the_nodes_origin(
    start: StartNode, playwright: Playwright
) -> None:
    daemon = await start("counter", flags=["--dev"])
    async with told(playwright, "MAP *.localhost ^NOTFOUND") as browser:
        page = await (await browser.person(agent=SAFARI)).new_page()
        await page.goto(daemon.login_url())
        await expect(page.get_by_role("heading")).to_contain_text("Cannot reach counter-guesthouse-os")
        browser.expect_problem("error: Failed to load resource: net::ERR_NAME_NOT_RESOLVED")
        browser.expect_problem("failed: http://counter-guesthouse-os.localhost")
        await page.get_by_role("button", name="Share the address").click()
        await expect(page.locator("#count")).to_have_text("0")
        assert page.url.startswith(f"{daemon.url}/")
        await page.reload()
        await page.locator("#up").click()
        await expect(page.locator("#count")).to_have_text("1")


@pytest.mark.thorough
async def test_a_browser_that_says_nothing_of_itself_and_finds_them_goes_on(
    start: StartNode, browser: Browser
) -> None:
    daemon = await start("counter", flags=["--dev"])
    browser.may_abort = "/login?probe"
    page = await (await browser.person(agent=SAFARI)).new_page()
    await page.goto(daemon.login_url())
    await expect(page).to_have_url(daemon.page("counter:counter:guesthouse.os"))
    await expect(page.locator("#count")).to_have_text("0")


@pytest.mark.parametrize("origins", thorough_after(1, ["package", "shared"]))
async def test_cookies_of_another_package_keep_nobody_out_for_good(
    start: StartNode, playwright: Playwright, origins: str
) -> None:
    """Without TLS, so that nothing but the node helps."""
    daemon = await start("counter", "pages", settings={"http_origins": origins, "http_hosts": "node.test"})
    counter, port = "counter:counter:guesthouse.os", urlsplit(daemon.url).port
    node = f"http://node.test:{port}"
    async with told(playwright, "MAP node.test 127.0.0.1", "MAP *.node.test 127.0.0.1") as browser:
        page = await (await browser.person()).new_page()
        await page.goto(f"{node}/{PAGES}/")
        await log_in(page, daemon)
        await page.get_by_text("seed").wait_for()
        await page.evaluate(_TOSS, [daemon.node, "node.test", counter])
        await page.goto(f"{node}/{counter}/")
        await page.locator("#up").wait_for()
        if origins == "package":
            assert await page.evaluate("document.cookie.match(/kinode-auth_/g).length") == 1
            assert "junk" not in await page.evaluate("document.cookie")
        await page.goto(f"{node}/{PAGES}/")
        await page.get_by_text("seed").wait_for()
        await page.evaluate(_BOMB, ["/", "node.test"])
        refused = 0
        while (answer := await page.goto(f"{node}/{counter}/")) is not None and answer.status == 431:
            refused += 1
            assert refused < 8
        assert refused
        await page.locator("#up, #token").first.wait_for()
        if await page.locator("#token").count():
            await log_in(page, daemon)
        await page.locator("#up").click()
        await expect(page.locator("#count")).to_have_text("1")
        browser.expect_problems()


@pytest.mark.thorough
async def test_cookies_are_all_cleared_at_once_where_a_browser_trusts_the_way(
    start: StartNode, browser: Browser
) -> None:
    daemon = await start("chat", "pages", settings={"http_origins": "shared"})
    person = await browser.person()
    page = await person.new_page()
    await page.goto(f"{daemon.url}/{PAGES}/")
    await log_in(page, daemon)
    await page.get_by_text("seed").wait_for()
    await page.evaluate(_BOMB, ["/", ""])
    answer = await page.goto(f"{daemon.url}/{CHAT}/")
    assert answer is not None
    assert answer.status == 431
    await until(person.cookies, lambda cookies: cookies == [], "the jar is empty")
    await page.goto(f"{daemon.url}/{CHAT}/")
    await log_in(page, daemon)
    await page.get_by_placeholder("Write a message").wait_for()
    browser.expect_problems()
