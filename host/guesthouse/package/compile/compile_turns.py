"""Who compiles next, where one component is compiled at a time.

Packages take turns, each with one component: one that has many, or slow ones, holds up another for one of them, whose
time is limited. Within a package they are compiled in the order in which they were asked for.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CompileTurns:
    """Lets one caller through at a time, of another package each time where several wait."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, package: str) -> AsyncIterator[None]:
        """Wait for a turn of a package's, and have it inside the block. Cancelling gives it up."""
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
                self._next()  # it had come
            raise

    def _next(self) -> None:
        """Give the turn to the package that has waited for one for the longest."""
        while self._waiting:
            package, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[package] = turns
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._busy = False
