"""Limits concurrent CPU-bound work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ConcurrencyLimiter:
    """A FIFO semaphore whose holders stop counting after a time, so that slow ones do not hold up others.

    Args:
        count: maximum holders.
        seconds: after which a holder no longer counts.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._seconds = seconds
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it until the block exits, for `seconds` at most."""
        await self._free.acquire()
        released = False

        def release() -> None:
            nonlocal released
            if not released:
                released = True
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self._seconds, release)
        try:
            yield
        finally:
            timer.cancel()
            release()
