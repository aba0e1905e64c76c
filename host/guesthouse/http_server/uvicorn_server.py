"""uvicorn's server as a part of a node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from uvicorn.config import Config
from uvicorn.server import Server


class PartServer(Server):
    """uvicorn's server that leaves signals to the node, and serves until `ending` is set."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Renew the `Date` header each second until the end: uvicorn's own loop looks ten times as often."""
        while not self.ending.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), 1)
