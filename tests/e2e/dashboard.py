"""A node's dashboard as its page sees it: links, and the WebSocket that it asks by."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from tests.patience import PATIENCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .daemon import Daemon

SERVED: Final = {"api_port": 0, "api_dashboard": "true"}
_MOST_BYTES: Final = 64 * 2**20


async def dashboard_url(daemon: Daemon) -> str:
    """Where the dashboard of a node is."""
    line = await daemon.log_line("api", "shows the dashboard at")
    text: str = line["text"]
    return text.removeprefix("shows the dashboard at ")


async def link(daemon: Daemon, role: str = "admin", seconds: int = 3600) -> str:
    """A link that logs in once."""
    (made,) = await daemon.ask("dashboard-link", role=role, seconds=seconds)
    url: str = made["url"]
    return url


class Refused(Exception):
    """The node refused a request of a page."""

    def __init__(self, code: str, detail: str | None) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail or ""


class PageSocket:
    """An open socket. What arrives that is not waited for is kept, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._ids = itertools.count(1)
        self._kept: list[dict[str, Any]] = []

    async def say(self, message: object) -> None:
        """Send a message."""
        await self.socket.send(json.dumps(message))

    async def ask(self, do: str, **arguments: object) -> Any:
        """Ask for something, and wait for the answer."""
        asked = next(self._ids)
        await self.say({"id": asked, "do": do, "with": arguments})
        answer = await self.answer(asked)
        if "problem" in answer:
            raise Refused(answer["problem"]["code"], answer["problem"]["detail"])
        return answer["gives"]

    async def answer(self, asked: int) -> dict[str, Any]:
        """What the node answers to a request."""
        return await self._next(lambda told: told.get("id") == asked)

    async def event(self, name: str, **fields: object) -> dict[str, Any]:
        """The next event of that name, which has these fields."""
        return await self._next(lambda told: told.get("event") == name and fields.items() <= told.items())

    async def _next(self, wanted: Any) -> dict[str, Any]:
        for told in self._kept:
            if wanted(told):
                self._kept.remove(told)
                return told
        while True:
            told = json.loads(await self.socket.recv())
            if wanted(told):
                return dict(told)
            self._kept.append(told)


@asynccontextmanager
async def page_socket(url: str, login: object | None = None, **headers: str) -> AsyncIterator[PageSocket]:
    """A socket opened as the page at a URL does, and logged in."""
    origin = headers.pop("Origin", url.partition("/dashboard")[0])
    where = url.partition("#")[0].replace("http", "ws", 1) + "socket"
    async with connect(
        where,
        origin=origin or None,  # type: ignore[arg-type] # a plain string
        additional_headers=headers,
        proxy=None,
        max_size=_MOST_BYTES,
        open_timeout=PATIENCE,
    ) as socket:
        page = PageSocket(socket)
        if login is not None:
            await page.say(login)
        yield page


@asynccontextmanager
async def logged_in(daemon: Daemon, role: str = "admin") -> AsyncIterator[PageSocket]:
    """A page that has logged in by a link."""
    url = await link(daemon, role)
    async with page_socket(url, {"ticket": url.partition("#")[2]}) as page:
        hello = await page.event("hello")
        assert hello["role"] == role
        yield page


async def closed(page: PageSocket) -> tuple[int, str]:
    """Code and reason by which the node closes the socket of a page."""
    with pytest.raises(ConnectionClosed) as caught:
        await _read_all(page)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def _read_all(page: PageSocket) -> None:
    while True:
        await page.socket.recv()
