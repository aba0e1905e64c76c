"""Waiting for what a worker owes, in time that the node itself lived through."""

from __future__ import annotations

import asyncio
from typing import Any

from guesthouse.kernel.workers.health_check import LOOKS

_LATE = 2.0
"""A part of the wait that took so many times its length was not the worker's: the node was stopped, or starved."""


async def within(seconds: float, done: asyncio.Future[Any]) -> bool:
    """Wait for `done`; returns whether it came within `seconds`. Cancelling the wait leaves it as it is.

    After a wait in which the node was stopped the answer may be there and not read yet, so the last part of the wait
    has to be one that was on time; at most twice as many parts are waited for.
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
