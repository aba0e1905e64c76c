"""The administration service of a real node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from msgspec import Struct

from guesthouse.cluster.administration.administration import Administration
from guesthouse.cluster.administration.incoming import PackageInstaller
from guesthouse.core.errors import GuesthouseError
from guesthouse.http_api.rows import AdministeredNode, process_rows
from guesthouse.kernel.cluster.services import PeersPort


class NotRunning(GuesthouseError):
    """The node starts or stops."""


class _WhileRunning(Struct, frozen=True):
    """The installer of a node, while there is one."""

    node: AdministeredNode
    installer: Callable[[], PackageInstaller]

    async def preview(self, argument: str) -> dict[str, Any]:
        return await self._now().preview(argument)

    async def install(self, argument: str, consent: str | bool | None = None) -> dict[str, Any]:
        return await self._now().install(argument, consent)

    def _now(self) -> PackageInstaller:
        if self.node.stopping or not self.node.started:
            raise NotRunning(f"{self.node.settings.node} starts or stops: try again later")
        return self.installer()


def administration_of(
    node: AdministeredNode,
    installer: Callable[[], PackageInstaller],
    peers: PeersPort,
    members: Callable[[], Sequence[str]],
) -> Administration:
    """The administration service of a node, to be entered.

    Args:
        node: the node.
        installer: the node's, which is there once it has started.
        peers: its sessions with others.
        members: the names of the cluster's nodes, this one among them.
    """
    settings = node.settings

    async def rows_of(what: str) -> AsyncIterator[dict[str, Any]]:
        if what == "ps":
            async for row in process_rows(node):
                yield row
        else:
            for row in node.installer.listed():
                yield row

    return Administration(
        settings.node,
        peers,
        members,
        lambda: node.settings.cluster.install_from,
        _WhileRunning(node, installer),
        settings.package,
        node.home.unpacked,
        rows_of,
        node.log,
    )
