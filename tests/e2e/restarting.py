"""Restarts of nodes, and clients of an echo over them, which count what they send and get back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from tests.patience import PATIENCE

from guesthouse.control.control_client import NoNode
from guesthouse_client import Channel, connect

from .daemon import Daemon
from .waiting import until

AHEAD = 40
"""Messages that a client sends before it has received the answers."""
OPTIONS: dict[str, Any] = {"open_seconds": PATIENCE, "close_seconds": PATIENCE, "proxy": None}


def numbered(number: int) -> str | bytes:
    """A message that says its number; some are binary, some begin with the escape, some are long."""
    message = f"{number} " + "x" * (number * 37 % 900)
    return message.encode() if number % 3 == 0 else "\x10" * (number % 4) + message


class CountingClient:
    """One client. Inside the block it sends; `finish` waits for the last answer."""

    def __init__(self, daemon: Daemon, process: str, token: str, **options: Any) -> None:
        self._open = connect(
            daemon.ws_url, process=process, token=token, on_lost=self._lost, **OPTIONS | options
        )
        self._encrypted = options.get("encrypted", False)
        self._ahead = asyncio.Semaphore(AHEAD)
        self._ends = asyncio.Event()
        self.sent = self.received = 0
        self.losses: list[object] = []
        self.ids: set[int | None] = set()

    def _lost(self, lost: object) -> None:
        self.losses.append(lost)

    async def run(self) -> None:
        """Send until `finish`; each answer comes once, in order."""
        async with self._open as channel, asyncio.TaskGroup() as tasks:
            self.ids.add(channel.id)
            sending = tasks.create_task(self._send(channel))
            async for message in channel:
                if message in ("end", b"end"):
                    break
                sent = numbered(self.received)
                assert message == (sent.encode() if self._encrypted and isinstance(sent, str) else sent)
                self.received += 1
                self._ahead.release()
            self.ids.add(channel.id)
            await sending

    async def _send(self, channel: Channel) -> None:
        while not self._ends.is_set():
            await self._ahead.acquire()
            await channel.send(numbered(self.sent))
            self.sent += 1
        await channel.send("end")

    def finish(self) -> None:
        """Send no more than the end."""
        self._ends.set()

    def check(self) -> None:
        """Nothing was lost or doubled, in one channel."""
        assert (self.received, self.losses, len(self.ids)) == (self.sent, [], 1)


async def restart(daemon: Daemon) -> None:
    """Restart a node, as `guesthouse restart-node` does, until it serves again."""
    (ended,) = await daemon.ask("restart-node")

    async def node() -> dict[str, Any]:
        with suppress(NoNode):
            (found,) = await daemon.ask("node")
            return dict(found)
        return {}

    await until(node, lambda found: found.get("started") and found["run"] != ended["run"], "it serves again")
