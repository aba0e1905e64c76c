"""Runs the deadlines of a server's connections and channels."""

from __future__ import annotations

import asyncio
import traceback
from functools import partial
from typing import Final

from guesthouse.core.config import ConnectionLimits
from guesthouse.http_server.context import Context
from guesthouse.http_server.state.client_log import SOURCE

_DEADLINES_AT_ONCE: Final = 8
_LATE_SECONDS: Final = 1.0


async def run_deadlines(context: Context) -> None:
    """Run deadlines as they pass, until cancelled."""
    tick = _tick(context.settings.connections)
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + tick
        await asyncio.sleep(tick)
        if loop.time() - due > _LATE_SECONDS:
            await asyncio.sleep(tick)  # the node was suspended: first read what clients sent meanwhile
        _run_passed(context)


def _run_passed(context: Context) -> None:
    """Run deadlines that have passed. If there are many, the rest run in later iterations of the loop."""
    try:
        more = context.deadlines.run(context.monotonic(), _DEADLINES_AT_ONCE)
    except Exception:
        context.log.write(SOURCE, "error", f"a deadline failed: {traceback.format_exc()}")
        return
    if more:
        context.turns.add(partial(_run_passed, context))


def _tick(limits: ConnectionLimits) -> float:
    """Seconds between checks of the deadlines: a quarter of the shortest, clamped."""
    shortest = min(
        limits.handshake_seconds,
        limits.register_seconds,
        limits.ping_seconds,
        limits.pong_seconds,
        limits.close_seconds,
        limits.resume_seconds,
        limits.acknowledge_seconds,
    )
    return min(0.5, max(0.01, shortest / 4))
