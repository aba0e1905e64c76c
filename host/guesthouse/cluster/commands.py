"""What the `guesthouse cluster` commands do, at a running node and on the home of one that does not run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from msgspec.structs import replace

from guesthouse.cluster.cluster import Cluster
from guesthouse.cluster.joining import join_cluster
from guesthouse.cluster.listing import node_rows
from guesthouse.cluster.membership.authority import NotAllowed
from guesthouse.cluster.membership.join_tickets import read_ticket
from guesthouse.cluster.membership.membership import Membership
from guesthouse.cluster.nats_client import read_access
from guesthouse.cluster.settings_file import remember
from guesthouse.core.config import Settings
from guesthouse.core.home import Home
from guesthouse.core.ports import LogPort
from guesthouse.core.settings.setting_values import checked
from guesthouse.http_server.auth.credentials import load_node_key

LONGEST_TICKET_SECONDS: Final = 30 * 86_400
LEAVE_SECONDS: Final = 5.0


class ClusterHost(Protocol):
    """The node, or only its home, that commands are for."""

    @property
    def settings(self) -> Settings:
        """Its settings."""

    @property
    def home(self) -> Home:
        """Its folder, which is locked."""

    @property
    def log(self) -> LogPort:
        """Where what goes wrong on the way is logged."""

    @property
    def cluster(self) -> Cluster | None:
        """Its cluster, if it takes part in one now."""

    async def start_cluster(self) -> None:
        """Take part in the cluster that the home has, if a node runs."""

    async def stop_cluster(self) -> None:
        """End that."""


async def carry_out(host: ClusterHost, request: Mapping[str, Any]) -> AsyncIterator[Any]:
    """Carry out the `action` of a request; yields the items of the answer.

    Raises:
        GuesthouseError: it is refused, or fails.
    """
    commands = ClusterCommands(host)
    actions: dict[str, Callable[[Mapping[str, Any]], Awaitable[list[Any]]]] = {
        "init": commands.init,
        "ticket": commands.ticket,
        "join": commands.join,
        "leave": commands.leave,
        "expel": commands.expel,
        "nodes": commands.nodes,
        "rotate-key": commands.rotate_key,
    }
    action = actions.get(str(request.get("action")))
    if action is None:
        raise NotAllowed(
            f"there is no cluster command {request.get('action')!a}: is the node another version?"
        )
    for item in await action(request):
        yield item


class ClusterCommands:
    """The commands, each of which takes a request and returns the items of its answer."""

    def __init__(self, host: ClusterHost) -> None:
        self._host = host

    async def init(self, request: Mapping[str, Any]) -> list[Any]:
        """Found a cluster."""
        host = self._host
        home, servers, node = host.home.path, self._servers(request), self._node(request)
        if not servers:
            raise NotAllowed(
                "which NATS servers? Give their URLs with --nats, or start one with `guesthouse cluster dev`"
            )
        name = self._cluster_name(request)
        key = await asyncio.to_thread(load_node_key, home)
        made = await asyncio.to_thread(Membership.found, home, node, key, servers, time.time(), name)
        await self._begin(servers, node, request)
        return [_made(made, servers)]

    async def ticket(self, request: Mapping[str, Any]) -> list[Any]:
        """Make a ticket."""
        seconds = request.get("seconds")
        if type(seconds) is not int or not 0 < seconds <= LONGEST_TICKET_SECONDS:
            raise NotAllowed(f"a ticket is valid for 1 s to {LONGEST_TICKET_SECONDS // 86_400} days")
        membership = await self._membership()
        authority = membership.must_be_authority()
        servers = self._servers(request) or membership.nats
        ticket = authority.ticket(
            time.time(), seconds, servers, membership.name or self._cluster_name(request)
        )
        await self._save(membership)
        return [{"ticket": ticket.text, "expires": ticket.expires, "nats": list(servers)}]

    async def join(self, request: Mapping[str, Any]) -> list[Any]:
        """Join by a ticket."""
        host = self._host
        ticket = read_ticket(str(request.get("ticket")), time.time())
        node, servers = self._node(request), self._host.settings.cluster.nats or ticket.nats
        wanted = host.settings.cluster.name
        if ticket.name:
            checked("cluster.name", str, ticket.name, "the ticket")
            if wanted not in {None, ticket.name}:
                raise NotAllowed(
                    f"the ticket is of the cluster {ticket.name}, and cluster.name is {wanted!r}: take the right "
                    "ticket, or correct the setting"
                )
        for server in servers:
            checked("cluster.nats", tuple[str, ...], [server], "the ticket")
        key = await asyncio.to_thread(load_node_key, host.home.path)
        access = await asyncio.to_thread(read_access, replace(host.settings.cluster, nats=servers))
        made = await join_cluster(ticket, host.home.path, node, key, servers, access, host.log)
        await self._begin(servers, node, request)
        return [_made(made, servers)]

    async def leave(self, _: Mapping[str, Any]) -> list[Any]:
        """Leave the cluster."""
        membership = await self._membership()
        if membership.authority is not None and len(_members(membership)) > 1:
            raise NotAllowed(
                "this node holds the cluster key, without which no node can be admitted or expelled: have the other "
                "nodes leave first"
            )
        cluster, told = self._host.cluster, False
        if cluster is not None and membership.authority is None:
            told = not cluster.is_member() or await cluster.leave(LEAVE_SECONDS)
        await self._host.stop_cluster()
        await asyncio.to_thread(membership.remove)
        alone = membership.authority is not None
        return [{"node": membership.node, "told": told or alone, "authority": membership.roster.authority}]

    async def expel(self, request: Mapping[str, Any]) -> list[Any]:
        """Expel a node."""
        node = str(request.get("node"))
        membership = await self._membership()
        authority, since = membership.must_be_authority(), membership.roster.latest
        authority.expel(node, time.time())
        await self._announce(membership, since)
        return [{"node": node, "announced": self._is_connected()}]

    async def nodes(self, _: Mapping[str, Any]) -> list[Any]:
        """List the nodes."""
        membership, cluster = await self._membership(), self._host.cluster
        if cluster is None:
            return node_rows(membership)
        return node_rows(membership, cluster.presences, cluster.peers.is_up, cluster.presence())

    async def rotate_key(self, _: Mapping[str, Any]) -> list[Any]:
        """Replace the cluster's key."""
        membership = await self._membership()
        authority, since = membership.must_be_authority(), membership.roster.latest
        authority.rotate(await asyncio.to_thread(membership.new_key), time.time())
        await self._announce(membership, since)
        await asyncio.to_thread(membership.keep_new_key)
        count = len(membership.roster.successions)
        return [
            {"cluster": membership.roster.cluster_id, "rotations": count, "announced": self._is_connected()}
        ]

    # --- parts

    async def _membership(self) -> Membership:
        cluster = self._host.cluster
        found = (
            cluster.membership
            if cluster is not None
            else await asyncio.to_thread(Membership.load, self._host.home.path)
        )
        if found is None:
            raise NotAllowed(
                "this node is in no cluster: found one with `guesthouse cluster init`, or join one with `guesthouse "
                "cluster join`"
            )
        return found

    async def _announce(self, membership: Membership, since: int) -> None:
        if self._host.cluster is None:
            await asyncio.to_thread(membership.save)
        else:
            await self._host.cluster.announce(since)

    async def _save(self, membership: Membership) -> None:
        if self._host.cluster is None:
            await asyncio.to_thread(membership.save)
        else:
            await self._host.cluster.save()

    async def _begin(self, servers: tuple[str, ...], node: str, request: Mapping[str, Any]) -> None:
        named = node if request.get("node") is not None else None
        await asyncio.to_thread(remember, self._host.home.path, servers, named)
        await self._host.start_cluster()

    def _is_connected(self) -> bool:
        cluster = self._host.cluster
        return cluster is not None and cluster.connection.client is not None

    def _servers(self, request: Mapping[str, Any]) -> tuple[str, ...]:
        """The URLs of a request, or else of the settings."""
        given = request.get("nats")
        if not isinstance(given, str) or not given:
            return self._host.settings.cluster.nats
        found: tuple[str, ...] = checked("cluster.nats", tuple[str, ...], given.split(","), "--nats")
        return found

    def _cluster_name(self, request: Mapping[str, Any]) -> str:
        """The cluster's name of a request, or else of the settings; empty if neither has one."""
        given = request.get("name")
        if given is None:
            return self._host.settings.cluster.name or ""
        name: str = checked("cluster.name", str, given, "--name")
        return name

    def _node(self, request: Mapping[str, Any]) -> str:
        """The name of a request, or else of the settings."""
        given, named = request.get("node"), self._host.settings.node
        if given is None:
            return named
        node: str = checked("node", str, given, "--node")
        if self._host.cluster is not None or (self._runs() and node != named):
            raise NotAllowed(f"this node runs as {named}: stop it to give it the name {node}")
        return node

    def _runs(self) -> bool:
        return hasattr(self._host, "router")


def _made(membership: Membership, servers: tuple[str, ...]) -> dict[str, Any]:
    return {
        "cluster": membership.roster.cluster_id,
        "name": membership.name or None,
        "node": membership.node,
        "nats": list(servers),
    }


def _members(membership: Membership) -> list[str]:
    return [card.node for card in membership.roster.cards if card.state == "member"]


class SilentLog:
    """A log for commands, which show their error alone."""

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        """Drop it."""


class HomeAlone:
    """The home of a node that does not run. It is locked by whoever makes this."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings
        self.log: LogPort = SilentLog()
        self.cluster: Cluster | None = None

    async def start_cluster(self) -> None:
        """It is started with the node."""

    async def stop_cluster(self) -> None:
        """Nothing runs."""
