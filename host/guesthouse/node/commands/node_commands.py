"""All commands, and those about the node itself: its settings, restart, drain and cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from msgspec import ValidationError, convert

from guesthouse.control.control_server import BadCommand, Command
from guesthouse.node.commands.access_commands import AccessCommands
from guesthouse.node.commands.commanded_node import CommandedNode
from guesthouse.node.commands.log_commands import LogCommands
from guesthouse.node.commands.package_commands import PackageCommands
from guesthouse.node.commands.process_commands import ProcessCommands
from guesthouse.node.draining.client_drain import DrainOptions
from guesthouse.node.handing_over import CannotHandOver, reserve


class NodeCommands:
    """The commands of one node. Each takes a request and yields JSON values."""

    def __init__(self, node: CommandedNode) -> None:
        self._node = node

    def all(self) -> Mapping[str, Command]:
        """The commands by name."""
        own = {
            "node": self.node,
            "config": self.config,
            "restart-node": self.restart_node,
            "drain": self.drain,
            "cluster": self.cluster,
        }
        groups = (ProcessCommands, PackageCommands, LogCommands, AccessCommands)
        return own | {name: command for group in groups for name, command in group(self._node).all().items()}

    async def node(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The node itself: its name, where it listens and the certificate that it shows."""
        settings = self._node.settings
        yield {
            "node": settings.node,
            "url": self._node.http.url,
            "tls_cert": settings.http.tls_cert,
            "tls_key": settings.http.tls_key,
            "run": self._node.run_id,
            "started": self._node.started,
            "drain": self._node.client_drain.status(),
            "gateways": self._gateways(),
        }

    def _gateways(self) -> list[dict[str, object]]:
        """The local gateways."""
        gateways = self._node.local_gateways
        if gateways is None:
            return []
        return [
            {
                "gateway": each.name,
                "pid": each.os_pid,
                "state": "ready" if each.is_ready() else "starting",
                "connections": len(each.clients),
                "restarts": gateways.restarts[each.name],
            }
            for each in sorted(gateways.alive(), key=lambda each: each.name)
        ]

    async def config(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each setting, and where it comes from."""
        from guesthouse.node.settings.settings_listing import listed_settings  # a node starts without

        given = await asyncio.to_thread(self._node.given)
        for item in listed_settings(self._node.settings, given):
            yield item

    async def restart_node(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Restart the node itself, with the channels that outlive it. Yields the run that ends: another follows."""
        if self._node.on_restart is not None and self._node.started and not self._node.stopping:
            for unwritten in await self._node.http.pending_writes.try_all():
                text = "the node was not restarted, and goes on: what was revoked would be valid again"
                raise BadCommand(f"{text}: {unwritten}")
            try:
                await reserve(self._node)
            except CannotHandOver as error:
                raise BadCommand(f"the node was not restarted, and goes on: {error}") from None
        restart = self._node.on_restart
        if restart is None or not self._node.started or self._node.stopping:
            raise BadCommand("this node cannot be restarted now: it starts or stops")
        yield {"run": self._node.run_id}
        restart()

    async def drain(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Drain the node, or with `cancel` no longer; yields how far it is until it is done, or once without `wait`."""
        drain = self._node.client_drain
        if request.get("cancel") is True:
            await drain.cancel()
        else:
            given = {name: request[name] for name in DrainOptions.__struct_fields__ if name in request}
            try:
                options = convert(given, DrainOptions)
            except ValidationError as error:
                raise BadCommand(f"drain: {error}") from None
            if not self._node.started:
                raise BadCommand("this node cannot be drained now: it starts")
            await drain.begin(options)
        if request.get("wait") is not True:
            yield drain.status()
            return
        async for status in drain.watch():
            yield status

    async def cluster(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Carry out an `action` of `guesthouse cluster`."""
        try:
            from guesthouse.cluster.commands import carry_out  # only where it is wanted
        except ModuleNotFoundError as error:
            raise BadCommand(f"clusters need {error.name}: run pip install 'guesthouse[cluster]'") from None
        async for item in carry_out(self._node, request):
            yield item
