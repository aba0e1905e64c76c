"""HTTP through Guesthouse against uvicorn and Starlette doing the same."""

from __future__ import annotations

import contextlib
from typing import Final

from http_load import load_http
from load import bottleneck_note
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import Server, guesthouse, peer

BARE: Final = "uvicorn + Starlette"
OURS: Final = "Guesthouse, C guest"
CONNECTIONS: Final = 50
REQUESTS: Final = {
    "GET of a process": ("/hello", 0, 0.5),
    "GET of bound content of 100 KB": ("/static", 0, 0.9),
    "POST of 64 KiB": ("/size", 65536, 0.5),
}
"""Path, bytes of the body, and the least ratio to the bare server."""

_COLUMNS: Final = (
    Column("requests/s"),
    Column("to Starlette", "x", 2),
    Column("p50", "µs"),
    Column("p99", "µs"),
    Column("server CPU a request", "µs", 1),
    Column("CPU to Starlette", "x", 2),
    Column("load CPU", "%"),
)


def run(effort: Effort) -> Result:
    """Measure each kind of request."""
    result = Result("web", "HTTP")
    with contextlib.ExitStack() as stack:
        servers = {
            BARE: (stack.enter_context(peer("starlette_pages")), ""),
            OURS: (stack.enter_context(guesthouse("pages")), "/pages:pages:bench.os"),
        }
        for title, (path, size, limit) in REQUESTS.items():
            table = Table(f"{title}, {CONNECTIONS} connections", list(_COLUMNS))
            for _ in range(effort.rounds):
                _round(table, servers, path, size, effort.seconds)
            for row in table.rows:
                shares = [share / 100 for share in table.rounds(row, "load CPU")]
                result.notes += bottleneck_note(f"{row}, {table.title}", shares)
            result.tables.append(table)
            goal = f"HTTP, {title}, requests/s to uvicorn + Starlette"
            result.goals.append(Goal(goal, limit, table.rounds(OURS, "to Starlette"), at_least=True))
    return result


def _round(
    table: Table, servers: dict[str, tuple[Server, str]], path: str, size: int, seconds: float
) -> None:
    base = base_cpu = 0.0
    for name, (server, prefix) in servers.items():
        before = server.all().cpu_seconds
        found = load_http(server.url.replace("ws:", "http:") + prefix + path, CONNECTIONS, seconds, size)
        cpu = 1e6 * (server.all().cpu_seconds - before) / found["messages"]
        base, base_cpu = base or found["messages_per_second"], base_cpu or cpu
        table.add(
            name,
            requests_s=found["messages_per_second"],
            to_Starlette=found["messages_per_second"] / base,
            p50=found["p50_us"],
            p99=found["p99_us"],
            server_CPU_a_request=cpu,
            CPU_to_Starlette=cpu / base_cpu,
            load_CPU=100 * found["load_cpu"],
        )


if __name__ == "__main__":
    only(run)
