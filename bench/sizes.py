"""Echo of messages of several sizes against bare websockets."""

from __future__ import annotations

import contextlib
from typing import Final

from load import bottleneck_note, in_turn
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import guesthouse, peer

BARE: Final = "websockets"
C_GUEST: Final = "Guesthouse, C guest"
CONNECTIONS: Final = 8
SIZES: Final = (128, 4096, 65_536, 1_048_576)
_WITH_GOAL: Final = (4096, 65_536, 1_048_576)
_LEAST: Final = 0.9
_MIB: Final = 1024 * 1024
_SETTINGS: Final = {"connections_message_bytes": 2 * _MIB, "connections_outbox_bytes": 8 * _MIB}

_COLUMNS: Final = (
    Column("messages/s"),
    Column("to websockets", "x", 2),
    Column("throughput", "MiB/s", 1),
    Column("p50", "µs"),
    Column("server CPU a message", "µs", 1),
    Column("of it node", "µs", 1),
    Column("of it kernel", "µs", 1),
    Column("CPU to websockets", "x", 2),
    Column("load CPU", "%"),
)


def run(effort: Effort) -> Result:
    """Measure text, then binary."""
    result = Result("sizes", f"Echo by size, {CONNECTIONS} connections")
    with contextlib.ExitStack() as stack:
        servers = {
            BARE: (stack.enter_context(peer("websockets_echo")), "/"),
            C_GUEST: (
                stack.enter_context(guesthouse("echo-c", settings=_SETTINGS)),
                "/echo-c:echo-c:guesthouse.os/public",
            ),
        }
        for kind in ("text", "binary"):
            table = Table(kind, list(_COLUMNS), x="bytes")
            for size in effort.points(SIZES):
                for _ in range(effort.rounds):
                    for turn in in_turn(servers, CONNECTIONS, size, effort.seconds, text=kind == "text"):
                        table.add(
                            f"{turn.name}: {size}",
                            messages_s=turn.found["messages_per_second"],
                            to_websockets=turn.rate_ratio,
                            throughput=turn.found["messages_per_second"] * size / _MIB,
                            p50=turn.found["p50_us"],
                            server_CPU_a_message=turn.cpu_us,
                            of_it_node=turn.own_cpu_us,
                            of_it_kernel=turn.kernel_us,
                            CPU_to_websockets=turn.cpu_ratio,
                            load_CPU=100 * turn.found["load_cpu"],
                        )
                if size in _WITH_GOAL:
                    rounds = table.rounds(f"{C_GUEST}: {size}", "to websockets")
                    goal = f"{kind}, {size:,} B, 8 connections, messages/s to bare websockets"
                    result.goals.append(Goal(goal, _LEAST, rounds, at_least=True))
            for row in table.rows:
                shares = [share / 100 for share in table.rounds(row, "load CPU")]
                result.notes += bottleneck_note(f"{row}, {kind}", shares)
            result.tables.append(table)
    return result


if __name__ == "__main__":
    only(run)
