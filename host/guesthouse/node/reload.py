"""Reloads settings, certificates and the log file of a running node on SIGHUP.

Settings that can be reloaded are listed here; changes of others are logged, and take effect at the next start. If the
new settings or certificates are faulty, nothing changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import Struct
from msgspec.structs import replace

from guesthouse.core.config import Settings
from guesthouse.core.errors import GuesthouseError

if TYPE_CHECKING:
    from guesthouse.node.base_node import BaseNode

RELOADED: Final = frozenset(
    (
        *(
            f"http.{name}"
            for name in ("tls_cert", "tls_key", "allowed_origins", "trusted_proxies", "hosts", "origins")
        ),
        "cluster.install_from",
        *(f"http.{name}" for name in ("page_sources", "register_form", "register_cookie")),
        *(f"http.{name}" for name in ("register_packages", "readable_packages", "service_workers")),
        *(
            f"connections.{name}_seconds"
            for name in (
                *("handshake", "register", "ping", "pong", "close"),
                *("http_response", "http_longest_response"),
            )
        ),
        *(
            f"process.{name}"
            for name in (
                *("memory_bytes", "table_elements", "cpu_seconds_per_message", "start_seconds", "cpu_share"),
                *("host_calls_per_second", "log_lines_per_second", "log_line_bytes", "wasi_handles"),
                *("first_message_seconds", "handover_seconds"),
            )
        ),
    )
)
"""Settings that take effect without a restart: for later connections and runs."""

SOURCE: Final = "node"


class Reloader:
    """Reloads on request, one at a time. An async context manager: leaving it does not wait.

    Args:
        node: the node to reload.
        load: reads the settings; blocks.
    """

    def __init__(self, node: BaseNode, load: Callable[[], Settings]) -> None:
        self._node = node
        self._load = load
        self._asked = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def ask(self) -> None:
        """Reload soon."""
        self._asked.set()

    async def _work(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                wanted = await asyncio.to_thread(self._load)
                self._take_up(wanted)
            except GuesthouseError as error:
                self._node.log.write(SOURCE, "error", f"nothing is reloaded: {error}")

    def _take_up(self, wanted: Settings) -> None:
        node = self._node
        settings, taken, waiting = merged(node.settings, wanted)
        node.reload(settings)
        text = "certificates and log file were reopened"
        node.log.write(SOURCE, "info", f"reloaded: {text}; {', '.join(taken) or 'no setting has changed'}")
        if waiting:
            text = f"these settings have changed and take effect at the next start of the node: {', '.join(waiting)}"
            node.log.write(SOURCE, "warning", text)


def merged(now: Settings, wanted: Settings) -> tuple[Settings, list[str], list[str]]:
    """The new settings of a running node, the names of those that changed, and of those that need a restart."""
    taken, waiting = [], []
    settings = now
    for name, old, new in _changes(now, wanted):
        section, _, last = name.rpartition(".")
        tls_begins_or_ends = name == "http.tls_cert" and (old is None) != (new is None)
        if name not in RELOADED or tls_begins_or_ends:
            waiting.append(name)
            continue
        taken.append(name)
        settings = replace(settings, **{section: replace(getattr(settings, section), **{last: new})})
    return settings, taken, waiting


def _changes(now: Any, wanted: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for name in now.__struct_fields__:
        old, new = getattr(now, name), getattr(wanted, name)
        if isinstance(old, Struct):
            yield from _changes(old, new, f"{name}.")
        elif old != new:
            yield f"{prefix}{name}", old, new
