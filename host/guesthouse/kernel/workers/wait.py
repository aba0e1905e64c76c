"""Time-outs for workers that tolerate stalls of the node itself."""

from __future__ import annotations

import asyncio
from typing import Any

from guesthouse.kernel.workers.health_check import LOOKS

_LATE = 2.0
"""A part of the wait that took so many times its length means that the node was suspended or starved."""


async def within(seconds: float, done: asyncio.Future[Any]) -> bool:
    """Wait for a future; returns whether it was done within `seconds`. Cancelling the wait does not cancel it.

    If the node was suspended, the answer may have arrived without being read yet. So the wait is split into parts, of
    which the last must be on time; at most twice as many are waited for.
    """
    loop = asyncio.get_running_loop()
    part = seconds / LOOKS
    for number in range(1, 2 * LOOKS + 1):
        began = loop.time()
        finished, _ = await asyncio.wait((done,), timeout=part)
        if finished:
            return True
        if number >= LOOKS and loop.time() - began < _LATE * part:
            return False
    return False
