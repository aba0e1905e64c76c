"""Status, usage and limits of processes, for `guesthouse ps`."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping
from typing import Any, Final

from guesthouse.core.config import ProcessLimits
from guesthouse.core.exit_cause import in_words
from guesthouse.kernel.process.process import Process, RunEnd
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.supervision.ended_processes import EndedProcess

_TIMEOUT: Final = 2.0
"""Seconds to wait for the sizes of states: with a slow disk, the rest is shown without them."""


async def state_sizes(state: State) -> Mapping[str, int] | None:
    """Bytes of state by process id; None if the database does not answer in time."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await state.executed(_sizes, None)
    except TimeoutError:
        return None


def listed(process: Process, limits: ProcessLimits, sizes: Mapping[str, int] | None) -> dict[str, Any]:
    """A process as in `guesthouse ps --json`. Unknown values are None."""
    used = process.used()
    return {
        "process": str(process.id),
        "state": process.state.value,
        "worker": None if process.run is None else process.run.worker,
        "on_exit": process.on_exit if isinstance(process.on_exit, str) else "requests",
        "restarts": max(0, process.runs - 1),
        "up_seconds": None if process.started_at is None else round(time.monotonic() - process.started_at, 1),
        "last_end": None if process.last_end is None else _end(process.last_end),
        "cpu_seconds": round(used.cpu_seconds, 6),
        "cpu_message_seconds": round(used.message_seconds, 6),
        "cpu_share": round(used.cpu_share, 3),
        "host_calls": used.calls,
        "host_calls_per_second": used.calls_per_second,
        "held_seconds": round(used.held_seconds, 3),
        "memory_bytes": used.memory_bytes or None,
        "mailbox_messages": len(process.mailbox),
        "mailbox_bytes": process.mailbox.size,
        "state_bytes": None if sizes is None else sizes.get(str(process.id), 0),
        "log_lines_dropped": used.lines_dropped,
        "limits": _limits(limits, process.holdings.state_bytes()),
    }


def listed_end(ended: EndedProcess, limits: ProcessLimits, sizes: Mapping[str, int] | None) -> dict[str, Any]:
    """A process that is not running, as in `guesthouse ps --json`: like one that is."""
    used = ended.used
    return {
        "process": str(ended.id),
        "state": ended.state,
        "worker": None,
        "on_exit": ended.on_exit,
        "restarts": max(0, ended.runs - 1),
        "up_seconds": None,
        "last_end": {"cause": ended.cause, "text": ended.in_words(), "time": round(ended.at, 3)},
        "cpu_seconds": round(used.cpu_seconds, 6),
        "cpu_message_seconds": 0.0,
        "cpu_share": 0.0,
        "host_calls": used.calls,
        "host_calls_per_second": 0,
        "held_seconds": round(used.held_seconds, 3),
        "memory_bytes": None,
        "mailbox_messages": 0,
        "mailbox_bytes": 0,
        "state_bytes": None if sizes is None else sizes.get(str(ended.id), 0),
        "log_lines_dropped": used.lines_dropped,
        "limits": _limits(limits, limits.state_bytes),
    }


def _limits(limits: ProcessLimits, state_bytes: int) -> dict[str, Any]:
    return {
        "memory_bytes": limits.memory_bytes,
        "cpu_seconds_per_message": limits.cpu_seconds_per_message,
        "cpu_share": limits.cpu_share,
        "host_calls_per_second": limits.host_calls_per_second,
        "mailbox_bytes": limits.mailbox_bytes,
        "state_bytes": state_bytes,
        "log_lines_per_second": limits.log_lines_per_second,
    }


def _end(end: RunEnd) -> dict[str, Any]:
    text = f"{in_words(end.cause)}: {end.detail}" if end.detail else in_words(end.cause)
    return {"cause": end.cause, "text": text, "time": round(end.at, 3)}


def _sizes(database: sqlite3.Connection) -> dict[str, int]:
    return dict(database.execute("SELECT process, LENGTH(bytes) FROM state"))
