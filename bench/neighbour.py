"""The latency of a guest beside a CPU-bound one in the same worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Final

from websockets.sync.client import connect

from load import load
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import Server, guesthouse
from usage import children

QUIET: Final = "Guesthouse, quiet"
BESIDE: Final = "Guesthouse, beside a guest that computes for ever"
_SETTINGS: Final = {"process_cpu_seconds_per_message": 3600}
"""No limit: by default such a guest is ended after ten seconds."""
_SIZE: Final = 128
_CONNECTIONS: Final = 10
_BEGIN_SECONDS: Final = 0.2


def run(effort: Effort) -> Result:
    """Measure two equal nodes, in one of which a guest was told to loop forever."""
    result = Result("neighbour", "A neighbour that computes for ever")
    table = Table(
        f"echo by a C guest, {_CONNECTIONS} connections, one worker",
        [
            Column("messages/s"),
            Column("p50", "µs"),
            Column("p99", "µs"),
            Column("p99 to quiet", "x", 2),
        ],
    )
    with ExitStack() as stack:
        quiet = stack.enter_context(guesthouse("echo-c", "toiler", settings=_SETTINGS))
        beside = stack.enter_context(guesthouse("echo-c", "toiler", settings=_SETTINGS))
        toiler = stack.enter_context(connect(f"{beside.url}/toiler:toiler:bench.os"))
        toiler.send("!")
        time.sleep(_BEGIN_SECONDS)
        for _ in range(effort.rounds):
            base = 0.0
            for name, node in ((QUIET, quiet), (BESIDE, beside)):
                url = f"{node.url}/echo-c:echo-c:guesthouse.os/public"
                with _still(beside) if node is quiet else nullcontext():
                    found = load(url, _CONNECTIONS, _SIZE, effort.seconds)
                base = base or found["p99_us"]
                table.add(
                    name,
                    messages_s=found["messages_per_second"],
                    p50=found["p50_us"],
                    p99=found["p99_us"],
                    p99_to_quiet=found["p99_us"] / base,
                )
    result.tables.append(table)
    result.goals.append(Goal("p99 to quiet", 2.0, table.rounds(BESIDE, "p99 to quiet")))
    return result


@contextmanager
def _still(node: Server) -> Iterator[None]:
    """Stop a node's workers, so that their guests take no CPU meanwhile."""
    pids = children(node.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    only(run)
