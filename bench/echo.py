"""The cost of the sandbox: echo through Guesthouse against bare servers.

Rounds are interleaved (A B C A B C …), so that noise of the machine affects all.
"""

from __future__ import annotations

import contextlib
from typing import Final

from load import bottleneck_note, in_turn
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import Server, guesthouse, peer

BARE: Final = "websockets"
C_GUEST: Final = "Guesthouse, C guest"
RESUMABLE: Final = "Guesthouse, C guest, resumable channels"
PYTHON_GUEST: Final = "Guesthouse, Python guest"
PEERS: Final = {
    BARE: "websockets_echo",
    "websockets, two processes": "websockets_apart",
    "aiohttp": "aiohttp_echo",
    "uvicorn + Starlette": "starlette_echo",
    "picows": "picows_echo",
}
SIZE: Final = 128
SHAPES: Final = (1, 50)
"""Connections."""

_COLUMNS: Final = (
    Column("messages/s"),
    Column("to websockets", "x", 2),
    Column("p50", "µs"),
    Column("p50 to websockets", "x", 2),
    Column("p99", "µs"),
    Column("server CPU a message", "µs", 1),
    Column("load CPU", "%"),
)


def run(effort: Effort) -> Result:
    """Measure all servers with all shapes."""
    result = Result("echo", "Echo of 128 bytes of text")
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(guesthouse("echo-c", "echo"))
        servers = {name: (stack.enter_context(peer(file)), "/") for name, file in PEERS.items()}
        servers[C_GUEST] = servers[RESUMABLE] = (node, "/echo-c:echo-c:guesthouse.os/public")
        servers[PYTHON_GUEST] = (node, "/echo:echo:guesthouse.os/public")
        for connections in SHAPES:
            table = Table(f"{connections} connection{'s' * (connections > 1)}", list(_COLUMNS))
            for _ in range(effort.rounds):
                _round(table, servers, connections, effort.seconds)
            for row in table.rows:
                result.notes += bottleneck_note(
                    f"{row}, {table.title}", [share / 100 for share in table.rounds(row, "load CPU")]
                )
            result.tables.append(table)
    one, fifty = result.tables
    result.goals = [
        Goal("C guest, 50 connections, messages/s to bare websockets", 1.2,
             fifty.rounds(C_GUEST, "to websockets"), at_least=True),
        Goal("Python guest, 50 connections, messages/s to bare websockets", 0.9,
             fifty.rounds(PYTHON_GUEST, "to websockets"), at_least=True),
        Goal("C guest, 1 connection, p50 to bare websockets", 1.3, one.rounds(C_GUEST, "p50 to websockets")),
    ]  # fmt: skip
    return result


def _round(table: Table, servers: dict[str, tuple[Server, str]], connections: int, seconds: float) -> None:
    for turn in in_turn(servers, connections, SIZE, seconds, sessions={RESUMABLE}):
        found = turn.found
        table.add(
            turn.name,
            messages_s=found["messages_per_second"],
            to_websockets=turn.rate_ratio,
            p50=found["p50_us"],
            p50_to_websockets=turn.p50_ratio,
            p99=found["p99_us"],
            server_CPU_a_message=turn.cpu_us,
            load_CPU=100 * found["load_cpu"],
        )


if __name__ == "__main__":
    only(run)
