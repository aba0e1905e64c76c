"""What the control socket can ask of a node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from guesthouse.control.server import BadRequest, Command
from guesthouse.logs import as_dict

if TYPE_CHECKING:
    from guesthouse.kernel.process import Process
    from guesthouse.node import Node

MOST_LINES: Final = 100_000
LONGEST_TOKEN_SECONDS: Final = 10 * 366 * 24 * 3600


class NodeCommands:
    """The commands of one node. Each takes a request and yields JSON values."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def all(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {"ps": self.ps, "channels": self.channels, "logs": self.logs, "token": self.token}

    async def ps(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each process: what it is, where it runs, and what it costs."""
        for process in self._node.router.processes():
            yield self._process(process)

    async def channels(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each open channel."""
        for channel in self._node.http.open_channels():
            yield {
                "channel_id": channel.channel_id,
                "process": str(channel.owner),
                "path": channel.path,
                "client": channel.source_socket_addr,
                "open_seconds": round(time.time() - channel.opened_at, 1),
                "messages_in": channel.messages_in,
                "messages_out": channel.messages_out,
                "outbox_bytes": channel.outbox_bytes,
            }

    async def logs(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The last `lines` lines, and with `follow` each further one until the client leaves."""
        lines, follow = request.get("lines"), request.get("follow", False)
        if type(lines) is not int or not 0 <= lines <= MOST_LINES or type(follow) is not bool:
            raise BadRequest(f"logs takes lines, from 0 to {MOST_LINES}, and follow")
        log = self._node.log
        subscription = log.subscribe()
        try:
            for line in log.recent(lines):
                yield as_dict(line)
            came = asyncio.Event()
            subscription.on_line = came.set
            while follow:
                came.clear()
                for line in subscription.take():
                    yield as_dict(line)
                await came.wait()
        finally:
            log.unsubscribe(subscription)

    async def token(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """An auth token of this node, valid for `ttl` seconds."""
        ttl = request.get("ttl")
        if type(ttl) is not int or not 0 < ttl <= LONGEST_TOKEN_SECONDS:
            raise BadRequest(f"a token's ttl is from 1 to {LONGEST_TOKEN_SECONDS} seconds")
        yield self._node.http.issue_token(ttl)

    def _process(self, process: Process) -> dict[str, Any]:
        up_seconds = None if process.started_at is None else round(time.time() - process.started_at, 1)
        return {
            "process": str(process.id),
            "state": process.state.value,
            "worker": None if process.run is None else process.run.worker,
            "on_exit": process.on_exit if isinstance(process.on_exit, str) else "requests",
            "restarts": max(0, process.runs - 1),
            "up_seconds": up_seconds,
            "cpu_seconds": round(process.cpu_seconds, 3),
            "memory_bytes": process.memory_bytes,
            "mailbox_messages": len(process.mailbox),
            "mailbox_bytes": process.mailbox.size,
            "channels": len(self._node.http.open_channels(process.id)),
        }
