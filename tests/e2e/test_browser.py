"""What a browser does with a node: Chromium, pages that the node serves, nothing in between."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, Page, expect
from tests.tiers import thorough_but

from .browser import Browser
from .clients import CHAT, COUNTER, ECHO, ECHO_C, PAGES, RECORDER, registered
from .conftest import StartNode
from .daemon import Daemon
from .packages import ROOT, package
from .test_channels import events_of
from .waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLIENT_API = ROOT / "tests/e2e/node_modules/@kinode/client-api"


@pytest.fixture
def start(start_for_browser: StartNode) -> StartNode:
    return start_for_browser


def with_pages(name: str, place: Path) -> Path:
    """A package with the test pages among its own, and the npm package beside them as npm has it."""
    folder = shutil.copytree(package(name), place / name)
    assert json.loads((CLIENT_API / "package.json").read_text())["version"] == "0.1.0"
    shutil.copytree(package("pages") / "ui", folder / "ui", dirs_exist_ok=True)
    shutil.copy(CLIENT_API / "index.js", folder / "ui" / "client-api.js")
    manifest = (folder / "package.toml").read_text()
    if 'ui = "ui"' not in manifest:
        (folder / "package.toml").write_text(re.sub(r"(wasm = .*)", r'\1\nui = "ui"', manifest, count=1))
    return folder


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """The package of test pages."""
    return with_pages("pages", tmp_path)


def at(daemon: Daemon, path: str) -> str:
    """Where a browser ends that asks the node for `/<process-id>/…`."""
    process, slash, rest = path[1:].partition("/")
    return daemon.page(process, slash + rest)


async def visit(page: Page, daemon: Daemon, process: str, path: str) -> None:
    """Open a page of a process by the node's own host, as somebody who is logged in there."""
    await page.goto(f"{daemon.url}/{process}{path}")
    await page.wait_for_url(daemon.page(process, path))


async def log_in_by_token(daemon: Daemon, person: BrowserContext, path: str) -> Page:
    """Open a page as somebody new does: the node asks for a login first."""
    page = await person.new_page()
    await page.goto(f"{daemon.url}{path}")
    await expect(page).to_have_url(re.compile("/login"))
    await page.get_by_label("Token", exact=True).fill(await daemon.token())
    await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(at(daemon, path))
    return page


@pytest.mark.thorough
async def test_the_simple_example_talks_to_echo_and_to_chat(
    start: StartNode, browser: Browser, tmp_path: Path
) -> None:
    daemon = await start(*(with_pages(name, tmp_path) for name in ("chat", "echo")), flags=["--dev"])
    person = await browser.person()
    page = await person.new_page()
    await page.goto(daemon.login_url())
    await expect(page).to_have_url(daemon.page(CHAT))

    await visit(page, daemon, ECHO, f"/seed.html?process={ECHO}")
    await page.wait_for_function("answers.length === 1")
    assert set(json.loads(await page.evaluate("answers[0]"))) == {"channel_id"}
    for text in ("hello", "Grüße 🌍"):
        await page.evaluate("(text) => websocket.send(text)", text)
    await page.wait_for_function("answers.length === 3")
    assert await page.evaluate("answers.slice(1)") == ["hello", "Grüße 🌍"]

    await visit(page, daemon, CHAT, f"/seed.html?process={CHAT}")
    await page.wait_for_function("answers.length === 2")
    assert json.loads(await page.evaluate("answers[1]"))["type"] == "welcome"
    async with registered(daemon, CHAT, await daemon.token()) as other:
        assert (await other.json())["type"] == "welcome"
        await page.evaluate("""websocket.send(JSON.stringify({type: "say", text: "from a page"}))""")
        told = await other.json()
        while told["type"] != "said":
            told = await other.json()
        assert told["text"] == "from a page"
        await other.send(json.dumps({"type": "say", "text": "to a page"}))
        await page.wait_for_function("answers.some((answer) => JSON.parse(answer).text === 'to a page')")
    await page.close()
    await daemon.no_channels()


@pytest.mark.thorough
async def test_the_one_time_login_works_once(start: StartNode, browser: Browser) -> None:
    daemon = await start("chat", flags=["--dev"])
    first, second = await browser.person(), await browser.person()
    page = await first.new_page()
    await page.goto(daemon.login_url())
    await expect(page.locator("#state")).to_have_text("Connected")
    page = await second.new_page()
    response = await page.goto(daemon.login_url())
    assert response is not None
    assert response.status == 401
    await expect(page.get_by_role("alert")).to_contain_text("already used")
    browser.expect_problem("401")


