"""The cost of an idle channel: memory and CPU of the server, against a bare `websockets` server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from crowd import crowd
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import Server, guesthouse, peer
from usage import settled_kib

CHANNELS: Final = 10_000
BARE: Final = "websockets"
NODE: Final = "Guesthouse, node"
WORKER: Final = "Guesthouse, worker"
_ECHO: Final = "/echo-c:echo-c:guesthouse.os/public"
_IDLE_SECONDS: Final = 10.0
_MOST_ROUNDS: Final = 2
"""Memory hardly differs between rounds."""


def run(effort: Effort) -> Result:
    """Open channels on both, measure memory, then CPU while idle."""
    channels = effort.count(CHANNELS)
    result = Result("idle", f"{channels:,} idle channels")
    table = Table(
        "memory and CPU",
        [
            Column("a channel", "KiB", 1),
            Column("to websockets", "x", 2),
            Column("CPU while idle", "ms/s", 2),
        ],
    )
    for _ in range(min(effort.rounds, _MOST_ROUNDS)):
        _round(table, channels, _IDLE_SECONDS * min(1.0, effort.seconds))
    result.tables.append(table)
    result.goals = [
        Goal("node memory a channel, to bare websockets", 1.0, table.rounds(NODE, "to websockets")),
        Goal("node CPU while idle, pings apart", 2.0, table.rounds(NODE, "CPU while idle"), unit="ms/s"),
    ]
    result.notes.append("Both ping each client every 20 s: a round of pings may fall into the idle time.")
    return result


def _round(table: Table, channels: int, idle_seconds: float) -> None:
    with ExitStack() as stack:
        bare = stack.enter_context(peer("websockets_echo"))
        node = stack.enter_context(guesthouse("echo-c"))
        worker = _Worker(node)
        held = [
            stack.enter_context(_holding(BARE, bare, bare.url + "/", channels)),
            stack.enter_context(_holding(NODE, node, node.url + _ECHO, channels, worker)),
        ]
        costs = {name: kib for each in held for name, kib in each.items()}
        cpu_before = {BARE: bare.own(), NODE: node.own(), WORKER: node.workers()}
        time.sleep(idle_seconds)
        cpu_after = {BARE: bare.own(), NODE: node.own(), WORKER: node.workers()}
        for name, kib in costs.items():
            spent = cpu_after[name].cpu_seconds - cpu_before[name].cpu_seconds
            table.add(
                name,
                a_channel=kib,
                to_websockets=kib / costs[BARE],
                CPU_while_idle=1000 * spent / idle_seconds,
            )


class _Worker:
    """A node's worker, in which channels take memory, too."""

    def __init__(self, node: Server) -> None:
        self._node = node
        self._before = node.workers().private_kib

    def cost(self, channels: int) -> float:
        """KiB a channel."""
        return (self._node.workers().private_kib - self._before) / channels


@contextmanager
def _holding(
    name: str, server: Server, url: str, channels: int, worker: _Worker | None = None
) -> Iterator[dict[str, float]]:
    """Open channels; yields what each costs in KiB, by name."""
    before = settled_kib(server.pid)
    with crowd(url, channels):
        costs = {name: (settled_kib(server.pid) - before) / channels}
        if worker is not None:
            costs[WORKER] = worker.cost(channels)
        yield costs


if __name__ == "__main__":
    only(run)
