"""The dashboard in a browser: what it shows, what its buttons do, and what hostile guests can show in it."""

from __future__ import annotations

import asyncio
import re
import shutil
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from tests.tiers import thorough_but

from .api import key
from .browser import Browser
from .clients import ECHO_C, bound, registered
from .conftest import StartNode, home_in, starting
from .daemon import Daemon
from .dashboard import SERVED, dashboard_url, link
from .packages import MODULES, package
from .waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

BILLBOARD: Final = "billboard:billboard:test.os"
PAYLOAD: Final = "<img src=x onerror='window.hit=1'><script>window.hit=2</script>\u202e{{7*7}}"
AXE: Final = MODULES / "axe-core/axe.min.js"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> AsyncIterator[Daemon]:
    """One node for all tests here: they leave it as they found it."""
    count = iter(range(100))

    def new_home() -> Path:
        return home_in(tmp_path_factory.mktemp(f"dashboard-{next(count)}"), compiled)

    async with starting(new_home, compiled) as start:
        yield await start("echo-c", "billboard", settings=SERVED)


async def enter(browser: Browser, node: Daemon, role: str = "admin", **person: Any) -> Page:
    """Somebody at the dashboard, logged in by a link."""
    page = await (await browser.person(**person)).new_page()
    await page.goto(await link(node, role))
    await expect(page.get_by_role("heading", name="Processes")).to_be_visible()
    return page


async def see(page: Page, place: str) -> None:
    """Go to a view."""
    await page.evaluate("place => { location.hash = place; }", f"#/{place}")


async def see_process(page: Page, process: str) -> None:
    await see(page, f"process/{process.replace(':', '%3A')}")
    await expect(page.get_by_role("heading", name=process)).to_be_visible()


async def test_a_link_logs_in_once_and_leaves_no_trace(browser: Browser, node: Daemon) -> None:
    person = await browser.person()
    page = await person.new_page()
    url = await link(node, "read")
    await page.goto(url)
    row = page.get_by_role("row", name=re.compile("^echo-c"))
    await expect(row).to_contain_text("running")
    assert url.partition("#")[2] not in page.url
    assert await person.cookies() == []
    assert await page.evaluate("localStorage.length") == 0
    await page.reload()
    await expect(row).to_contain_text("running")
    other = await person.new_page()
    await other.goto(url)
    await expect(other.get_by_role("alert")).to_contain_text("not valid")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("API key")).to_be_focused()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_key_logs_in_and_a_wrong_one_does_not(browser: Browser, node: Daemon) -> None:
    text = await key(node, "read", name="typed")
    page = await (await browser.person()).new_page()
    await page.goto(await dashboard_url(node))
    await page.get_by_label("API key").fill("ghk_wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not valid")
    await page.get_by_label("API key").fill(text)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("typed · read only")).to_be_visible()
    await node.ask("api-key-revoke", name="typed")
    await expect(page.get_by_role("alert")).to_contain_text("the key was revoked")


async def test_the_table_lives(browser: Browser, node: Daemon) -> None:
    page = await enter(browser, node, "read")
    row = page.get_by_role("row", name=re.compile("^echo-c"))
    await expect(row.locator(".c-channels")).to_have_text("0")
    async with registered(node, ECHO_C, await node.token()) as client:
        await expect(row.locator(".c-channels")).to_have_text("1")
        while await row.locator(".c-rate").inner_text() in ("", "0"):
            await client.ask("x" * 100)
        points = await row.locator("polyline").get_attribute("points")
        assert points is not None
        assert len({point.partition(",")[2] for point in points.split()}) > 1, "the sparkline moves"
    await page.keyboard.press("/")
    await page.keyboard.type("billb")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.get_by_label("Filter processes").fill("")
    await page.get_by_role("button", name="Process", exact=True).click()
    await expect(page.locator("tbody tr").first).to_contain_text("echo-c")


