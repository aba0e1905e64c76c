"""So much at a time, and no more, of what takes a CPU: of many who want it at once, the first have it done while the
others wait. Who turns out to take long holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ConcurrencyLimiter:
    """Let a number of callers through at a time, in the order in which they came.

    Args:
        count: how many.
        seconds: after so long in it a caller no longer counts.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._seconds = seconds
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and have it inside the block or for `seconds`. Cancelling gives it up."""
        await self._free.acquire()
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self._seconds, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()
