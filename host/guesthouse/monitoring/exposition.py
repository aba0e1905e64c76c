"""Metrics in the text formats of OpenMetrics and Prometheus.

Names follow Prometheus' conventions: a unit at the end, `_total` for counters. Labels are bounded: processes by
`MOST_PROCESSES`, workers by the settings, causes by `core/exit_cause.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from guesthouse.core.exit_cause import CAUSES, ExitCause
from guesthouse.kernel.supervision.ended_processes import state_after
from guesthouse.monitoring.figures import NodeFigures, ProcessFigures

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

_GAUGES: Final[Mapping[str, tuple[str, Callable[[ProcessFigures], float]]]] = {
    "running": (
        "Whether the process runs: 0 while it starts or waits to run again.",
        lambda each: each.running,
    ),
    "memory_bytes": ("Memory of the process.", lambda each: each.memory_bytes),
    "mailbox_messages": ("Messages that wait for the process.", lambda each: each.mailbox_messages),
    "mailbox_bytes": ("Size of the messages that wait for the process.", lambda each: each.mailbox_bytes),
    "channels": ("Open channels.", lambda each: each.traffic.channels),
    "channels_resumable": (
        "Open channels that outlive their sockets (sessions).",
        lambda each: each.traffic.resumable,
    ),
    "channels_away": ("Resumable channels whose client has no socket now.", lambda each: each.traffic.away),
    "outbox_bytes": (
        "What the clients of the process have not read.",
        lambda each: each.traffic.outbox_bytes,
    ),
}
_COUNTERS: Final[Mapping[str, tuple[str, Callable[[ProcessFigures], float]]]] = {
    "restarts": ("How often the process was run again.", lambda each: each.restarts),
    "cpu_seconds": ("CPU time of the process.", lambda each: each.cpu_seconds),
    "host_calls": ("Host calls of the process.", lambda each: each.host_calls),
    "throttled_seconds": (
        "How long the process was held back for exceeding its rates.",
        lambda each: each.throttled_seconds,
    ),
    "log_lines_dropped": (
        "Log lines of the process that were dropped for exceeding its rate.",
        lambda each: each.log_lines_dropped,
    ),
    "channels_opened": ("Channels that were opened.", lambda each: each.traffic.opened),
    "messages_received": ("Messages from clients.", lambda each: each.traffic.messages_in),
    "messages_sent": ("Messages to clients.", lambda each: each.traffic.messages_out),
}


class Exposition:
    """Renders metrics: the node's figures, its OS process and how late its event loop is."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call] # when a counter began says little
        ProcessCollector(registry=self._registry)
        self._lag = Histogram(
            "guesthouse_event_loop_lag_seconds",
            "How late the node's event loop runs a timer.",
            buckets=_LAGS,
            registry=self._registry,
        )
        self.saw_lag: Callable[[float], None] = self._lag.observe

    def render(self, figures: NodeFigures, accept: str) -> tuple[bytes, str]:
        """Render figures and return them with their content type.

        Args:
            figures: the node's.
            accept: the `Accept` header, which chooses the format.
        """
        registry = _Both(self._registry, _Figures(figures, self._version))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type


class _Both(CollectorRegistry):
    """A registry and what is collected once."""

    def __init__(self, lasting: CollectorRegistry, once: Collector) -> None:
        super().__init__()
        self._parts = (lasting, once)

    def collect(self) -> Iterable[Metric]:
        for part in self._parts:
            yield from part.collect()


