"""What a page of one package can do to another, to the node and to its visitor: attacks from a real page, each refused.

Both where packages have origins of their own, which is the default, and where they share the node's.
"""

from __future__ import annotations

from typing import Final

import pytest
from playwright.async_api import BrowserContext, Page
from tests.tiers import thorough_after

from .browser import Browser
from .clients import CHAT, PAGES
from .conftest import StartNode
from .daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODES: Final = ("auto", "shared")

_FETCH: Final = """async (url) => {
    try {
        const answer = await fetch(url, {credentials: "include"});
        return answer.ok ? await answer.text() : null;
    } catch { return null; }
}"""
_FRAME: Final = """(url) => new Promise((done) => {
    const frame = document.createElement("iframe");
    const look = () => { try { return frame.contentDocument.documentElement.outerHTML; } catch { return ""; } };
    frame.onload = () => done(look());
    frame.onerror = () => done("");
    frame.src = url;
    document.body.append(frame);
})"""
_OPEN: Final = """async (url) => {
    const opened = window.open(url);
    if (opened === null) return "";
    for (let turn = 0; turn < 40; turn++) {
        await new Promise((done) => setTimeout(done, 50));
        try { if (opened.document.body.innerText.includes("Messages")) return opened.document.body.innerText; }
        catch { opened.close(); return ""; }
    }
    opened.close();
    return "";
}"""
_SOCKET: Final = """(url) => new Promise((done) => {
    try {
        const socket = new WebSocket(url);
        socket.onopen = () => done(true);
        socket.onerror = () => done(false);
    } catch { done(false); }
})"""
_REGISTER: Final = """([url, token, process]) => new Promise((done) => {
    try {
        const socket = new WebSocket(url);
        socket.onopen = () => socket.send(JSON.stringify({auth_token: token, target_process: process}));
        socket.onmessage = () => done("registered");
        socket.onclose = (event) => done(event.code);
    } catch { done(0); }
})"""
_RENEW: Final = """async ([url, token]) => {
    try {
        const answer = await fetch(url, {method: "POST", headers: {Authorization: `Bearer ${token}`}});
        return answer.ok ? (await answer.json()).token : null;
    } catch { return null; }
}"""
_WORKER: Final = """async (scope) => {
    try { await navigator.serviceWorker.register("seed.js", {scope}); return true; } catch { return false; }
}"""
_FLOOD: Final = """(node) => {
    for (let i = 0; i < 40; i++) document.cookie = `kinode-auth_${node}=junk${i}; path=/${"x/".repeat(i)}`;
    document.cookie = `kinode-auth_${node}=junk; path=/`;
    document.cookie = `kinode-auth_${node}=junk; path=/; domain=localhost`;
    return document.cookie.length;  // read after it was written: a browser may write later
}"""


@pytest.fixture
def start(start_for_browser: StartNode) -> StartNode:
    return start_for_browser


async def attacker(daemon: Daemon, person: BrowserContext) -> Page:
    """A page of the package `pages`, whose visitor has been to the chat, and is logged in."""
    page = await person.new_page()
    await page.goto(f"{daemon.url}/login")
    await page.get_by_label("Token", exact=True).fill(await daemon.token())
    await page.get_by_role("button", name="Log in").click()
    await page.goto(f"{daemon.url}/{CHAT}/")
    await page.get_by_placeholder("Write a message").wait_for()
    await page.goto(f"{daemon.url}/{PAGES}/")
    await page.locator("a").first.wait_for()
    return page


@pytest.mark.parametrize("origins", thorough_after(1, MODES))
async def test_a_hostile_page_gets_nothing_of_another_package(
    start: StartNode, browser: Browser, origins: str
) -> None:
    daemon = await start("chat", "pages", settings={"http_origins": origins})
    page = await attacker(daemon, await browser.person())
    token = await page.evaluate("document.cookie")
    assert ("kinode-auth_" in token) == (origins == "auto"), "its own token, and only on an origin of its own"

    hosts = {daemon.page(CHAT), f"{daemon.url}/{CHAT}/"}
    for url in sorted(hosts):
        assert await page.evaluate(_FETCH, url) is None, url
        assert "Write a message" not in await page.evaluate(_FRAME, url), url
        assert await page.evaluate(_OPEN, url) == "", url
        assert await page.evaluate(_SOCKET, url.replace("http", "ws", 1)) is False, url
    assert await page.evaluate(_FETCH, f"/{CHAT}/our.js") is None
    assert await page.evaluate(_WORKER, "/") is False
    assert await daemon.channels(CHAT) == []
    browser.expect_problems()


async def test_the_token_that_a_page_can_read_is_for_its_own_process(
    start: StartNode, browser: Browser
) -> None:
    daemon = await start("chat", "pages")
    page = await attacker(daemon, await browser.person())
    await page.add_script_tag(url="/our.js")
    token = await page.evaluate("our.token()")
    own = daemon.page(PAGES).removesuffix(f"{PAGES}/")
    sockets = own.replace("http", "ws", 1)
    assert await page.evaluate(_REGISTER, [sockets, token, PAGES]) == "registered"
    assert await page.evaluate(_REGISTER, [sockets, token, CHAT]) == 4002
    assert await page.evaluate(_RENEW, [f"{own}token", token]) is None
    await page.evaluate("history.pushState({}, '', '/')")
    await page.evaluate(f"history.pushState({{}}, '', '/{CHAT}/')")
    shown = await page.evaluate("document.cookie")
    assert shown.count("kinode-auth_") <= 1, "the chat's is on another host"
    assert shown == "" or token in shown
    assert await daemon.channels(CHAT) == []
    browser.expect_problems()


@pytest.mark.parametrize("origins", thorough_after(1, MODES))
async def test_no_page_keeps_others_out_by_cookies(start: StartNode, browser: Browser, origins: str) -> None:
    daemon = await start("chat", "pages", settings={"http_origins": origins})
    person = await browser.person()
    page = await attacker(daemon, person)
    await page.evaluate(_FLOOD, daemon.node)
    await page.goto(f"{daemon.url}/{CHAT}/")
    await page.get_by_placeholder("Write a message").wait_for()
    browser.expect_problems()
