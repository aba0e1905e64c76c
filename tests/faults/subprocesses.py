"""Workers of a node, and whether they take processes."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.daemon import Daemon
from tests.e2e.waiting import descendants, until

_READY = re.compile(r"ready \(pid (\d+)\)")


async def ready_workers(daemon: Daemon, count: int) -> list[int]:
    """The pids of its workers, once so many take processes. One that is stopped before is given up by another
    deadline than one that is stopped later.
    """
    log = daemon.home / "logs/node.jsonl"

    async def ready() -> list[int]:
        return _alive(daemon.pid, log)

    return await until(ready, lambda found: len(found) == count, f"{count} workers take processes")


def _alive(node: int, log: Path) -> list[int]:
    alive = {child.pid for child in descendants(node)}
    return sorted({int(pid) for pid in _READY.findall(log.read_text())} & alive)
