"""Workers of a page in Chromium: none makes pages, or speaks to strangers, beyond the policy of its package."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Page
from tests.tiers import thorough_after, thorough_but

from .browser import Browser
from .clients import PAGES
from .conftest import StartNode
from .daemon import Daemon
from .packages import package

pytestmark = pytest.mark.asyncio(loop_scope="session")

_NAME: Final = PAGES.partition(":")[2]

SERVICE_WORKER: Final = """
self.oninstall = () => self.skipWaiting();
self.onactivate = (event) => event.waitUntil(self.clients.claim());
self.onfetch = (event) => {
    if (event.request.mode === "navigate")
        event.respondWith(new Response("<!doctype html><title>made</title>", {headers: {"Content-Type": "text/html"}}));
};
"""
WORKER: Final = """
const ask = async (port, url) => {
    try { await fetch(url, {mode: "no-cors"}); port.postMessage("reached"); } catch { port.postMessage("refused"); }
};
self.onmessage = (event) => ask(self, event.data);
self.onconnect = ({ports: [port]}) => { port.onmessage = (event) => ask(port, event.data); };
"""
_REGISTER: Final = """async (options) => {
    try {
        await navigator.serviceWorker.register("sw.js", options);
        await navigator.serviceWorker.ready;
        return "ready";
    }
    catch (error) { return error.name; }
}"""
_REGISTRATIONS: Final = "async () => (await navigator.serviceWorker.getRegistrations()).length"
_ASK: Final = """([kind, script, url]) => new Promise((done) => {
    const source = script.endsWith(".js") ? script
        : script.startsWith("data:") ? script : URL.createObjectURL(new Blob([script], {type: "text/javascript"}));
    const worker = new (kind === "shared" ? SharedWorker : Worker)(source);
    const port = kind === "shared" ? worker.port : worker;
    worker.onerror = () => done("no worker");
    port.onmessage = (event) => done(event.data);
    port.postMessage(url);
})"""


@pytest.fixture
def start(start_for_browser: StartNode) -> StartNode:
    return start_for_browser


def folder_in(path: Path) -> Path:
    """The package `pages`, with workers."""
    folder = Path(shutil.copytree(package("pages"), path / "pages"))
    (folder / "ui/sw.js").write_text(SERVICE_WORKER)
    (folder / "ui/worker.js").write_text(WORKER)
    return folder


@asynccontextmanager
async def stranger() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server of somebody else: its address, and the first lines that it got."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", got


async def visited(daemon: Daemon, browser: Browser) -> Page:
    """The page of `pages`, as its visitor has it who is logged in."""
    page = await (await browser.person()).new_page()
    await page.goto(f"{daemon.url}/login")
    await page.get_by_label("Token", exact=True).fill(await daemon.token())
    await page.get_by_role("button", name="Log in").click()
    await page.goto(f"{daemon.url}/{PAGES}/")
    await page.locator("a").first.wait_for()
    return page


@pytest.mark.parametrize("cache", thorough_after(1, ["imports", "all"]))
async def test_a_page_registers_no_service_worker_by_default(
    start: StartNode, browser: Browser, tmp_path: Path, cache: str
) -> None:
    """Also when it fetched the script before, as what it is not."""
    daemon = await start(folder_in(tmp_path))
    page = await visited(daemon, browser)
    assert await page.evaluate("async () => (await fetch('sw.js', {cache: 'force-cache'})).ok")
    assert await page.evaluate(_REGISTER, {"updateViaCache": cache}) in ("TypeError", "SecurityError")
    for script in ("/our.js", f"/{PAGES}/our.js", "/login"):
        refused = f"navigator.serviceWorker.register('{script}').then(() => 'made', (error) => error.name)"
        assert await page.evaluate(refused) in ("TypeError", "SecurityError"), script
    assert await page.evaluate(_REGISTRATIONS) == 0
    browser.expect_problems()


@pytest.mark.thorough
async def test_a_service_worker_that_is_there_ends_when_it_may_not_be_any_more(
    start: StartNode, browser: Browser, tmp_path: Path, new_home: Callable[[], Path]
) -> None:
    home = new_home()
    settings = home / "guesthouse.toml"
    settings.write_text(f'[http]\nservice_workers = ["{_NAME}"]\n')
    daemon = await start(folder_in(tmp_path), home=home)
    page = await visited(daemon, browser)
    assert await page.evaluate(_REGISTER, {"updateViaCache": "all"}) == "ready"
    await page.evaluate("localStorage.kept = 'data of the package'")
    await page.reload()
    assert await page.title() == "made", "the worker answers for the node"
    settings.write_text("")
    os.kill(daemon.pid, signal.SIGHUP)
    await daemon.log_line("node", "reloaded", "service_workers")
    await page.reload()
    await page.locator("a").first.wait_for()  # of the node's page, which comes by itself
    answer: Any = await page.reload()
    assert not answer.from_service_worker
    assert "connect-src" in answer.headers["content-security-policy"]
    assert await page.evaluate(_REGISTRATIONS) == 0
    assert await page.evaluate("localStorage.kept") == "data of the package"
    browser.expect_problems()


@pytest.mark.parametrize("kind", thorough_after(1, ["dedicated", "shared"]))
@pytest.mark.parametrize("source", thorough_but(["served", "blob", "data"], "blob"))
async def test_other_workers_keep_to_the_policy_of_their_package(
    start: StartNode, browser: Browser, tmp_path: Path, kind: str, source: str
) -> None:
    daemon = await start(folder_in(tmp_path))
    page = await visited(daemon, browser)
    script = {"served": "worker.js", "blob": WORKER, "data": f"data:text/javascript,{WORKER}"}[source]
    async with stranger() as (url, got):
        answer = await page.evaluate(_ASK, [kind, script, url])
    assert answer in (("refused",) if source == "served" else ("refused", "no worker"))
    assert got == []
    browser.expect_problems()
