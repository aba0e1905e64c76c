"""Commands about packages, here and on other nodes of the cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from guesthouse.control.control_server import BadCommand, Command
from guesthouse.node.commands.commanded_node import CommandedNode, cluster_of
from guesthouse.node.commands.request_fields import text_of
from guesthouse.node.package_hosts import NeedsConsent
from guesthouse.package.store.installed import parse_package_id


class PackageCommands:
    """The commands about packages. Each takes a request and yields JSON values."""

    def __init__(self, node: CommandedNode) -> None:
        self._node = node

    def all(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {
            "install": self.install,
            "uninstall": self.uninstall,
            "rollback": self.rollback,
            "packages": self.packages,
        }

    async def install(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Install the package at a path, or upgrade to it. If it asks for more than the installed version, `consent`
        has to be the hash of what was shown, or true; otherwise yields what it asks for. With `nodes`, names with
        blanks between them, or `everywhere`, on these nodes: yields what became of each.
        """
        consent = request.get("consent")
        if not isinstance(consent, str | bool | None):
            raise BadCommand("`consent` is the hash of a package, or true")
        everywhere, nodes = request.get("everywhere") is True, request.get("nodes")
        if everywhere or nodes is not None:
            named = [] if everywhere else text_of(request, "nodes").split()
            if not everywhere and not named:
                raise BadCommand("install takes `nodes`, at least one, or `everywhere`")
            async for item in cluster_of(self._node).install(text_of(request, "package"), named, consent):
                yield item
            return
        try:
            yield await self._node.installer.install(text_of(request, "package"), consent)
        except NeedsConsent as needed:
            yield {"needs_consent": str(needed), **needed.item}

    async def uninstall(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Remove a package from the node; with `purge`, what it stored too."""
        drop_state = request.get("purge", False) is True
        package_id = parse_package_id(text_of(request, "package"))
        await self._node.installer.uninstall(package_id, drop_state=drop_state)
        yield package_id

    async def rollback(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Return to the previous version of a package."""
        yield await self._node.installer.rollback(parse_package_id(text_of(request, "package")))

    async def packages(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each package that is installed or running; with `cluster`, those of all nodes."""
        if request.get("cluster") is True:
            async for row in cluster_of(self._node).listed("packages"):
                yield row
            return
        for item in self._node.installer.listed():
            yield item