@pytest.mark.parametrize("process", thorough_but([ECHO, ECHO_C, RECORDER], ECHO_C))
async def test_the_kinode_client_library_talks_to_a_process(
    start: StartNode, browser: Browser, tmp_path: Path, process: str
) -> None:
    daemon = await start(with_pages(process.partition(":")[0], tmp_path))
    token = await daemon.token()
    page = await log_in_by_token(daemon, await browser.person(), f"/{process}/")
    await visit(page, daemon, process, f"/kinode.html?process={process}")
    if process == RECORDER:
        _, pushed = await until(
            lambda: events_of(daemon, token), lambda events: len(events) == 2, "an open and a push"
        )
        assert (pushed["type"], bytes.fromhex(pushed["payload"])) == ("Binary", b'"Hello World"')
        return
    await page.wait_for_function("window.answers.length === 1")
    await page.evaluate("window.api.send({data: {list: [1, 2, 3], text: 'ü'}})")
    await page.wait_for_function("window.answers.length === 2")
    answers = [json.loads(answer) for answer in await page.evaluate("window.answers")]
    assert answers == ["Hello World", {"list": [1, 2, 3], "text": "ü"}]
    assert [item["path"] for item in await daemon.channels(process)] == ["/"]


async def says(page: Page, text: str) -> None:
    await page.get_by_placeholder("Write a message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def takes_name(page: Page, name: str) -> None:
    await page.get_by_label("Your name").fill(name)
    await page.get_by_label("Your name").press("Enter")


@pytest.mark.parametrize("sample", thorough_but(["chat", "chat-js", "chat-rust"], "chat"))
async def test_two_tabs_chat_and_a_late_joiner_reads_what_was_said(
    start: StartNode, browser: Browser, tmp_path: Path, sample: str
) -> None:
    chat = f"{sample}:{sample}:guesthouse.os"
    daemon = await start(sample, flags=["--dev"])
    ann, bob = await browser.person(), await browser.person()
    one = await ann.new_page()
    await one.goto(daemon.login_url())
    two = await log_in_by_token(daemon, bob, f"/{chat}/")
    for tab in (one, two):
        await expect(tab.locator("#state")).to_have_text("Connected")
    await takes_name(one, "Ann")
    await takes_name(two, "Bob")
    await expect(two.locator("#people")).to_have_text("Ann, Bob")
    await says(one, "Hello from one tab")
    await expect(two.locator("article p")).to_have_text(["Hello from one tab"])
    await expect(two.locator("article strong")).to_have_text(["Ann"])
    await says(two, "<img src=x onerror=alert(1)> & hello back")
    said = ["Hello from one tab", "<img src=x onerror=alert(1)> & hello back"]
    for tab in (one, two):
        await expect(tab.locator("article p")).to_have_text(said)

    await one.reload()
    await expect(one.locator("#state")).to_have_text("Connected")
    await expect(one.locator("article p")).to_have_text(said)
    await expect(one.locator("article.mine p")).to_have_text(said[:1])
    await expect(two.locator("#people")).to_have_text("Ann, Bob")

    phone = await browser.person(360, 640)
    late = await log_in_by_token(daemon, phone, f"/{chat}/")
    await expect(late.locator("article p")).to_have_text(said)
    await expect(late.locator("article strong")).to_have_text(["Ann", "Bob"])
    await says(late, "Now there are three of us, and one of them writes a good deal more " * 3)
    await expect(one.locator("article")).to_have_count(3)
    for tab in (one, late):
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await one.screenshot(path=tmp_path / "wide.png")
    await late.screenshot(path=tmp_path / "narrow.png")

    await late.close()
    await expect(one.locator("#people")).to_have_text("Ann, Bob")


@pytest.mark.thorough
@pytest.mark.parametrize("sample", thorough_but(["chat", "chat-js", "chat-rust"], "chat"))
async def test_a_page_does_not_notice_that_its_worker_was_killed(
    start: StartNode, browser: Browser, sample: str
) -> None:
    daemon = await start(sample, flags=["--dev"])
    person = await browser.person()
    page = await person.new_page()
    await page.goto(daemon.login_url())
    await expect(page.locator("#state")).to_have_text("Connected")
    (worker,) = daemon.workers()
    os.kill(worker.pid, signal.SIGKILL)
    await says(page, "Are you still there?")
    await expect(page.locator("article p")).to_have_text(["Are you still there?"])
    assert len(await daemon.channels(f"{sample}:{sample}:guesthouse.os")) == 1


@pytest.mark.thorough
async def test_the_counter_page_counts_for_all_who_look(start: StartNode, browser: Browser) -> None:
    daemon = await start("counter", flags=["--dev"])
    person = await browser.person()
    one, two = await person.new_page(), await person.new_page()
    await one.goto(daemon.login_url())
    await two.goto(f"{daemon.url}/{COUNTER}/")
    for page in (one, two):
        await expect(page.locator("#count")).to_have_text("0")
    await one.locator("#up").click()
    await two.locator("#up").click()
    for page in (one, two):
        await expect(page.locator("#count")).to_have_text("2")


@pytest.mark.thorough
async def test_a_password_opens_the_pages_and_a_wrong_one_does_not(
    start: StartNode, browser: Browser
) -> None:
    daemon = await start("chat")
    assert (await daemon.cli("passwd", stdin="correct horse\n")).code == 0
    person = await browser.person()
    page = await person.new_page()
    await page.goto(f"{daemon.url}/{CHAT}/")
    await page.get_by_label("Password").fill("wrong horse")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_have_text("Wrong password.")
    browser.expect_problem("401")
    await page.get_by_label("Password").fill("correct horse")
    await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(daemon.page(CHAT))
    await expect(page.locator("#state")).to_have_text("Connected")
    cookies = await person.cookies(daemon.url)
    assert {cookie["name"] for cookie in cookies} == set(daemon.cookie_names)
    assert {cookie["httpOnly"] for cookie in cookies} == {True}
    assert {cookie["sameSite"] for cookie in cookies} == {"Strict"}


@pytest.mark.thorough
async def test_the_login_page_says_what_is_wrong(
    start: StartNode, browser: Browser, new_home: Callable[[], Path]
) -> None:
    home = new_home()
    old = await start("chat", home=home, flags=["--dev"])
    page = await (await browser.person(360, 640)).new_page()
    await page.goto(f"{old.url}/login")  # by then the node has said how to log in
    expired = urlsplit(old.login_url()).query
    await old.terminate()
    daemon = await start("chat", home=home)
    assert (await daemon.cli("passwd", stdin="correct horse\n")).code == 0
    alert, log_in = page.get_by_role("alert"), page.get_by_role("button", name="Log in")
    await page.goto(f"{daemon.url}/login?{expired}")
    await expect(alert).to_contain_text("already used or is older than 10 minutes")
    await page.locator("summary").click()
    await page.get_by_label("Token", exact=True).fill("no.real.token")
    await log_in.click()
    await expect(alert).to_contain_text("This token is not valid")
    await page.get_by_label("Password").fill("wrong horse")
    await log_in.click()
    await expect(alert).to_have_text("Wrong password.")
    statuses = [401]
    while statuses[-1] == 401:  # the times between grow until even a slow machine is too fast
        await page.get_by_label("Password").fill("wrong horse")
        async with page.expect_navigation() as navigation:
            await log_in.click()
        answer = await navigation.value
        statuses.append(answer.status)
    assert statuses[-1] == 429
    await expect(alert).to_contain_text("Too many failed logins")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for control in (page.get_by_label("Password"), log_in):  # large enough for a thumb, and not zoomed into
        assert await control.evaluate("(it) => it.getBoundingClientRect().height >= 44")
        assert await control.evaluate("(it) => parseFloat(getComputedStyle(it).fontSize) >= 16")
    assert all("401" in problem or "429" in problem for problem in browser.problems), browser.problems
    browser.expect_problems()


async def test_a_page_of_another_origin_gets_no_channel(
    start: StartNode, browser: Browser, pages: Path
) -> None:
    daemon = await start("echo", pages)
    person = await browser.person()
    await log_in_by_token(daemon, person, f"/{PAGES}/")
    # Another origin on the same host: cookies know no ports, so the browser sends this node's.
    other = await start(pages, settings={"http_page_sources": daemon.ws_url})
    stranger = await log_in_by_token(other, person, f"/{PAGES}/")
    opened = await stranger.evaluate(
        """(url) => new Promise((done) => {
            const socket = new WebSocket(url);
            socket.onopen = () => done(true);
            socket.onclose = () => done(false);
        })""",
        f"{daemon.ws_url}/{ECHO}/",
    )
    assert opened is False
    browser.expect_problem("403")
    assert await daemon.channels() == []
