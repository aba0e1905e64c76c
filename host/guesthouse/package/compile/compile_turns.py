"""Decides who compiles next; one component is compiled at a time.

Packages take turns by component, so that one with many or slow ones delays another by one compile at most, whose
time is limited. Within a package the order is that of the requests.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CompileTurns:
    """Admits one caller at a time, round robin over packages."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, package: str) -> AsyncIterator[None]:
        """Wait for a package's turn, and hold it inside the block. May be cancelled."""
        if self._busy:
            await self._wait(package)
        self._busy = True
        try:
            yield
        finally:
            self._next()

    async def _wait(self, package: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(package, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._next()  # it was granted concurrently
            raise

    def _next(self) -> None:
        """Give the turn to the package that has waited longest."""
        while self._waiting:
            package, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[package] = turns
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._busy = False
