"""How cost grows with channels, processes, message size, and receivers of a push."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from broadcast import COLUMNS as PUSH_COLUMNS
from broadcast import TO_PATH, audience, note
from crowd import crowd
from guests import start, urls
from load import load
from results import Column, Effort, Result, Table
from run import only
from servers import Server, guesthouse, peer
from usage import children, settled_kib

BARE: Final = "websockets"
C_GUEST: Final = "Guesthouse, C guest"
CHANNELS: Final = (10, 100, 1000, 10_000)
PROCESSES: Final = (1, 10, 100, 1000, 10_000)
SIZES: Final = (16, 256, 4096, 65_536, 1_048_576, 16_777_216)
SUBSCRIBERS: Final = (10, 100, 1000, 10_000)

_ECHO: Final = "/echo-c:echo-c:guesthouse.os/public"
_MIB: Final = 1024 * 1024
_BIG_MESSAGES: Final = {
    "connections_message_bytes": 16 * _MIB,
    "connections_outbox_bytes": 64 * _MIB,
    "process_mailbox_bytes": 64 * _MIB,
    "process_memory_bytes": 1024 * _MIB,
}
_MOST_ROUNDS: Final = 3
_SECONDS: Final = 0.6
"""Of load at each point of a curve."""


def run(effort: Effort) -> Result:
    """All four curves."""
    result = Result("growth", "How cost grows")
    rounds = min(effort.rounds, _MOST_ROUNDS)
    seconds = min(effort.seconds, _SECONDS)
    result.tables = [
        _channels(effort, seconds),
        _processes(effort, rounds, seconds),
        _sizes(effort, rounds, seconds),
        _subscribers(effort, rounds),
    ]
    return result


def _channels(effort: Effort, seconds: float) -> Table:
    """All channels send as fast as they are answered; the load generator is one process."""
    table = Table(
        "with channels, all of which talk",
        [Column("messages/s"), Column("p99", "ms", 1, log=True), Column("memory", "KiB a channel", 1)],
        chart="lines",
        x="channels",
    )
    for channels in effort.points(CHANNELS):
        with ExitStack() as stack:
            servers = {
                BARE: (stack.enter_context(peer("websockets_echo")), "/"),
                C_GUEST: (stack.enter_context(guesthouse("echo-c")), _ECHO),
            }
            for name, (server, path) in servers.items():
                memory = _memory_a_channel(server, server.url + path, channels)
                found = load(server.url + path, channels, 128, max(seconds, channels / 5000))
                table.add(
                    f"{name}: {channels}",
                    messages_s=found["messages_per_second"],
                    p99=found["p99_us"] / 1000,
                    memory=memory,
                )
    return table


def _memory_a_channel(server: Server, url: str, channels: int) -> float:
    """KiB, of a node with its workers."""
    pids = [server.pid, *children(server.pid)]
    before = settled_kib(*pids)
    with crowd(url, channels):
        return (settled_kib(*pids) - before) / channels


def _processes(effort: Effort, rounds: int, seconds: float) -> Table:
    table = Table(
        "with processes, fifty of which talk",
        [Column("messages/s"), Column("p99", "ms", 1), Column("memory", "MiB", 0, log=True)],
        chart="lines",
        x="processes",
    )
    for count in effort.points(PROCESSES):
        with ExitStack() as stack:
            node = start(stack, "echo-c", count)
            memory = settled_kib(node.pid, *children(node.pid)) / 1024
            for _ in range(rounds):
                found = load(urls(node, count), 50, 128, seconds)
                table.add(
                    f"Guesthouse, C guests: {count}",
                    messages_s=found["messages_per_second"],
                    p99=found["p99_us"] / 1000,
                    memory=memory,
                )
    return table


def _sizes(effort: Effort, rounds: int, seconds: float) -> Table:
    table = Table(
        "with the size of a message, 4 connections",
        [Column("messages/s", "", 0, log=True), Column("throughput", "MiB/s", 1, log=True)],
        chart="lines",
        x="bytes",
    )
    with ExitStack() as stack:
        bare = stack.enter_context(peer("websockets_echo")).url + "/"
        node = stack.enter_context(guesthouse("echo-c", settings=_BIG_MESSAGES)).url + _ECHO
        for size in effort.points(SIZES):
            for _ in range(rounds):
                for name, url, text in (
                    (f"{BARE}, text", bare, True),
                    (f"{C_GUEST}, text", node, True),
                    (f"{BARE}, binary", bare, False),
                    (f"{C_GUEST}, binary", node, False),
                ):
                    found = load(url, 4, size, seconds if size < _MIB else 2 * seconds, text=text)
                    rate = found["messages_per_second"]
                    table.add(f"{name}: {size}", messages_s=rate, throughput=rate * size / _MIB)
    return table


def _subscribers(effort: Effort, rounds: int) -> Table:
    table = Table(
        "with the receivers of a push",
        [*(Column(c.name, c.unit, c.digits, log=c.unit == "ms") for c in PUSH_COLUMNS)],
        chart="lines",
        x="receivers",
    )
    for channels in effort.points(SUBSCRIBERS):
        with ExitStack() as stack:
            bare = audience(stack, stack.enter_context(peer("websockets_echo")), "/", channels)
            node = audience(
                stack, stack.enter_context(guesthouse("herald")), "/herald:herald:bench.os", channels
            )
            times = max(2, min(50, 10_000 // channels))
            for _ in range(rounds):
                told = {BARE: bare.tell("x" * 128, times), TO_PATH: node.tell("x" * 128, times)}
                note(table, told, f": {channels}")
    return table


if __name__ == "__main__":
    only(run)
