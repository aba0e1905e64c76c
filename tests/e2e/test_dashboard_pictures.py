"""The pictures of `docs/dashboard.md`. With `GUESTHOUSE_PICTURES=1` they are taken anew (`make pictures`)."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Page, expect
from websockets.exceptions import ConnectionClosed

from .browser import Browser
from .clients import bound, registered
from .conftest import StartNode
from .daemon import Daemon
from .dashboard import SERVED, link
from .packages import ROOT, package

pytestmark = [pytest.mark.thorough, pytest.mark.asyncio(loop_scope="session")]

WANTED: Final = "GUESTHOUSE_PICTURES" in os.environ
PICTURES: Final = ROOT / "docs/images"
BUSY: Final = ("chat:chat:guesthouse.os", "lobby:games:example.os", "mailer:mail:example.os")


@asynccontextmanager
async def talking(daemon: Daemon, process: str, pause: float) -> AsyncIterator[None]:
    """A client that talks with a process, now more, now less."""
    async with registered(daemon, process, await daemon.token()) as client:

        async def talk() -> None:
            with suppress(ConnectionClosed):
                while True:
                    for _ in range(random.randrange(1, 6)):
                        await client.ask("hello")
                    await asyncio.sleep(pause)  # the rhythm of a client; nothing is measured

        task = asyncio.create_task(talk())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_pictures(browser: Browser, start_for_browser: StartNode, tmp_path: Path) -> None:
    component = package("echo-c") / "build/echo-c.wasm"
    daemon = await start_for_browser(
        *(f"{process}={component}" for process in BUSY), "billboard", settings=SERVED, node="guesthouse.os"
    )
    folder = PICTURES if WANTED else tmp_path
    page = await (await browser.person(1180, 640)).new_page()
    await page.goto(await link(daemon))
    async with bound(daemon, "billboard:billboard:test.os", "/board", await daemon.token()) as client:
        await client.send("trap")
        await client.closed()
    async with AsyncExitStack() as stack:
        for process, pause in zip(BUSY, (0.05, 0.2, 1.0), strict=True):
            await stack.enter_async_context(talking(daemon, process, pause))
        await stack.enter_async_context(registered(daemon, BUSY[0], await daemon.token()))
        await _samples(page, 40 if WANTED else 2)
        await _take(page, folder, "dashboard-dark", "dark")
        await _take(page, folder, "dashboard-light", "light")
        await page.get_by_role("link", name=BUSY[0]).click()
        await page.get_by_role("button", name="Open channel").click()
        await page.get_by_label("Message", exact=True).fill('{"say": "hello"}')
        await page.keyboard.press("Enter")
        await expect(page.locator(".talk .in")).to_be_visible()
        await expect(
            page.get_by_role("region", name="Open channels").locator("tbody tr").nth(2)
        ).to_be_visible()
        await page.set_viewport_size({"width": 1180, "height": 980})
        await _take(page, folder, "dashboard-process", "light")
        await page.set_viewport_size({"width": 390, "height": 780})
        await page.get_by_role("link", name="Processes", exact=True).click()
        await expect(page.get_by_role("heading", name="Processes")).to_be_visible()
        await _take(page, folder, "dashboard-phone", "dark")
    assert len(list(folder.glob("dashboard-*.png"))) == 4


async def _samples(page: Page, count: int) -> None:
    line = page.get_by_role("row", name=BUSY[0].split(":")[0]).locator("polyline")
    await expect(line).to_have_attribute("points", re.compile(rf"^(\S+ ){{{count - 1},}}\S+$"))


async def _take(page: Page, folder: Path, name: str, scheme: str) -> None:
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    await page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    await page.screenshot(path=folder / f"{name}.png")
