"""What is measured of a node, as plain values. Reads what is counted anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct, field

from guesthouse.http_server.server import HttpServer
from guesthouse.http_server.state.traffic import Traffic
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.process.process import Process, ProcessState
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.supervision.ended_processes import EndedProcess
from guesthouse.kernel.supervision.supervisor import Supervisor
from guesthouse.kernel.workers.pool import Workers
from guesthouse.monitoring.cluster_figures import ClusterFigures
from guesthouse.package.compile.compiler import Compiler

MOST_PROCESSES: Final = 200
"""Processes with figures of their own, the longest running; those of the others are added up."""
OTHERS: Final = "(others)"


class TracingCounts(Protocol):
    """What tracing counts (`monitoring/node_tracing.py`)."""

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Messages and spans, by what became of them."""


class MeasuredGateway(Protocol):
    """What is measured of a local gateway."""

    name: str
    os_pid: int

    @property
    def connections(self) -> int:
        """Clients whose sockets it holds."""


class MeasuredGateways(Protocol):
    """What is measured of a node's local gateways."""

    @property
    def replaced(self) -> int:
        """How many ended and were replaced."""

    def alive(self) -> Sequence[MeasuredGateway]:
        """Those that run."""


class MeasuredNode(Protocol):
    """What is measured of a node."""

    router: Router
    http: HttpServer
    workers: Workers
    supervisor: Supervisor
    compiler: Compiler
    state: State
    started: bool
    """Whether all its packages were started."""
    stopping: bool

    @property
    def draining(self) -> bool:
        """Whether it takes no new clients."""

    @property
    def local_gateways(self) -> MeasuredGateways | None:
        """Its local gateways, if it has any."""

    def not_running(self) -> Iterator[tuple[str, EndedProcess]]:
        """What should run and does not, with its name in lists."""

    def cluster_figures(self) -> ClusterFigures | None:
        """Of its part in its cluster, if it is in one."""

    @property
    def tracing(self) -> TracingCounts | None:
        """Its tracing, if it does."""

    def failures(self) -> Sequence[str]:
        """What failed of all that should run, a line each."""


class ProcessFigures(Struct):
    """Figures of one process, or of several together."""

    name: str
    package: str
    traffic: Traffic = field(default_factory=Traffic)
    running: int = 0
    restarts: int = 0
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    mailbox_messages: int = 0
    mailbox_bytes: int = 0
    host_calls: int = 0
    throttled_seconds: float = 0.0
    log_lines_dropped: int = 0

    def add(self, process: Process, traffic: Traffic) -> None:
        """Count a process."""
        used = process.used()
        self.traffic.add(traffic)
        self.running += process.state is ProcessState.RUNNING
        self.restarts += max(0, process.runs - 1)
        self.cpu_seconds += used.cpu_seconds
        self.memory_bytes += used.memory_bytes
        self.mailbox_messages += len(process.mailbox)
        self.mailbox_bytes += process.mailbox.size
        self.host_calls += used.calls
        self.throttled_seconds += used.held_seconds
        self.log_lines_dropped += used.lines_dropped


class NodeFigures(Struct, frozen=True):
    """Figures of a node."""

    node: str
    connections: int
    away_bytes: int
    """What is kept for clients of resumable channels without a socket."""
    sessions_given_up: Mapping[str, int]
    """Resumable channels that were closed while their clients were away, by limit."""
    processes: Sequence[ProcessFigures]
    workers: Mapping[str, int]
    """OS process ids by name."""
    workers_replaced: int
    gateways: Mapping[str, tuple[int, int]]
    """OS process ids of local gateways, and their connections, by name."""
    gateways_replaced: int
    run_ends: Mapping[str, int]
    """By cause."""
    not_running: Mapping[str, int]
    """Processes that ended, were stopped or failed and were not started again, by cause."""
    refusals: Mapping[tuple[str, str, str], int]
    """By what refused, code and reason."""
    commits: int
    commit_seconds: float
    compiles: int
    compile_seconds: float
    cluster: ClusterFigures | None
    """None: it is in none."""
    traced: Mapping[str, Mapping[str, int]]
    """Messages and spans of traces, by what became of them; empty without tracing."""


async def measure(node: MeasuredNode) -> NodeFigures:
    """Measure a node without holding it up."""
    traffic = await node.http.traffic()
    gateways = node.local_gateways
    listed: list[ProcessFigures] = []
    for process in node.router.processes():
        if len(listed) < MOST_PROCESSES:
            listed.append(ProcessFigures(str(process.id), process.id.package_id))
        elif len(listed) == MOST_PROCESSES:
            listed.append(ProcessFigures(OTHERS, OTHERS))
        listed[-1].add(process, traffic.get(process.id) or Traffic())
    return NodeFigures(
        node=node.router.node,
        connections=node.http.connections,
        away_bytes=node.http.away_bytes,
        sessions_given_up=dict(node.http.sessions_given_up),
        processes=listed,
        workers={worker.name: worker.os_pid for worker in node.workers.alive()},
        workers_replaced=node.workers.replaced,
        gateways={}
        if gateways is None
        else {each.name: (each.os_pid, each.connections) for each in gateways.alive()},
        gateways_replaced=0 if gateways is None else gateways.replaced,
        run_ends=dict(node.supervisor.run_ends),
        not_running=Counter(ended.cause for _, ended in node.not_running()),
        refusals=node.http.refusals(),
        commits=node.state.commits,
        commit_seconds=node.state.commit_seconds,
        compiles=node.compiler.compiles,
        compile_seconds=node.compiler.compile_seconds,
        cluster=node.cluster_figures(),
        traced={} if node.tracing is None else node.tracing.counts(),
    )


def unready_reasons(node: MeasuredNode) -> Sequence[str]:
    """Why a node is not ready for clients; empty when it is."""
    reasons = []
    if not node.started:
        reasons.append("its packages are being started")
    if node.stopping:
        reasons.append("it is stopping")
    elif node.draining:
        reasons.append("it is being drained")
    if not any(worker.ready for worker in node.workers.alive()):
        reasons.append("no worker is ready")
    return reasons
