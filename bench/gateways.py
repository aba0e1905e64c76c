"""Channels by gateways: echo by a gateway beside the same at its home, and one push to channels at three gateways
beside a push to as many channels of one node. All is on one machine, with real nodes and a real NATS server.

Needs Guesthouse's extra `cluster`. Not part of `make bench`, unless it is named.
"""

from __future__ import annotations

import json
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

from cluster import cluster_homes, nats_server
from crowd import Crowd, crowd
from load import bottleneck_note, in_turn
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import Server, guesthouse
from usage import Usage, private_kib

GATEWAYS: Final = 3
CHANNELS: Final = 3000
SIZE: Final = 128
SIZES: Final = (128, 4096)
CONNECTIONS: Final = (1, 8, 50)
HERE: Final = "at the home"
THERE: Final = "by a gateway"
PUSHES: Final = 10
IDLE: Final = 3000
_ECHO: Final = "/echo-c:echo-c:guesthouse.os/public"
_HERALD: Final = "/herald:herald:bench.os"
_SERVES: Final = {"cluster_serve": "*", "connections_total": 100_000}
_SECONDS: Final = 60.0
_COUNT_SECONDS: Final = 5.0
"""In which the NATS server counts what passed, if the machine is busy."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """A home, its gateways and what is between them."""

    home: Server
    gateways: Sequence[Server]
    nats_pid: int
    monitor: int

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far."""
        return {
            "home": self.home.own().cpu_seconds,
            "worker": self.home.workers().cpu_seconds,
            "gateways": sum(gateway.own().cpu_seconds for gateway in self.gateways),
            "nats": Usage.of(self.nats_pid).cpu_seconds,
        }

    def sent_by_home(self) -> tuple[int, int]:
        """Messages and bytes that the home has given to NATS."""
        url = f"http://127.0.0.1:{self.monitor}/connz?limit=64"
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            connections: list[dict[str, Any]] = json.load(answer)["connections"]
        (home,) = (each for each in connections if each.get("name") == "node-0.os")
        return home["in_msgs"], home["in_bytes"]


def run(effort: Effort) -> Result:
    """Measure echo and pushes."""
    result = Result("gateways", "channels by gateways")
    with ExitStack() as stack:
        nodes = stack.enter_context(_nodes())
        tables = [_echo_table(size) for size in SIZES]
        for _ in range(effort.rounds):
            for table, size in zip(tables, SIZES, strict=True):
                for connections in CONNECTIONS:
                    _echo(result, table, nodes, connections, size, effort.seconds)
        result.tables += tables
        result.tables.append(_pushes(nodes, effort))
    result.tables.append(_idle(effort))
    result.notes.append(
        "Home and worker send a push to 1,024 channels at a time: a frame for each gateway and these."
    )
    result.goals = [
        Goal(f"echo of {size:,} bytes by a gateway, {_people(number)}, to one at the home", 0.5,
             table.rounds(f"{THERE}, {_people(number)}", "to the home"), at_least=True)
        for table, size in zip(tables, SIZES, strict=True) for number in CONNECTIONS
    ]  # fmt: skip
    return result


@contextmanager
def _nodes() -> Iterator[Nodes]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="guesthouse-bench-")))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            monitor = listener.getsockname()[1]
        url, nats_pid = stack.enter_context(nats_server(folder, monitor))
        homes = cluster_homes(folder, url, 1 + GATEWAYS)
        home = stack.enter_context(guesthouse("echo-c", "herald", home=homes[0], settings=_SERVES))
        gateways = [stack.enter_context(guesthouse(home=each, settings=_SERVES)) for each in homes[1:]]
        for gateway in gateways:
            _until_served(gateway.url + _ECHO)
            _until_served(gateway.url + _HERALD)
        yield Nodes(home, gateways, nats_pid, monitor)


def _until_served(url: str) -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        try:
            with connect(url, compression=None, proxy=None):
                return
        except Exception:  # it is not announced yet
            time.sleep(0.1)
    raise SystemExit(f"{url} is not served")


# Echo.


def _people(number: int) -> str:
    return f"{number} connection{'s' * (number > 1)}"


def _echo_table(size: int) -> Table:
    return Table(
        f"echo of {size:,} bytes",
        [
            Column("messages/s"),
            Column("to the home", "x", 2),
            Column("p50", "µs"),
            Column("p50 to the home", "x", 2),
            Column("gateway CPU a message", "µs", 1),
            Column("home CPU a message", "µs", 1),
            Column("worker CPU a message", "µs", 1),
            Column("NATS CPU a message", "µs", 1),
        ],
    )


def _echo(result: Result, table: Table, nodes: Nodes, connections: int, size: int, seconds: float) -> None:
    servers = {HERE: (nodes.home, _ECHO), THERE: (nodes.gateways[0], _ECHO)}
    before = nodes.cpu()
    for turn in in_turn(servers, connections, size, seconds):
        found, after = turn.found, nodes.cpu()
        each = {part: 1e6 * (after[part] - before[part]) / found["messages"] for part in after}
        before = after
        row = f"{turn.name}, {_people(connections)}"
        table.add(
            row,
            messages_s=found["messages_per_second"],
            to_the_home=turn.rate_ratio,
            p50=found["p50_us"],
            p50_to_the_home=turn.p50_ratio,
            gateway_CPU_a_message=each["gateways"],
            home_CPU_a_message=each["home"],
            worker_CPU_a_message=each["worker"],
            NATS_CPU_a_message=each["nats"],
        )
        result.notes += bottleneck_note(f"{row}, {size:,} bytes", [found["load_cpu"]])


