"""The dashboard's parts without a browser: what a page weighs, links, the list of tokens, and what watching costs."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from guesthouse.core.address import ProcessId
from guesthouse.http_api.api_keys import Role
from guesthouse.http_api.caller import Caller
from guesthouse.http_api.dashboard import feed as feed_module
from guesthouse.http_api.dashboard import pages
from guesthouse.http_api.dashboard.feed import SHOWN, Feed
from guesthouse.http_api.dashboard.login_links import MOST_TICKETS, TICKET_SECONDS, LoginLinks
from guesthouse.http_api.dashboard.token_list import tokens_in_use
from guesthouse.http_server.state.channels import ChannelRecord


def test_the_page_stays_small() -> None:
    files = {path.name: path.read_bytes() for path in pages._FILES.iterdir()}
    assert sum(map(len, files.values())) < 64 * 1024
    assert sum(len(gzip.compress(data)) for data in files.values()) < 24 * 1024
    for name, data in files.items():
        assert b"innerHTML" not in data, name
        assert b"http://" not in data.replace(b"http://www.w3.org/", b""), name
        assert b"https://" not in data, name


def test_the_pictures_of_the_documentation_are_there_and_small() -> None:
    root = Path(__file__).parents[3]
    shown = set(re.findall(r"images/([\w-]+\.png)", (root / "docs/dashboard.md").read_text()))
    pictures = {path.name: path.stat().st_size for path in (root / "docs/images").glob("dashboard-*.png")}
    assert pictures.keys() == shown
    assert max(pictures.values()) < 128 * 1024


def test_a_ticket_is_good_once_and_for_ten_minutes() -> None:
    tickets = LoginLinks()
    one, late = tickets.issue(Role.READ, 60, 100.0), tickets.issue(Role.ADMIN, 60, 100.0)
    used = tickets.use(one, 100.0 + TICKET_SECONDS - 1)
    assert used is not None
    assert (used.role, used.seconds) == (Role.READ, 60)
    assert tickets.use(one, 101.0) is None
    assert tickets.use(late, 100.0 + TICKET_SECONDS) is None
    assert tickets.use("\ud800", 100.0) is None


def test_no_more_tickets_are_kept_than_that() -> None:
    tickets = LoginLinks()
    issued = [tickets.issue(Role.READ, 60, 0.0) for _ in range(MOST_TICKETS + 1)]
    assert tickets.use(issued[0], 1.0) is None
    assert all(tickets.use(text, 1.0) for text in issued[1:])


def record(number: int, client: str) -> ChannelRecord:
    return ChannelRecord(number, ProcessId("echo", "echo", "test.os"), "/", client, 10.0 + number, 0, 0, 0)


def test_tokens_are_listed_by_their_channels_and_without_bound_on_nothing() -> None:
    channels = [("a", record(1, "x")), *(("b", record(number, str(number))) for number in range(100))]
    listed = tokens_in_use(channels, 50.0)
    assert [(item["family"], item["channels"]) for item in listed["tokens"]] == [("b", 100), ("a", 1)]
    assert listed["tokens"][0]["open_seconds"] == 40.0
    assert len(listed["tokens"][0]["clients"]) == 8
    many = tokens_in_use(((str(number), record(number, "x")) for number in range(700)), 50.0)
    assert (many["count"], len(many["tokens"])) == (700, 500)


class _Viewer:
    def __init__(self, process: str | None = None) -> None:
        self.caller = Caller("somebody", Role.READ, process)
        self.shown: list[bytes] = []
        self.came = asyncio.Event()

    def show(self, frame: bytes) -> None:
        self.shown.append(frame)
        self.came.set()


class _Node:
    """What the feed asks of a node beside its processes."""

    started, stopping, draining = True, False, False

    class http:  # noqa: N801 - stands for an object
        connections = 3

    class workers:  # noqa: N801
        @staticmethod
        def alive() -> list[Any]:
            return []


async def test_nothing_is_read_while_nobody_watches_and_once_for_all_who_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = 0

    async def rows(_: object) -> AsyncIterator[dict[str, Any]]:
        nonlocal reads
        reads += 1
        for name in ("a:b:c", "d:e:f"):
            yield {**dict.fromkeys(SHOWN), "process": name}

    monkeypatch.setattr(feed_module, "process_rows", rows)
    feed = Feed(_Node())  # type: ignore[arg-type]
    running = asyncio.create_task(feed.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert reads == 0
    viewers = [_Viewer() for _ in range(100)]
    narrow = _Viewer("d:e:f")
    for viewer in (*viewers, narrow):
        feed.join(viewer)
    await asyncio.gather(*(viewer.came.wait() for viewer in (*viewers, narrow)))
    assert reads == 1
    late = _Viewer()
    feed.join(late)
    assert late.shown == viewers[0].shown[:1], "it is shown at once what was just read"
    assert b"a:b:c" in late.shown[0]
    assert b"a:b:c" not in narrow.shown[0]
    assert b"connections" not in narrow.shown[0]
    for viewer in (*viewers, narrow, late):
        feed.leave(viewer)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert feed.reads == reads == 1
