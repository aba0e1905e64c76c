"""The administration of a cluster from one of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self, cast

from guesthouse.cluster.administration import listings
from guesthouse.cluster.administration.administration_messages import (
    Draining,
    Fetch,
    FilePart,
    Install,
    List,
    Message,
    Offer,
    Rows,
)
from guesthouse.cluster.administration.distribution import Distribution
from guesthouse.cluster.administration.incoming import IncomingPackages, PackageInstaller
from guesthouse.cluster.administration.node_calls import Calls, NodeUnreachable
from guesthouse.core.config import PackageLimits
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort
from guesthouse.kernel.cluster.services import PeersPort

FETCH_SECONDS: Final = 30.0
LIST_SECONDS: Final = 10.0


class NoSuchNode(GuesthouseError):
    """The cluster has no node of that name."""


class Administration:
    """Installs packages on other nodes, lists what they run, and knows which are drained. An async context manager.

    Args:
        node: this node's name.
        peers: the sessions with other nodes.
        members: the names of the cluster's nodes, this one among them.
        install_from: returns the nodes from which packages are taken now.
        installer: installs packages on this node.
        limits: of packages.
        unpack_dir: where packages are unpacked.
        rows_of: this node's own rows.
        log: the node's log.
    """

    def __init__(
        self,
        node: str,
        peers: PeersPort,
        members: Callable[[], Sequence[str]],
        install_from: Callable[[], Sequence[str]],
        installer: PackageInstaller,
        limits: PackageLimits,
        unpack_dir: Path,
        rows_of: listings.RowsOf,
        log: LogPort,
    ) -> None:
        self._node = node
        self._peers = peers
        self._members = members
        self._rows_of = rows_of
        self._draining = False
        self.draining_nodes: set[str] = set()
        """Other nodes that take no new clients."""
        self.on_draining: Callable[[str, bool], None] = lambda node, draining: None
        """Called when another node begins to be drained, or takes clients again."""
        self._incoming = IncomingPackages(
            *(node, install_from, installer, limits, unpack_dir), self._fetch, log
        )
        self._distribution = Distribution(node, lambda: self._calls, installer, limits, unpack_dir)
        handlers = {
            "list": self._list,
            "offer": self._offered,
            "fetch": self._fetched,
            "install": self._install,
            "draining": self._told_draining,
        }
        self._calls = Calls(peers, handlers, log, self._up, self._lost)

    async def __aenter__(self) -> Self:
        await self._calls.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._calls.__aexit__(*error)
        finally:
            await self._incoming.close()

    async def install(
        self, argument: str, nodes: Sequence[str], consent: str | bool | None
    ) -> AsyncIterator[dict[str, Any]]:
        """See `Distribution.install`. No nodes are all.

        Raises:
            NoSuchNode: one is no member of the cluster.
        """
        members = self._members()
        for node in nodes:
            if node not in members:
                raise NoSuchNode(f"the cluster has no node {node}: `guesthouse cluster nodes` lists them")
        chosen = list(dict.fromkeys(nodes)) or sorted(members, key=lambda name: (name != self._node, name))
        async for item in self._distribution.install(argument, chosen, consent):
            yield item

    async def listed(self, what: str) -> AsyncIterator[dict[str, Any]]:
        """The rows of all nodes, each with its `node`; one that does not answer has a row with an `error`."""
        nodes = sorted(self._members())
        async with asyncio.TaskGroup() as tasks:
            asked = [(node, tasks.create_task(self._rows(node, what))) for node in nodes]
        for node, task in asked:
            for row in task.result():
                yield {"node": node, **row}

    def announce_drain(self, *, draining: bool) -> None:
        """Tell the other nodes whether this one takes new clients."""
        if draining != self._draining:
            self._draining = draining
            for node in self._peers.nodes():
                self._calls.tell(node, Draining(draining=draining))

    async def _rows(self, node: str, what: str) -> list[dict[str, Any]]:
        if node == self._node:
            return [listings.own_row(what, row) async for row in self._rows_of(what)]
        try:
            request = List(what=cast(Any, what))
            answered = await self._calls.ask(node, request, Rows, LIST_SECONDS)
            rows = listings.read_rows(what, answered)
        except GuesthouseError as error:
            return [{"error": str(error)}]
        except listings.BadRows as error:
            return [{"error": f"{node} gave rows that cannot be read: {error}"}]
        if answered.left_out:
            rows.append({"error": f"{node} has {answered.left_out} more, for which there was no room"})
        return rows

    # From other nodes.

    async def _list(self, _: str, message: Message) -> Message:
        return await listings.answer(self._rows_of, cast(List, message))

    async def _offered(self, node: str, message: Message) -> Message:
        return await self._incoming.offered(node, cast(Offer, message))

    async def _fetched(self, node: str, message: Message) -> Message:
        return await self._distribution.fetched(node, cast(Fetch, message))

    async def _install(self, node: str, message: Message) -> Message:
        return await self._incoming.install(node, cast(Install, message))

    async def _told_draining(self, node: str, message: Message) -> None:
        draining = cast(Draining, message).draining
        if draining != (node in self.draining_nodes):
            (self.draining_nodes.add if draining else self.draining_nodes.discard)(node)
            self.on_draining(node, draining)

    async def _fetch(self, node: str, part: Fetch) -> FilePart:
        return await self._calls.ask(node, part, FilePart, FETCH_SECONDS)

    def _up(self, node: str) -> None:
        if self._draining:
            self._calls.tell(node, Draining(draining=True))

    def _lost(self, node: str) -> None:
        self._incoming.lost(node)
        self.draining_nodes.discard(node)


__all__ = ["Administration", "NoSuchNode", "NodeUnreachable"]
