"""The boundary: a message into a guest and back out, without sockets, node or link.

All three peers run a guest that returns the bytes it gets, called from Python:

- Guesthouse: the worker's own scheduler, guest, host calls and boundary. One round is deliver, `receive`,
  `get-blob-text` and `send-ws-text` for text, or `get-blob` and `send-ws-push` for binary.
- extism: its Python host calls a plug-in that copies its input to its output, as its C kit does.
- `wasmtime.component`: the same component, with its imports implemented by plain Python functions.

Time is this thread's CPU time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from peers.extism_echo import ExtismEcho
from peers.stock_component import StockEcho
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import component
from worker_inside import inside_worker, seconds_in_new_guests

OURS: Final = "Guesthouse, C guest"
PYTHON: Final = "Guesthouse, Python guest"
EXTISM: Final = "extism"
STOCK: Final = "wasmtime.component"
SIZES: Final = (16, 128, 4096, 65_536, 1_048_576)
STOCK_MOST: Final = 4096
"""Bytes; above, stock `wasmtime.component` takes up to seconds for one binary message."""
_GOALS: Final = {128: 0.7, 4096: 1.0, 65_536: 1.0, 1_048_576: 1.0}
"""To extism, by size."""
_MOST_CALLS: Final = 2000

Echo = Callable[[bytes, bool, int], float]
"""Sends a payload through `count` times, as text or binary; returns the CPU seconds."""


def run(effort: Effort) -> Result:
    """Measure all sizes, text and binary."""
    result = Result("boundary", "A message through the boundary")
    with echoes() as peers:
        for text in (True, False):
            table = Table(
                f"{'text' if text else 'binary'}, by bytes",
                [Column("a message", "µs", 1, log=True), Column("to extism", "x", 2, log=True)],
                chart="lines",
                x="bytes",
            )
            for size in effort.points(SIZES):
                _measure(table, peers, size, text, effort)
            result.tables.append(table)
    for table, kind in zip(result.tables, ("text", "binary"), strict=True):
        result.goals += _goals(table, kind, effort)
    result.notes.append(
        "`wasmtime.component` is measured up to 4 KiB: a binary message of 1 MiB takes it over a second."
    )
    return result


@contextmanager
def echoes() -> Iterator[dict[str, Echo]]:
    """The peers."""
    with ExitStack() as stack:
        yield {
            OURS: stack.enter_context(inside_worker(component("echo-c"))).seconds_of,
            PYTHON: seconds_in_new_guests(component("echo")),
            EXTISM: ExtismEcho().seconds_of,
            STOCK: StockEcho(component("echo-c")).seconds_of,
        }


def _measure(table: Table, peers: dict[str, Echo], size: int, text: bool, effort: Effort) -> None:
    payload = b"x" * size
    names = [name for name in peers if name != STOCK or size <= STOCK_MOST]
    for _ in range(effort.rounds):
        found = {name: _seconds_a_call(peers[name], payload, text, effort.seconds / 8) for name in names}
        for name, seconds in found.items():
            table.add(f"{name}: {size}", a_message=1e6 * seconds, to_extism=seconds / found[EXTISM])


def _seconds_a_call(echo: Echo, payload: bytes, text: bool, seconds: float) -> float:
    """The mean of calls for about that long; two calls show how many that is."""
    count = max(1, min(_MOST_CALLS, int(2 * seconds / echo(payload, text, 2))))
    gc.collect()
    return echo(payload, text, count) / count


def _goals(table: Table, kind: str, effort: Effort) -> list[Goal]:
    goals = []
    for size in effort.points(SIZES):
        row = f"{OURS}: {size}"
        if size in _GOALS:
            text = f"{kind}, {size:,} B, C guest, to extism"
            goals.append(Goal(text, _GOALS[size], table.rounds(row, "to extism")))
        if size == 128:
            text = f"{kind}, {size} B, C guest"
            goals.append(Goal(text, 12.0, table.rounds(row, "a message"), unit="µs"))
            ratios = table.ratios(row, f"{STOCK}: {size}", "a message")
            goals.append(Goal(f"{text}, to wasmtime.component", 0.05, ratios))
    return goals


if __name__ == "__main__":
    only(run)
