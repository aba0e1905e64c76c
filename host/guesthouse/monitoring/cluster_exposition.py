"""Metrics of a node's part in its cluster. Labels are bounded: members by `MOST_MEMBERS`, all else by tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from guesthouse.kernel.cluster.peer_traffic import DROP_REASONS
from guesthouse.monitoring.cluster_figures import STATES, ClusterFigures

LOST: Final = (*DROP_REASONS, "presence", "slow")
"""Why what came from other nodes was dropped: the reasons of the session layer; presences that were forged, repeated or
too many; and messages of NATS that came faster than the node handles them.
"""
_WAYS = ("in", "out")


def of_cluster(figures: ClusterFigures) -> Iterable[Metric]:
    """All of them."""
    yield InfoMetricFamily(
        "guesthouse_cluster", "The cluster.", value={"cluster": figures.cluster, "name": figures.name}
    )
    yield _labelled(
        GaugeMetricFamily, "members", "Nodes of the cluster, by state.", "state", STATES, figures.states
    )
    up = GaugeMetricFamily(
        "guesthouse_cluster_session_up", "Whether there is a session with the member.", labels=("member",)
    )
    heard = GaugeMetricFamily(
        "guesthouse_cluster_heard_seconds_ago",
        "Time since the member last said that it is there.",
        labels=("member",),
    )
    for member in figures.members:
        up.add_metric((member.node,), member.up)
        if member.heard_seconds_ago is not None:
            heard.add_metric((member.node,), member.heard_seconds_ago)
    yield up
    yield heard
    for name, text, value in (
        ("nats_connected", "Whether the node is connected to NATS.", figures.nats_connected),
        ("nats_pending_bytes", "What the NATS server has not read.", figures.nats_pending_bytes),
        ("outbox_bytes", "What waits for other nodes to take it.", figures.outbox_bytes),
        ("processes", "Processes of other nodes that clients here can reach.", figures.processes_of_others),
        ("card_expires_seconds", "Until the card of this node expires.", figures.card_expires_seconds),
    ):
        yield GaugeMetricFamily(f"guesthouse_cluster_{name}", text, value)
    for name, text, value in (
        ("nats_connections", "How often the node was connected to NATS.", figures.nats_connections),
        ("sessions", "Sessions with other nodes that began.", figures.sessions),
    ):
        yield CounterMetricFamily(f"guesthouse_cluster_{name}", text, value)
    yield _labelled(
        GaugeMetricFamily,
        "gateway_channels",
        "Channels between clients and processes of different nodes, by what this one is to them.",
        "role",
        ("gateway", "home"),
        figures.channels,
    )
    for name, text, counts in (
        ("frames", "Frames from and to other nodes.", figures.frames),
        ("bytes", "Bytes of these frames.", figures.bytes),
        ("announcements", "Announcements of processes that changed.", figures.announcements),
    ):
        yield _labelled(CounterMetricFamily, name, text, "direction", _WAYS, counts)
    yield _labelled(
        CounterMetricFamily,
        "dropped",
        "What came from other nodes and was dropped, by reason.",
        "reason",
        LOST,
        figures.dropped,
    )


def _labelled(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    label: str,
    values: Sequence[str],
    counts: Mapping[str, int],
) -> Metric:
    family = kind(f"guesthouse_cluster_{name}", text, labels=(label,))
    for value in values:
        family.add_metric((value,), counts.get(value, 0))
    return family
