"""The JavaScript client in Chromium: pages load it from the node, and their channels outlive what breaks."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page
from tests.clients.javascript_runs import QUICK, SCRIPTS
from tests.clients.proxy import Fault, FaultyProxy
from tests.tiers import thorough_after

from .browser import Browser
from .clients import ECHO_C
from .conftest import StartNode
from .daemon import Daemon
from .packages import package
from .test_javascript_client import CUTS, SECONDS, nothing_was_lost
from .waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(SECONDS + 60)]


@pytest.fixture
def start(start_for_browser: StartNode) -> StartNode:
    return start_for_browser


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """An echo whose page has the client."""
    folder = shutil.copytree(package("echo-c"), tmp_path / "echo-c")
    shutil.copytree(SCRIPTS / "ui", folder / "ui")
    shutil.copy(SCRIPTS / "echoes.mjs", folder / "ui")
    manifest = (folder / "package.toml").read_text()
    (folder / "package.toml").write_text(re.sub(r"(wasm = .*)", r'\1\nui = "ui"', manifest, count=1))
    return folder


@asynccontextmanager
async def page_by_proxy(
    daemon: Daemon, browser: Browser, *faults: Fault, seed: object = 0
) -> AsyncIterator[tuple[Page, FaultyProxy]]:
    """The page, logged in, with the node behind a proxy that does nothing yet."""
    port = daemon.url.rpartition(":")[2]
    async with FaultyProxy(int(port), seed=seed, faults=faults or (Fault.CUT, Fault.RESET)) as proxy:
        proxy.calm()
        page = await (await browser.person()).new_page()
        await page.goto(daemon.login_url().replace(f":{port}/", f":{proxy.port}/"))
        await page.wait_for_url(re.compile(r"//echo-c-guesthouse-os\.localhost:"))
        await page.wait_for_function("window.loaded")
        yield page, proxy
        await page.evaluate("window.channel?.close()")


async def opened(page: Page, **options: Any) -> None:
    """Open a channel of the page's process with the page's login, as `channel`."""
    await page.evaluate(
        """async (options) => {
            window.channel = connect(options);
            window.states = [];
            channel.addEventListener("state", ({detail}) => states.push(detail));
            await channel.ready;
        }""",
        {**QUICK, "pingAfter": 20_000, "pongTimeout": 10_000, **options},
    )


async def echoed(page: Page, text: str) -> None:
    """Send a message and wait for it to come back."""
    answer = await page.evaluate(
        """async (text) => {
            window.messages ??= channel[Symbol.asyncIterator]();
            await channel.send(text);
            return (await messages.next()).value;
        }""",
        text,
    )
    assert answer == text


@pytest.mark.parametrize("encrypted", thorough_after(1, [False, True]))
async def test_in_a_page_each_message_comes_once_and_in_order_however_connections_break(
    start: StartNode, browser: Browser, echo: Path, encrypted: bool
) -> None:
    daemon = await start(echo, flags=["--dev"])
    cuts = CUTS // 4 if encrypted else CUTS // 2
    async with page_by_proxy(daemon, browser, seed=encrypted) as (page, proxy):
        await opened(page, encrypted=encrypted, pingAfter=1000, pongTimeout=1000)
        proxy.storm()
        proxy.cut_all()
        told = await page.evaluate(
            """async (options) => {
                const told = await echoThroughCuts(channel, options);
                await channel.close();
                return told;
            }""",
            {"cuts": cuts, "encrypted": encrypted},
        )
        proxy.calm()
        browser.expect_problems()
    nothing_was_lost(told, cuts)
    await daemon.no_channels()


@pytest.mark.thorough
async def test_a_page_that_was_offline_goes_on_as_soon_as_it_is_online(
    start: StartNode, browser: Browser, echo: Path
) -> None:
    daemon = await start(echo, flags=["--dev"])
    async with page_by_proxy(daemon, browser) as (page, proxy):
        await opened(page, firstDelay=10_000_000, longestDelay=10_000_000)  # only `online` helps
        await echoed(page, "before")
        network = await page.context.new_cdp_session(page)
        conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await network.send("Network.enable")
        await network.send("Network.emulateNetworkConditions", {**conditions, "offline": True})
        await page.wait_for_function("!navigator.onLine")
        proxy.cut_all()
        await page.wait_for_function("channel.state === 'away'")
        await page.evaluate("for (let n = 0; n < 50; n++) channel.send(`offline ${n}`)")
        await network.send("Network.emulateNetworkConditions", {**conditions, "offline": False})
        await page.wait_for_function("channel.state === 'open'")
        got = await page.evaluate(
            """async () => {
                const got = [];
                while (got.length < 50) got.push((await messages.next()).value);
                return got;
            }"""
        )
        assert got == [f"offline {n}" for n in range(50)]
        assert await page.evaluate("states") == ["open", "away", "open"]
        browser.expect_problems()


@pytest.mark.thorough
async def test_a_page_that_is_closed_ends_its_channel_at_once(
    start: StartNode, browser: Browser, echo: Path
) -> None:
    daemon = await start(echo, flags=["--dev"])
    async with page_by_proxy(daemon, browser) as (page, _):
        await opened(page)
        await echoed(page, "hello")
        assert [each["away"] for each in await daemon.channels(ECHO_C)] == [False]
        await page.goto("about:blank")
        await until(lambda: daemon.channels(ECHO_C), lambda open_: not open_, "the channel is closed")


@pytest.mark.thorough
async def test_a_page_that_the_browser_keeps_to_go_back_to_has_its_channel_when_it_is_shown_again(
    start: StartNode, browser: Browser, echo: Path
) -> None:
    daemon = await start(echo, flags=["--dev"])
    async with page_by_proxy(daemon, browser) as (page, _):
        await opened(page)
        await echoed(page, "before")
        # Headless Chromium under Playwright keeps no pages: the page is told as if it did.
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
        assert await page.evaluate("channel.state") == "away"
        await until(
            lambda: daemon.channels(ECHO_C),
            lambda open_: [each["away"] for each in open_] == [True],
            "it is away",
        )
        await page.evaluate("channel.send('meanwhile')")
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
        assert await page.evaluate("messages.next().then(({value}) => value)") == "meanwhile"
        assert await page.evaluate("states") == ["open", "away", "open"]


@pytest.mark.thorough
async def test_a_page_that_becomes_visible_looks_whether_the_node_is_there(
    start: StartNode, browser: Browser, echo: Path
) -> None:
    daemon = await start(echo, flags=["--dev"])
    async with page_by_proxy(daemon, browser) as (page, proxy):
        await opened(page, pongTimeout=50)
        await echoed(page, "before")
        proxy.stall_all()
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await page.wait_for_function("states.includes('away')")
        await page.wait_for_function("channel.state === 'open'")
        await echoed(page, "after")
        browser.expect_problems()  # what waits on the stalled connections is reset in the end


@pytest.mark.thorough
async def test_without_a_login_the_page_is_told_to_log_in(
    start: StartNode, browser: Browser, echo: Path
) -> None:
    daemon = await start(echo, flags=["--dev"])
    async with page_by_proxy(daemon, browser) as (page, _):
        await page.context.clear_cookies()
        error = await page.evaluate(
            "connect().closed.then((error) => [error instanceof TokenRefused, error.retry, error.message])"
        )
        assert error == [True, "never", "no token: log in"]
        browser.expect_problems()