class _Figures(Collector):
    def __init__(self, figures: NodeFigures, version: str) -> None:
        self._figures = figures
        self._version = version

    def collect(self) -> Iterable[Metric]:
        figures = self._figures
        yield InfoMetricFamily(
            "guesthouse", "The node.", value={"version": self._version, "node": figures.node}
        )
        yield GaugeMetricFamily(
            "guesthouse_connections", "Open connections, HTTP and WebSocket.", figures.connections
        )
        yield GaugeMetricFamily(
            "guesthouse_away_bytes", "What is kept for clients that have no socket now.", figures.away_bytes
        )
        given_up = CounterMetricFamily(
            "guesthouse_sessions_given_up",
            "Resumable channels that were closed while their clients were away, by the limit that was reached.",
            labels=("limit",),
        )
        for limit, count in sorted(figures.sessions_given_up.items()):
            given_up.add_metric((limit,), count)
        yield given_up
        yield from _of_processes(figures.processes)
        yield from _of_workers(figures)
        yield from _of_gateways(figures)
        ends = CounterMetricFamily(
            "guesthouse_runs_ended", "How many runs of processes ended, by cause.", labels=("cause",)
        )
        for cause in sorted((*CAUSES, ExitCause.WORKER_LOST)):
            ends.add_metric((cause,), figures.run_ends.get(cause, 0))
        yield ends
        yield _not_running(figures)
        refusals = CounterMetricFamily(
            "guesthouse_refusals",
            "Requests and upgrades that were refused, and WebSockets that the node closed.",
            labels=("by", "code", "reason"),
        )
        for labels, count in sorted(figures.refusals.items()):
            refusals.add_metric(labels, count)
        yield refusals
        for name, text, value in (
            ("state_commits", "Transactions of the database.", figures.commits),
            ("state_commit_seconds", "Time of these transactions.", figures.commit_seconds),
            ("compiles", "Components that were compiled, or failed to.", figures.compiles),
            ("compile_seconds", "Time of these compiles.", figures.compile_seconds),
        ):
            yield CounterMetricFamily(f"guesthouse_{name}", text, value)
        yield from _of_traces(figures.traced)
        if figures.cluster is not None:
            from guesthouse.monitoring.cluster_exposition import of_cluster  # only in a cluster

            yield from of_cluster(figures.cluster)


def _not_running(figures: NodeFigures) -> Metric:
    ended = GaugeMetricFamily(
        "guesthouse_processes_not_running",
        "Processes that ended, were stopped by an operator, or failed, and were not started again.",
        labels=("state", "cause"),
    )
    for cause in sorted((*CAUSES, ExitCause.WORKER_LOST)):
        ended.add_metric((state_after(cause), cause), figures.not_running.get(cause, 0))
    return ended


def _of_processes(processes: Iterable[ProcessFigures]) -> Iterable[Metric]:
    for kind, table in ((GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS)):
        for name, (text, value) in table.items():
            family = kind(f"guesthouse_process_{name}", text, labels=("process", "package"))
            for each in processes:
                family.add_metric((each.name, each.package), value(each))
            yield family


def _of_workers(figures: NodeFigures) -> Iterable[Metric]:
    cpu = CounterMetricFamily("guesthouse_worker_cpu_seconds", "CPU time of the worker.", labels=("worker",))
    memory = GaugeMetricFamily(
        "guesthouse_worker_resident_memory_bytes", "Memory of the worker.", labels=("worker",)
    )
    for name, pid in figures.workers.items():
        used = _usage_of(pid)
        if used is not None:
            cpu.add_metric((name,), used[0])
            memory.add_metric((name,), used[1])
    yield cpu
    yield memory
    yield GaugeMetricFamily("guesthouse_workers", "Workers that there are.", len(figures.workers))
    yield CounterMetricFamily(
        "guesthouse_workers_replaced", "Workers that ended and were replaced.", figures.workers_replaced
    )


def _of_gateways(figures: NodeFigures) -> Iterable[Metric]:
    cpu = CounterMetricFamily(
        "guesthouse_gateway_cpu_seconds", "CPU time of the gateway.", labels=("gateway",)
    )
    memory = GaugeMetricFamily(
        "guesthouse_gateway_resident_memory_bytes", "Memory of the gateway.", labels=("gateway",)
    )
    connections = GaugeMetricFamily(
        "guesthouse_gateway_connections", "Clients whose sockets the gateway holds.", labels=("gateway",)
    )
    for name, (pid, count) in figures.gateways.items():
        connections.add_metric((name,), count)
        used = _usage_of(pid)
        if used is not None:
            cpu.add_metric((name,), used[0])
            memory.add_metric((name,), used[1])
    if figures.gateways or figures.gateways_replaced:
        yield cpu
        yield memory
        yield connections
        yield CounterMetricFamily(
            "guesthouse_gateways_replaced",
            "Gateways that ended and were replaced.",
            figures.gateways_replaced,
        )


def _of_traces(traced: Mapping[str, Mapping[str, int]]) -> Iterable[Metric]:
    texts = {"messages": "Messages of traces.", "spans": "Spans of traces."}
    for kind, outcomes in traced.items():
        family = CounterMetricFamily(f"guesthouse_traced_{kind}", texts[kind], labels=("outcome",))
        for outcome, count in outcomes.items():
            family.add_metric((outcome,), count)
        yield family


def _usage_of(pid: int) -> tuple[float, int] | None:
    """CPU seconds and resident bytes of an OS process (proc(5)); None if it ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE
