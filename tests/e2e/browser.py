"""Chromium, headless, driven by Playwright. What goes wrong in a page fails the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, ConsoleMessage, Error, Page, Playwright, Request, expect
from tests.patience import PATIENCE

CHROMIUM: Final = "/usr/bin/chromium"
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SANDBOXED: Final = "An iframe which has both allow-scripts and allow-same-origin for its sandbox attribute"
"""Of pages that share their origin: theirs is no sandbox of an `iframe`."""
_PATIENCE_MS: Final = 1000 * PATIENCE

expect.set_options(timeout=_PATIENCE_MS)


@dataclass
class Browser:
    """A running Chromium, and what went wrong in the pages of those who came in by this."""

    chromium: Chromium
    problems: list[str] = field(default_factory=list)
    people: list[BrowserContext] = field(default_factory=list)
    all_expected: bool = False
    may_abort: str = ""
    """In the URL of requests that a page may leave behind, as it goes on to another."""

    async def person(
        self, width: int = 1000, height: int = 700, *, agent: str | None = None
    ) -> BrowserContext:
        """A person with cookies and storage of their own; their tabs share them. `agent` is the browser that it says
        it is.
        """
        context = await self.chromium.new_context(
            viewport={"width": width, "height": height}, user_agent=agent
        )
        context.set_default_timeout(_PATIENCE_MS)
        context.on("page", self._watch)
        self.people.append(context)
        return context

    def expect_problem(self, text: str) -> None:
        """Take the one problem back that a test provoked."""
        (problem,) = [problem for problem in self.problems if text in problem]
        self.problems.remove(problem)

    def expect_problems(self) -> None:
        """Take back what a test provoked, and what the browser tells of it late."""
        self.problems.clear()
        self.all_expected = True

    def _watch(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("requestfailed", self._on_failed)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_SANDBOXED):
            self.problems.append(f"{message.type}: {message.text} ({message.location})")

    def _on_error(self, error: Error) -> None:
        self.problems.append(f"uncaught: {error}")

    def _on_failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED" or not self.may_abort or self.may_abort not in request.url:
            self.problems.append(f"failed: {request.url}: {request.failure}")


@asynccontextmanager
async def chromium_of(playwright: Playwright, *arguments: str) -> AsyncIterator[Chromium]:
    """Start Chromium, with more arguments; at the end it has stopped."""
    chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*_ARGUMENTS, *arguments])
    try:
        yield chromium
    finally:
        await chromium.close()


@asynccontextmanager
async def browsing(chromium: Chromium) -> AsyncIterator[Browser]:
    """People at a Chromium; at the end they have left, and nothing went wrong in their pages."""
    browser = Browser(chromium)
    try:
        yield browser
    finally:
        for person in browser.people:
            await person.close()
    assert browser.all_expected or not browser.problems, browser.problems