@pytest.mark.thorough
async def test_a_tab_that_nobody_sees_watches_nothing(browser: Browser, node: Daemon) -> None:
    page = await (await browser.person()).new_page()
    said: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: said.append(str(frame))))
    await page.goto(await link(node, "read"))
    await expect(page.get_by_role("row", name=re.compile("^echo-c"))).to_be_visible()
    for hidden, word in ((True, '"leave"'), (False, '"watch"')):
        said.clear()
        await page.evaluate(
            """hidden => {
                Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )
        await until(lambda: asyncio.sleep(0, "".join(said)), re.compile(word).search, word)


@pytest.mark.thorough
async def test_who_may_only_see_has_nothing_to_press(browser: Browser, node: Daemon) -> None:
    page = await enter(browser, node, "read")
    await expect(page.get_by_role("link", name="Keys")).to_have_count(0)
    async with registered(node, ECHO_C, await node.token()):
        await see_process(page, ECHO_C)
        await expect(page.get_by_role("region", name="Open channels").locator("tbody tr")).to_have_count(1)
        for name in ("Restart", "Stop", "Close", "Open channel", "Roll back"):
            await expect(page.get_by_role("button", name=name)).to_have_count(0)
        await see(page, "packages")
        await expect(page.get_by_role("table")).to_contain_text("echo-c:guesthouse.os")
        await expect(page.get_by_text("Choose a package")).to_have_count(0)
        await see(page, "tokens")
        await expect(page.get_by_role("region", name="Tokens in use").locator("tbody tr")).to_have_count(1)
        await expect(page.get_by_role("button", name="Revoke")).to_have_count(0)


@pytest.mark.thorough
async def test_a_process_is_restarted_and_its_channel_closed(browser: Browser, node: Daemon) -> None:
    page = await enter(browser, node)
    async with registered(node, ECHO_C, await node.token()) as client:
        await see_process(page, ECHO_C)
        await page.get_by_role("button", name="Restart").click()
        await expect(page.get_by_text("echo-c is running")).to_be_visible()
        await client.ask("still open")
        await page.get_by_role("button", name=f"Close channel {client.channel_id}").click()
        assert (await client.closed())[0] == 1000
    await expect(page.get_by_text("No channel is open.")).to_be_visible()
    await page.get_by_role("button", name="Stop").click()
    await page.keyboard.press("Escape")
    assert (await node.ps())[ECHO_C]["state"] == "running"
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    await expect(page.locator(".title .pill")).to_have_text("stopped")
    await page.get_by_role("button", name="Restart").click()
    await expect(page.locator(".title .pill")).to_have_text("running")


@pytest.mark.thorough
async def test_the_console_talks_to_a_process(browser: Browser, node: Daemon) -> None:
    page = await enter(browser, node)
    await see_process(page, ECHO_C)
    await page.get_by_role("button", name="Open channel").click()
    message = page.get_by_label("Message", exact=True)
    await expect(message).to_be_focused()
    await page.keyboard.type('{"a":[1,"<b>"]}')
    await page.keyboard.press("Enter")
    heard = page.get_by_role("list", name="Messages")
    await expect(heard.locator("li.in pre")).to_have_text('{\n  "a": [\n    1,\n    "<b>"\n  ]\n}')
    await see(page, "processes")
    await node.no_channels()


async def test_what_guests_say_is_shown_and_never_run(browser: Browser, node: Daemon) -> None:
    page = await enter(browser, node)
    async with bound(node, BILLBOARD, f"/board?{PAYLOAD}", await node.token()) as client:
        assert await client.ask(PAYLOAD) == PAYLOAD
        await see_process(page, BILLBOARD)
        await expect(page.get_by_role("list", name="Lines of the log")).to_contain_text(
            "<script>window.hit=2</script>"
        )
        await expect(page.get_by_role("list", name="Lines of the log")).not_to_contain_text("\u202e")
        await page.get_by_text("It holds").click()
        await expect(page.get_by_role("region", name="Capabilities")).to_contain_text("window.hit=3")
    await page.get_by_label("Path").fill("/board")
    await page.get_by_role("button", name="Open channel").click()
    for text in (PAYLOAD, f"close {PAYLOAD[:60]}"):
        await page.get_by_label("Message", exact=True).fill(text)
        await page.keyboard.press("Enter")
    await expect(page.get_by_role("list", name="Messages")).to_contain_text(
        "closed with 4000: <img src=x onerror"
    )
    await see(page, "packages")
    await expect(page.get_by_role("table")).to_contain_text("window.hit=3")
    await see(page, "log")
    await expect(page.get_by_role("list", name="Lines of the log")).to_contain_text("<img src=x")
    await see(page, "process/" + "%3Cimg%20src%3Dx%20onerror%3Dwindow.hit%3D4%3E")
    await expect(page.get_by_role("heading", name="<img src=x")).to_be_visible()
    assert await page.evaluate("window.hit") is None
    assert await page.locator("main img, main script").count() == 0
    browser.problems[:] = [each for each in browser.problems if "problem" not in each]


@pytest.mark.thorough
async def test_why_a_process_died_is_said(browser: Browser, node: Daemon) -> None:
    page = await enter(browser, node)
    async with bound(node, BILLBOARD, "/board", await node.token()) as client:
        await client.send("trap")
        await client.closed()
    row = page.get_by_role("row", name=re.compile("^billboard"))
    await expect(row).to_contain_text("failed")
    await expect(row.locator(".why")).to_contain_text("trap")
    await expect(page.locator("#health")).to_have_text("1 failed")
    await see_process(page, BILLBOARD)
    await expect(page.locator(".problem")).to_contain_text("It ended at")
    await page.get_by_role("button", name="Restart").click()
    await expect(page.locator(".title .pill")).to_have_text("running")


@pytest.mark.thorough
async def test_a_package_is_dropped_confirmed_installed_and_rolled_back(
    browser: Browser, node: Daemon, tmp_path: Path
) -> None:
    page = await enter(browser, node)
    await see(page, "packages")
    source = package("puppet")
    folder = tmp_path / "puppet"
    shutil.copytree(source, folder)
    manifest = (
        (folder / "package.toml").read_text().replace('publisher = "test.os"', 'publisher = "dropped.os"')
    )
    archives = []
    for version in ("0.1.0", "0.2.0"):
        (folder / "package.toml").write_text(manifest.replace('version = "0.1.0"', f'version = "{version}"'))
        archives.append(tmp_path / f"{version}.zip")
        with zipfile.ZipFile(archives[-1], "w") as archive:
            for name in ("package.toml", "build/puppet.wasm"):
                archive.write(folder / name, name)
    await _drop(page, archives[0])
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("puppet:dropped.os 0.1.0")
    await expect(dialog).to_contain_text("kv:distro:sys")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_text("Nothing was installed.")).to_be_visible()
    await _drop(page, archives[0])
    await dialog.get_by_role("button", name="Grant and install").click()
    await expect(page.get_by_text("puppet:dropped.os 0.1.0 runs.")).to_be_visible()
    await page.get_by_label("Choose a package").set_input_files(archives[1])
    await expect(dialog).to_contain_text("nothing beyond")
    await dialog.get_by_role("button", name="Install").click()
    await expect(page.get_by_text("puppet:dropped.os 0.2.0 runs.")).to_be_visible()
    await page.get_by_role("button", name="Roll back to 0.1.0").click()
    await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(page.get_by_text("puppet:dropped.os 0.1.0 runs", exact=True)).to_be_visible()
    (tmp_path / "<img src=x onerror=window.hit=1>.zip").write_bytes(b"PK\0\0")
    await _drop(page, tmp_path / "<img src=x onerror=window.hit=1>.zip")
    await expect(page.locator(".status.problem")).to_contain_text("<img src=x")
    assert await page.evaluate("window.hit") is None
    assert (await node.cli("uninstall", "puppet:dropped.os", "--purge")).code == 0


async def _drop(page: Page, file: Path) -> None:
    """Drop a file on the page, as from a desktop."""
    content = await asyncio.to_thread(file.read_bytes)
    data = await page.evaluate_handle(
        """([bytes, name]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name));
            return data;
        }""",
        [list(content), file.name],
    )
    await page.dispatch_event(".drop", "drop", {"dataTransfer": data})


@pytest.mark.thorough
async def test_tokens_and_keys_are_revoked(browser: Browser, node: Daemon) -> None:
    page = await enter(browser, node)
    await key(node, "push", name="old-backend", process=ECHO_C)
    async with registered(node, ECHO_C, await node.token()) as client:
        await see(page, "tokens")
        await page.get_by_role("button", name="Revoke").click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        assert (await client.closed())[0] == 1008
        await expect(page.get_by_text("No channel was opened with a token.")).to_be_visible()
    await see(page, "keys")
    await page.get_by_role("button", name="Revoke the key old-backend").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.get_by_role("row", name=re.compile("old-backend"))).to_have_count(0)
    assert "old-backend" not in {item["name"] for item in await node.ask("api-keys")}


async def test_pages_of_guests_and_frames_get_nothing(browser: Browser, node: Daemon) -> None:
    """From the origin of a guest's page: its socket is refused, and the dashboard is in no frame."""
    page = await (await browser.person()).new_page()
    url = await dashboard_url(node)
    guest = "http://guest.localhost:1/"
    await page.route(
        guest, lambda route: route.fulfill(body=f'<iframe src="{url}"></iframe>', content_type="text/html")
    )
    await page.goto(guest)
    (frame,) = page.frames[1:]
    assert await frame.locator("#main").count() == 0
    refused = await page.evaluate(
        """url => new Promise(resolve => {
            const socket = new WebSocket(url);
            socket.onopen = () => resolve("open");
            socket.onclose = ({ code }) => resolve(code);
        })""",
        url.replace("http", "ws", 1) + "socket",
    )
    assert refused == 1006
    browser.expect_problems()


UNREACHED: Final = """["html", "nav", "#bar", ".flush"].filter(name => {
    const part = document.querySelector(name);
    const scrolls = part && name === ".flush" && getComputedStyle(part).overflowX === "auto";
    return part && part.scrollWidth > part.clientWidth && !scrolls;
})"""
"""What is wider than it is shown: of the page and its bar nothing, of a table only what can be scrolled to."""
VIEWS: Final = ("processes", f"process/{ECHO_C.replace(':', '%3A')}", "packages", "tokens", "keys", "log")


@pytest.mark.thorough
@pytest.mark.parametrize("scheme", thorough_but(["light", "dark"], "light"))
async def test_every_view_is_accessible(browser: Browser, node: Daemon, scheme: str) -> None:
    """By axe-core: names, roles, contrast, and what the keyboard reaches."""
    page = await enter(browser, node)
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    async with registered(node, ECHO_C, await node.token()):
        for view in VIEWS:
            await see(page, view)
            await expect(page.locator("main h1")).to_be_visible()
            await expect(page.locator("main table, main .log li").first).to_be_visible()
            assert await _violations(page, "color-contrast" if scheme == "dark" else None) == [], view
        for width in (320, 390, 720, 1000):
            await page.set_viewport_size({"width": width, "height": 800})
            for view in VIEWS:
                await see(page, view)
                await expect(page.locator("main table, main .log li").first).to_be_visible()
                assert await page.evaluate(UNREACHED) == [], f"{view} at a width of {width}"
    await page.set_viewport_size({"width": 390, "height": 800})
    await see(page, "processes")
    await expect(page.locator("main tbody tr").first).to_be_visible()
    assert await _violations(page) == []
    await see(page, "__proto__")
    await expect(page.get_by_role("heading", name="Processes")).to_be_visible()
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    assert await _violations(page) == []


