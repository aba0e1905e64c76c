"""Starts a node's part in its cluster. Loaded only where `[cluster] nats` is set, or by a command."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

import guesthouse
from guesthouse.cluster.cluster import Cluster, Figures, Joined
from guesthouse.cluster.membership.membership import BadMembership, Membership
from guesthouse.cluster.nats_client import open_to_others, read_access
from guesthouse.cluster.nats_connection import SOURCE
from guesthouse.core.config import Settings
from guesthouse.core.home import Home
from guesthouse.core.ports import LogPort, Transport
from guesthouse.http_server.auth.credentials import load_node_key
from guesthouse.http_server.server import HttpServer
from guesthouse.kernel.messaging.router import Router

if TYPE_CHECKING:
    from guesthouse.kernel.cluster.greeter import KeyOf


class RunningNode(Protocol):
    """The node, as its cluster sees it."""

    @property
    def settings(self) -> Settings:
        """The effective ones."""

    @property
    def home(self) -> Home:
        """Its folder."""

    @property
    def log(self) -> LogPort:
        """Its log."""

    @property
    def router(self) -> Router:
        """Its processes."""

    @property
    def http(self) -> HttpServer:
        """Its channels."""

    @property
    def draining(self) -> bool:
        """Whether it takes no new clients."""

    def join(self, transport: Transport, key_of: KeyOf, cluster: bytes = b"") -> Joined:
        """Make the session layer."""


def cluster_of(node: RunningNode, membership: Membership) -> Cluster:
    """The cluster that a node is a member of, which is not entered yet. Blocking, for some files.

    Raises:
        BadMembership: the node has another name than in the cluster.
        BadSetting: a file that the settings name is unusable.
    """
    settings = node.settings
    if membership.node != settings.node:
        raise BadMembership(
            f"this node is {membership.node} in its cluster and runs as {settings.node}: run it with --node "
            f"{membership.node}, or leave with `guesthouse cluster leave` and join as {settings.node}"
        )
    if settings.cluster.name is not None and membership.name not in {"", settings.cluster.name}:
        raise BadMembership(
            f"cluster.name is {settings.cluster.name!r}, and this node is in the cluster {membership.shown}: correct "
            "the setting, or leave with `guesthouse cluster leave` and join the other one"
        )
    servers = settings.cluster.nats or membership.nats
    access = read_access(replace(settings.cluster, nats=servers))
    for fault in open_to_others(settings.cluster):
        node.log.write(SOURCE, "warning", fault)
    version = guesthouse.__version__

    def figures() -> Figures:
        return Figures(
            processes=len(node.router.processes()),
            channels=node.http.channel_count,
            load=_load(),
            version=version[:64],
            draining=node.draining,
        )

    key = load_node_key(Path(node.home.path))
    return Cluster(membership, servers, access, key, node.log, node.join, figures)


def _load() -> float:
    """Programs that wait for a CPU or use one, for each CPU, on average over a minute."""
    with suppress(OSError):
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    return 0.0
