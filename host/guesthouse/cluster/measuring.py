"""Measures a node's part in its cluster."""

from __future__ import annotations

import time
from collections import Counter

from guesthouse.cluster.cluster import Cluster
from guesthouse.cluster.gateway.gateways import Gateways
from guesthouse.cluster.listing import state_of
from guesthouse.monitoring.cluster_figures import MOST_MEMBERS, ClusterFigures, MemberFigures


def measured(cluster: Cluster, gateways: Gateways) -> ClusterFigures:
    """Measure it now. Takes microseconds for each member.

    Args:
        cluster: the node's.
        gateways: its channels to and from other nodes.
    """
    now, monotonic = time.time(), time.monotonic()
    traffic, relayed, connection = cluster.peers.traffic, gateways.figures(), cluster.connection
    states: Counter[str] = Counter()
    members: list[MemberFigures] = []
    for card in cluster.roster.cards:
        heard = cluster.presences.heard(card.node)
        state = state_of(card, cluster.membership.node, heard, cluster.peers.is_up, now)
        states[state] += 1
        if card.state == "member" and state != "here" and len(members) < MOST_MEMBERS:
            ago = None if heard is None else monotonic - heard.at
            members.append(MemberFigures(card.node, state in {"up", "draining"}, ago))
    dropped: dict[str, int] = {"presence": cluster.presences.dropped, "slow": connection.dropped}
    dropped.update(traffic.dropped.items())
    own = cluster.roster.card_of(cluster.membership.node)
    return ClusterFigures(
        cluster=cluster.roster.cluster_id,
        name=cluster.membership.name,
        states=states,
        members=members,
        nats_connected=connection.client is not None,
        nats_connections=connection.connections,
        nats_pending_bytes=connection.pending_bytes,
        sessions=traffic.sessions,
        frames={"in": traffic.frames_in, "out": traffic.frames_out},
        bytes={"in": traffic.bytes_in, "out": traffic.bytes_out},
        dropped=dropped,
        outbox_bytes=cluster.peers.waiting_bytes() + relayed.waiting_bytes,
        channels={"gateway": relayed.channels_to_others, "home": relayed.channels_of_others},
        processes_of_others=relayed.processes_of_others,
        announcements={"in": relayed.heard, "out": relayed.announced},
        card_expires_seconds=0.0 if own is None or own.state != "member" else own.expires - now,
    )
