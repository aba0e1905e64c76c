"""What the node lists of itself, as JSON: for the command line and for the API."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from guesthouse.core.address import ProcessId
from guesthouse.core.config import Settings
from guesthouse.core.home import Home
from guesthouse.core.messages import LogLine
from guesthouse.core.ports import ChannelInfo, LogPort
from guesthouse.http_server.server import HttpServer
from guesthouse.http_server.state.traffic import Traffic
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.supervision.process_status import listed, listed_end, state_sizes
from guesthouse.monitoring.figures import MeasuredNode


class FollowedLog(Protocol):
    """Lines as they come. Who does not keep up loses some, and is told how many."""

    on_line: Callable[[], None] | None
    """Called when there are lines to take."""

    def take(self) -> Iterator[LogLine]:
        """Yield what came since the last call."""


class KeptLog(LogPort, Protocol):
    """The log, with its last lines."""

    def tail(self, count: int, source: str, level: str, since: float, text: str) -> Sequence[LogLine]:
        """The last `count` lines that are of a source, of a level or a more severe one, and so on; oldest first."""

    def following(self, source: str, level: str) -> AbstractContextManager[FollowedLog]:
        """Lines of a source and level that come in the block."""


class AdministeredPackages(Protocol):
    """The packages of a node."""

    def listed(self) -> Iterator[dict[str, Any]]:
        """Each package that is installed or running."""

    async def preview(self, argument: str) -> dict[str, Any]:
        """What a package is, and asks for beyond the version that is installed; nothing changes.

        Raises:
            GuesthouseError: it is refused.
        """

    async def install(
        self, argument: str, consent: str | bool | None, progress: Callable[[str, int, int], None]
    ) -> dict[str, Any]:
        """Install a package, or upgrade to it.

        Raises:
            GuesthouseError: it is refused, or cannot be started.
        """

    async def rollback(self, package_id: str, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
        """Return to the previous version of a package.

        Raises:
            GuesthouseError: there is none, or it cannot be started.
        """


class AdministeredNode(MeasuredNode, Protocol):
    """What commands and the API see of a node."""

    settings: Settings
    home: Home
    router: Router
    http: HttpServer
    state: State

    @property
    def log(self) -> KeptLog:
        """Its log."""

    @property
    def installer(self) -> AdministeredPackages:
        """Its packages."""

    async def restart(self, process_id: ProcessId) -> None:
        """Restart a process, or start one of an installed package that was stopped.

        Raises:
            NoSuchProcess: there is none of that id.
            GuesthouseError: it cannot be compiled or started.
        """

    async def stop(self, process_id: ProcessId) -> None:
        """Stop a process for good.

        Raises:
            NoSuchProcess: there is none of that id.
        """


async def process_rows(node: AdministeredNode) -> AsyncIterator[dict[str, Any]]:
    """Each process: what it is, where it runs, and its use of each limit."""
    sizes = await state_sizes(node.state)
    packages = {item["package"]: item for item in node.installer.listed()}
    ended = node.http.ended_sessions()
    traffic = await node.http.traffic()
    for process in node.router.processes():
        item = packages.get(process.id.package_id, {})
        version = {"version": item.get("running_version"), "hash": item.get("running_hash")}
        opened = node.http.open_channels(process.id)
        channels = {
            "channels": len(opened),
            "resumable": sum(channel.resumable for channel in opened),
            "away": sum(channel.away for channel in opened),
            "ended": ended.get(process.id, 0),
            **_messages(traffic.get(process.id)),
        }
        yield listed(process, node.settings.process, sizes) | channels | version
    for name, gone in node.not_running():
        item = packages.get(gone.id.package_id, {})
        version = {"version": item.get("running_version"), "hash": item.get("running_hash")}
        channels = {"channels": 0, "resumable": 0, "away": 0, "ended": ended.get(gone.id, 0)}
        channels |= _messages(traffic.get(gone.id))
        shown = listed_end(gone, node.settings.process, sizes)
        yield shown | channels | version | {"process": name}


def _messages(traffic: Traffic | None) -> dict[str, int]:
    """Messages of a process's channels from and to clients, since the node started."""
    counted = traffic or Traffic()
    return {"messages_in": counted.messages_in, "messages_out": counted.messages_out}


def channel_row(channel: ChannelInfo) -> dict[str, Any]:
    """An open channel."""
    return {
        "channel_id": channel.channel_id,
        "process": str(channel.owner),
        "path": channel.path,
        "client": channel.client,
        "open_seconds": round(time.monotonic() - channel.opened_at, 1),
        "messages_in": channel.messages_in,
        "messages_out": channel.messages_out,
        "outbox_bytes": channel.outbox_bytes,
        "resumable": channel.resumable,
        "away": channel.away,
    }
