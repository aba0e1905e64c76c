"""Thousands of guests: the memory of each, and their effect on others.

A node with one guest and a node with all of them run side by side. Memory is the difference of their
workers divided by the number of guests; fifty connections talk to the one guest, and to fifty of the many.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from load import load
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import Server, component, guesthouse
from usage import children, settled_kib

WORKERS: Final = 2
"""A process may have 65,530 mappings (`vm.max_map_count`), and each guest takes up to seven."""
CONNECTIONS: Final = 50
SIZE: Final = 128
_START_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.1

COLUMNS: Final = (
    Column("worker memory each", "KiB", 1),
    Column("node memory each", "KiB", 1),
    Column("start", "ms each", 2),
    Column("messages/s"),
    Column("to one guest", "x", 2),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of guest and what is asked of many."""

    name: str
    component: str
    count: int
    kib: float


KINDS: Final = (
    Kind("C guests", "echo-c", 10_000, 40.0),
    Kind("Python guests", "echo", 1_000, 1.2 * 1024),
)


def run(effort: Effort) -> Result:
    """Measure both kinds."""
    result = Result("guests", "Many live guests")
    for kind in KINDS:
        count = effort.count(kind.count)
        table = Table(f"{count:,} {kind.name}", list(COLUMNS))
        many = f"Guesthouse, {count:,} {kind.name}"
        _measure(table, kind, count, many, effort)
        result.tables.append(table)
        unit = "KiB"
        result.goals += [
            Goal(f"{count:,} {kind.name}, memory each", kind.kib, table.rounds(many, "worker memory each"), unit=unit),
            Goal(f"{count:,} {kind.name}, messages/s to one guest", 0.8, table.rounds(many, "to one guest"),
                 at_least=True),
        ]  # fmt: skip
    result.notes.append(f"{WORKERS} workers. Memory is private: pages that no other process shares.")
    return result


def _measure(table: Table, kind: Kind, count: int, many: str, effort: Effort) -> None:
    with ExitStack() as stack:
        one = start(stack, kind.component, 1)
        begin = time.perf_counter()
        all_ = start(stack, kind.component, count)
        took = time.perf_counter() - begin
        more = max(1, count - 1)
        worker = (settled_kib(*children(all_.pid)) - settled_kib(*children(one.pid))) / more
        node = (settled_kib(all_.pid) - settled_kib(one.pid)) / more
        table.add(many, worker_memory_each=worker, node_memory_each=node, start=1000 * took / count)
        for _ in range(effort.rounds):
            base = load(urls(one, 1), CONNECTIONS, SIZE, effort.seconds)["messages_per_second"]
            rate = load(urls(all_, count), CONNECTIONS, SIZE, effort.seconds)["messages_per_second"]
            table.add("Guesthouse, 1 guest", messages_s=base, to_one_guest=1.0)
            table.add(many, messages_s=rate, to_one_guest=rate / base)


def start(stack: ExitStack, name: str, count: int, workers: int = WORKERS) -> Server:
    """A node with `count` processes of one component; returns once those under load serve."""
    wasm = component(name)
    arguments = [f"g{number}:g{number}:bench.os={wasm}" for number in range(count)]
    node = stack.enter_context(guesthouse(*arguments, workers=workers))
    until = time.monotonic() + _START_SECONDS
    for url in urls(node, count):
        while not _serves(url):
            if time.monotonic() > until:
                raise SystemExit(f"{count} guests did not start in {_START_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)
    return node


def urls(node: Server, count: int) -> list[str]:
    """URLs of the processes under load, one per connection, including the last process."""
    spoken_to = min(CONNECTIONS, count)
    numbers = [(place + 1) * count // spoken_to - 1 for place in range(spoken_to)]
    return [f"{node.url}/g{number}:g{number}:bench.os/public" for number in numbers]


def _serves(url: str) -> bool:
    try:
        with connect(url):
            return True
    except InvalidStatus:
        return False


if __name__ == "__main__":
    only(run)