# One push to many.


@dataclass(frozen=True, slots=True)
class _Audience:
    crowd: Crowd
    trigger: ClientConnection

    def told(self, times: int) -> float:
        """Push, one after the other; returns seconds a push, until all have it."""
        seconds = 0.0
        for _ in range(times):
            self.crowd.expect()
            begin = perf_counter()
            self.trigger.send("x" * SIZE)
            seconds += self.crowd.all_received()[1] - begin
        return seconds / times


def _pushes(nodes: Nodes, effort: Effort) -> Table:
    channels = effort.count(CHANNELS, GATEWAYS)
    table = Table(
        f"one push of {SIZE} bytes to {channels:,} channels",
        [
            Column("until all have it", "ms", 1),
            Column("to the home", "x", 2),
            Column("gateways' CPU", "ms", 1),
            Column("home's CPU", "ms", 1),
            Column("worker's CPU", "ms", 1),
            Column("NATS CPU", "ms", 1),
            Column("frames sent by the home", "", 1),
            Column("KiB sent by the home", "", 1),
        ],
    )
    times = max(2, round(PUSHES * effort.scale))
    for _ in range(effort.rounds):
        base = _pushed(table, nodes, HERE, [nodes.home], channels, times)
        _pushed(table, nodes, f"at {GATEWAYS} gateways", nodes.gateways, channels, times, base)
    return table


def _pushed(
    table: Table,
    nodes: Nodes,
    row: str,
    servers: Sequence[Server],
    channels: int,
    times: int,
    base: float | None = None,
) -> float:
    with ExitStack() as stack:
        audience = _Audience(
            stack.enter_context(crowd([server.url + _HERALD for server in servers], channels)),
            stack.enter_context(connect(nodes.home.url + _HERALD + "/trigger", compression=None, proxy=None)),
        )
        audience.told(1)
        cpu, (frames, size) = nodes.cpu(), nodes.sent_by_home()
        seconds = audience.told(times)
        end = perf_counter() + _COUNT_SECONDS
        while True:
            time.sleep(0.3)  # what was sent is counted, and credit has come
            after, (frames_after, size_after) = nodes.cpu(), nodes.sent_by_home()
            if base is None or frames_after - frames >= times * len(servers) or perf_counter() > end:
                break
        spent = {part: 1000 * (after[part] - cpu[part]) / times for part in after}
    table.add(
        row,
        until_all_have_it=1000 * seconds,
        to_the_home=seconds / (base or seconds),
        gateways__CPU=spent["gateways"],
        home_s_CPU=spent["home"],
        worker_s_CPU=spent["worker"],
        NATS_CPU=spent["nats"],
        frames_sent_by_the_home=(frames_after - frames) / times,
        KiB_sent_by_the_home=(size_after - size) / times / 1024,
    )
    _until_left(nodes)
    return seconds


# Idle channels.


def _idle(effort: Effort) -> Table:
    """Open channels at nodes that had few before, whose memory is not there for them already."""
    channels = effort.count(IDLE, 200)
    table = Table(
        f"{channels:,} idle channels, each",
        [
            Column("gateway", "KiB", 2),
            Column("home", "KiB", 2),
            Column("its worker", "KiB", 2),
            Column("gateway's CPU to open", "µs"),
            Column("home's CPU to open", "µs"),
        ],
    )
    for row in (HERE, THERE):
        with _nodes() as nodes:
            _opened(table, nodes, row, nodes.home if row == HERE else nodes.gateways[0], channels)
    return table


def _opened(table: Table, nodes: Nodes, row: str, server: Server, channels: int) -> None:
    with crowd(server.url + _ECHO, channels // 10):  # what is made once is there
        pass
    _until_left(nodes)
    before, cpu = _kib(nodes), nodes.cpu()
    with crowd(server.url + _ECHO, channels):
        opened = nodes.cpu()
        time.sleep(2)
        after = _kib(nodes)
    gateway, home, worker = ((now - then) / channels for now, then in zip(after, before, strict=True))
    spent = {part: 1e6 * (opened[part] - cpu[part]) / channels for part in cpu}
    table.add(
        row,
        gateway=gateway,
        home=home,
        its_worker=worker,
        gateway_s_CPU_to_open=spent["gateways"],
        home_s_CPU_to_open=spent["home"],
    )


def _kib(nodes: Nodes) -> tuple[int, int, int]:
    measure: Callable[[int], int] = private_kib
    home = nodes.home
    return measure(nodes.gateways[0].pid), measure(home.pid), home.workers().private_kib


def _until_left(nodes: Nodes) -> None:
    """Wait until nodes use no CPU for the channels that were closed."""
    before = sum(nodes.cpu().values())
    while True:
        time.sleep(0.5)
        now = sum(nodes.cpu().values())
        if now - before < 0.1:
            return
        before = now


if __name__ == "__main__":
    only(run)
