"""Nodes that administer each other, in one event loop: with real packages and folders, and nothing that runs them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec.msgpack
from tests.local_peers import LocalNet, LocalPeers
from tests.patience import PATIENCE

from guesthouse.cluster.administration.administration import Administration
from guesthouse.core.config import PackageLimits
from guesthouse.core.errors import GuesthouseError
from guesthouse.kernel.cluster.services import ADMINISTRATION
from guesthouse.package.format.archive import remove_unpacked
from guesthouse.package.store.stage import stage

LIMITS = PackageLimits(zip_bytes=8 * 1024 * 1024, unpacked_bytes=16 * 1024 * 1024, files=100)


_CODE = random.Random(7).randbytes(700_000)


class Lines:
    """A log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        self.lines.append(text)

    def saw(self, part: str) -> bool:
        return any(part in line for line in self.lines)


class NotInstalled(GuesthouseError):
    """As the errors of `Installer`."""


@dataclass
class Folders:
    """What installing does to a node's folders: `Installer` without what runs packages."""

    unpack_dir: Path
    asks: tuple[str, ...] = ()
    """What packages ask for there."""
    broken: str = ""
    """Why nothing can be started there."""
    installed: dict[str, str] = field(default_factory=dict)
    consents: list[object] = field(default_factory=list)

    async def preview(self, argument: str) -> dict[str, Any]:
        before = self._folders()
        item = self._item(argument)
        for path in self._folders() - before:
            remove_unpacked(path)
        return item

    async def install(self, argument: str, consent: str | bool | None = None) -> dict[str, Any]:
        item = self._item(argument)
        self.consents.append(consent)
        if self.asks and consent not in (True, item["hash"]):
            raise NotInstalled("it asks for more")
        if self.broken:
            raise NotInstalled(self.broken)
        self.installed[item["package"]] = item["hash"]
        return item

    def _item(self, argument: str) -> dict[str, Any]:
        package = stage(argument, LIMITS, self.unpack_dir)
        return {
            "package": package.id,
            "version": package.version,
            "hash": package.source.name,
            "running_version": package.version,
            "asks_more": list(self.asks),
            "asks_less": [],
        }

    def _folders(self) -> set[Path]:
        return set(self.unpack_dir.iterdir()) if self.unpack_dir.is_dir() else set()


@dataclass
class Member:
    """A node."""

    administration: Administration
    folders: Folders
    log: Lines
    rows: dict[str, list[dict[str, Any]]]

    async def install(self, package: Path, *nodes: str, consent: Any = None) -> list[dict[str, Any]]:
        """Install a package on nodes from here."""
        return [item async for item in self.administration.install(str(package), nodes, consent)]

    async def listed(self, what: str) -> list[dict[str, Any]]:
        return [row async for row in self.administration.listed(what)]

    def litter(self) -> list[Path]:
        """What there is of packages that were not installed."""
        return list(self.folders.unpack_dir.glob(".*")) if self.folders.unpack_dir.is_dir() else []


@dataclass
class Impostor:
    """A member whose program is its own: it sends and answers what a test likes."""

    peers: LocalPeers
    answer: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda message: None
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Requests that came."""
    heard: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    """Answers that came."""

    def send(self, node: str, body: bytes | dict[str, Any]) -> None:
        raw = body if isinstance(body, bytes) else msgspec.msgpack.encode(body)
        assert self.peers.send(node, ADMINISTRATION, raw, must=True) is None

    async def ask(self, node: str, message: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the next answer."""
        self.send(node, {"id": 7, "reply": False, **message})
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self.heard.get()

    def receive(self, node: str, body: bytes) -> None:
        message: dict[str, Any] = msgspec.msgpack.decode(body)
        if message["reply"]:
            self.heard.put_nowait(message)
            return
        self.asked.append(message)
        answered = self.answer(message)
        if answered is not None:
            self.send(node, {"id": message["id"], "reply": True, **answered})

    def up(self, node: str) -> None: ...

    def lost(self, node: str) -> None: ...

    def room(self, node: str) -> None: ...


@dataclass
class Cluster:
    """The members of a cluster, which end with the test."""

    folder: Path
    stack: AsyncExitStack
    net: LocalNet = field(default_factory=LocalNet)
    names: list[str] = field(default_factory=list)

    async def member(self, name: str, install_from: Sequence[str] = (), **more: Any) -> Member:
        """Start a node."""
        log, folders = Lines(), Folders(self.folder / name / "unpacked", **more)
        rows: dict[str, list[dict[str, Any]]] = {}

        async def rows_of(what: str) -> AsyncIterator[dict[str, Any]]:
            for row in rows.get(what, []):
                yield row

        administration = Administration(
            name,
            LocalPeers(self.net, name),
            lambda: self.names,
            lambda: install_from,
            folders,
            LIMITS,
            folders.unpack_dir,
            rows_of,
            log,
        )
        self.names.append(name)
        return Member(await self.stack.enter_async_context(administration), folders, log, rows)

    def impostor(self, name: str) -> Impostor:
        """A hostile member."""
        peers = LocalPeers(self.net, name)
        impostor = Impostor(peers)
        peers.register(ADMINISTRATION, impostor)
        self.names.append(name)
        return impostor


def write_package(folder: Path, files: dict[str, bytes] | None = None, version: str = "1.0") -> Path:
    """A package folder."""
    content = {"build/app.wasm": b"\0asm\x0d\0\x01\0" + _CODE, "ui/index.html": b"<p>hi"} | (files or {})
    manifest = f"""
[package]
name = "app"
publisher = "test.os"
version = "{version}"
description = ""

[[process]]
name = "app"
wasm = "build/app.wasm"
on-exit = "restart"
ui = "ui"
"""
    for name, data in {**content, "package.toml": manifest.encode()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)