async def _violations(page: Page, rule: str | None = None) -> list[object]:
    """What axe-core finds, by all rules or one. It is evaluated past the page's policy, which lets no script in."""
    await page.evaluate(f"window.axe || (() => {{ {AXE.read_text()} }})()")
    rules = [rule] if rule else ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    all_alike = ".log li:nth-child(n+9)"  # hundreds of lines, which take it half a minute
    found = await page.evaluate(
        "([out, runOnly]) => axe.run({ exclude: [out] }, { runOnly })", [all_alike, rules]
    )
    return [
        (each["id"], [item["html"][:200] for item in each["nodes"]], each["nodes"][0]["failureSummary"][:300])
        for each in found["violations"]
    ]


async def test_it_is_operated_by_keys_alone(browser: Browser, node: Daemon) -> None:
    page = await enter(browser, node)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    seen: list[str] = []
    while "echo-c" not in (seen[-1] if seen else ""):
        await page.keyboard.press("Tab")
        seen.append(await page.evaluate("document.activeElement.textContent"))
        assert len(seen) < 30, seen
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=ECHO_C)).to_be_visible()


@pytest.mark.thorough
async def test_a_page_goes_on_when_the_node_is_back(
    browser: Browser, start_for_browser: StartNode, new_home: Callable[[], Path]
) -> None:
    home = new_home()
    node = await start_for_browser("echo-c", home=home, settings=SERVED)
    page = await enter(browser, node)
    browser.expect_problems()
    await node.terminate()
    await expect(page.locator("#lost")).to_contain_text("Trying again")
    port = (page.url.split(":")[2]).partition("/")[0]
    await start_for_browser("echo-c", home=home, settings=SERVED | {"api_port": port})
    await expect(page.locator("#lost")).to_be_hidden()
    await expect(page.get_by_role("row", name=re.compile("^echo-c"))).to_contain_text("running")
