"""Broadcast to 10,000 clients: a guest's push against `websockets.broadcast`.

A node compresses a message once for all clients of one window; `websockets` once for each client, since it keeps a
context for each. The clients are two processes on the same machine, whose own time is included until all have it; the
server's CPU time is what would matter on a separate machine.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from websockets.sync.client import ClientConnection, connect

from crowd import Crowd, crowd
from load import text_of
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import Server, guesthouse, peer

CHANNELS: Final = 10_000
SIZES: Final = (128, 16_384)
_COMPRESSED: Final = 0.1
"""Share of the clients."""
BARE: Final = "websockets.broadcast"
TO_PATH: Final = "Guesthouse, send-ws-text-to-path"
TO_MANY: Final = "Guesthouse, send-ws-text-many"
_HERALD: Final = "/herald:herald:bench.os"
_PUSHES_A_ROUND: Final = 5

COLUMNS: Final = (
    Column("until all have it", "ms", 1),
    Column("speed to websockets", "x", 2),
    Column("server CPU", "ms", 1),
    Column("CPU to websockets", "x", 2),
)


@dataclass(frozen=True, slots=True)
class Audience:
    """Clients of a server, and the connection whose messages are broadcast to them."""

    server: Server
    crowd: Crowd
    trigger: ClientConnection

    def tell(self, text: str, times: int) -> tuple[float, float]:
        """Broadcast, one after the other; returns seconds and CPU seconds per broadcast."""
        seconds, before = 0.0, self.server.all().cpu_seconds
        for _ in range(times):
            self.crowd.expect()
            begin = perf_counter()
            self.trigger.send(text)
            seconds += self.crowd.all_received()[1] - begin
        return seconds / times, (self.server.all().cpu_seconds - before) / times


def audience(stack: ExitStack, server: Server, path: str, channels: int, compressed: float = 0.0) -> Audience:
    """Open connections on a path, a share of them compressed, and another on `trigger` beside it."""
    url = server.url + path
    trigger = stack.enter_context(connect(url.rstrip("/") + "/trigger", compression=None))
    return Audience(server, stack.enter_context(crowd(url, channels, compressed)), trigger)


def run(effort: Effort) -> Result:
    """Measure broadcasts to clients that take no compressed messages, and with such among them."""
    channels = effort.count(CHANNELS)
    result = Result("broadcast", f"One push to {channels:,} channels")
    for title, compressed in (("no compression", 0.0), ("a tenth of the clients compressed", _COMPRESSED)):
        table = Table(title, list(COLUMNS))
        with ExitStack() as stack:
            bare = audience(stack, stack.enter_context(peer("websockets_echo")), "/", channels, compressed)
            node = audience(stack, stack.enter_context(guesthouse("herald")), _HERALD, channels, compressed)
            for size in SIZES:
                text, suffix = text_of(size), f", {size:,} B"
                for _ in range(effort.rounds):
                    told = {
                        BARE: bare.tell(text, _PUSHES_A_ROUND),
                        TO_PATH: node.tell(text, _PUSHES_A_ROUND),
                        TO_MANY: node.tell("#" + text[1:], _PUSHES_A_ROUND),
                    }
                    note(table, told, suffix)
                for name in (TO_PATH, TO_MANY):
                    goal = (
                        f"{name.removeprefix('Guesthouse, ')}{suffix}, {title}, speed to websockets.broadcast"
                    )
                    rounds = table.rounds(name + suffix, "speed to websockets")
                    result.goals.append(Goal(goal, 1.0, rounds, at_least=True))
        result.tables.append(table)
    return result


def note(table: Table, told: dict[str, tuple[float, float]], suffix: str = "") -> None:
    """Record a round; the first row is the base of comparisons."""
    base_seconds, base_cpu = next(iter(told.values()))
    for name, (seconds, cpu) in told.items():
        table.add(
            name + suffix,
            until_all_have_it=1000 * seconds,
            speed_to_websockets=base_seconds / seconds,
            server_CPU=1000 * cpu,
            CPU_to_websockets=cpu / base_cpu if base_cpu else 1.0,
        )


if __name__ == "__main__":
    only(run)
