"""What the pages show of all processes, read once for all of them, and only while somebody watches."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, Protocol

from guesthouse.http_api.caller import Caller
from guesthouse.http_api.dashboard.page_messages import event
from guesthouse.http_api.dashboard.socket import framed
from guesthouse.http_api.rows import AdministeredNode, process_rows
from guesthouse.monitoring.figures import unready_reasons

EVERY_SECONDS: Final = 1.0
_FRESH_SECONDS: Final = 1.0
_MOST_SHARE: Final = 0.05
"""Of the time may be spent on reading: with many processes and channels it is read less often."""
SHOWN: Final = (
    *("process", "state", "version", "restarts", "up_seconds", "last_end", "cpu_seconds", "memory_bytes"),
    *("mailbox_messages", "mailbox_bytes", "channels", "away", "messages_in", "messages_out"),
)
"""What a table shows of a process. Rates are the page's to count: what is sent are totals."""


class Viewer(Protocol):
    """Who watches."""

    caller: Caller

    def show(self, frame: bytes) -> None:
        """Send what is new, or leave it out if the page does not keep up."""


class Feed:
    """Reads the processes for those who watch.

    Args:
        node: whose.
    """

    def __init__(self, node: AdministeredNode) -> None:
        self._node = node
        self._viewers: dict[Viewer, None] = {}
        self._joined = asyncio.Event()
        self._rows: list[dict[str, Any]] = []
        self._told: dict[str, Any] = {}
        self._read_at = -_FRESH_SECONDS
        self.reads = 0
        """How often it has read."""

    def join(self, viewer: Viewer) -> None:
        """Show the processes to somebody, at once and from now on. What was read just now is not read again."""
        self._viewers[viewer] = None
        self._joined.set()
        if time.monotonic() - self._read_at < _FRESH_SECONDS:
            viewer.show(_frame(self._rows, self._told, viewer.caller.process))

    def leave(self, viewer: Viewer) -> None:
        """Show them no more."""
        self._viewers.pop(viewer, None)

    async def run(self) -> None:
        """Serve the viewers, until cancelled. Nothing happens while there are none."""
        while True:
            await self._joined.wait()
            while self._viewers:
                began = time.perf_counter()
                await self._read()
                took = time.perf_counter() - began
                await asyncio.sleep(max(EVERY_SECONDS, took / _MOST_SHARE))
            self._joined.clear()

    async def _read(self) -> None:
        self.reads += 1
        node = self._node
        self._rows = [{name: row[name] for name in SHOWN} async for row in process_rows(node)]
        self._read_at = time.monotonic()
        self._told = {
            "at": self._read_at,
            "reasons": list(unready_reasons(node)),
            "connections": node.http.connections,
            "workers": sum(worker.ready for worker in node.workers.alive()),
        }
        frames: dict[str | None, bytes] = {}
        for viewer in tuple(self._viewers):
            only = viewer.caller.process
            if only not in frames:
                frames[only] = _frame(self._rows, self._told, only)
            viewer.show(frames[only])


def _frame(rows: list[dict[str, Any]], told: dict[str, Any], only: str | None) -> bytes:
    """What somebody may see. Of the node's own figures, those whose key is for one process see none."""
    if only is None:
        return framed(event("processes", processes=rows, **told))
    own = [row for row in rows if row["process"] == only]
    return framed(event("processes", processes=own, at=told["at"], reasons=[]))
