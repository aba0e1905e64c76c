"""`--dev`: watch packages, build what changed, and swap it in with the channels open.

Builds run in a subprocess: they take seconds of CPU, which the node's loop has not got.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from watchfiles import Change, DefaultFilter, awatch

from guesthouse.errors import GuesthouseError
from guesthouse.node import Node
from guesthouse.package.errors import BuildError
from guesthouse.package.load import read_manifest
from guesthouse.package.manifest import MANIFEST_NAME, Manifest
from guesthouse.package.spec import Package

SOURCE: Final = "dev"
_IGNORED_FOLDERS: Final = (*DefaultFilter.ignore_dirs, "target", "build", "tests")


async def watch(node: Node, packages: Mapping[str, Package]) -> None:
    """Watch packages, by the argument that named each, until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for argument, package in packages.items():
            tasks.create_task(_Watched(node, argument, package).run())


async def build_missing(argument: str) -> None:
    """Build a package folder whose components are not there yet.

    Raises:
        BuildError: the build failed; what it said is above.
    """
    folder = Path(argument)
    if not (folder / MANIFEST_NAME).is_file():
        return
    manifest = await asyncio.to_thread(read_manifest, folder)
    if _can_build(manifest) and not all((folder / entry.wasm).exists() for entry in manifest.processes):
        await _build(folder)


class _Watched:
    """One package that is watched."""

    def __init__(self, node: Node, argument: str, package: Package) -> None:
        self._node = node
        self._argument = argument
        self._source = package.source.absolute()
        self._components = self._signatures(package)

    async def run(self) -> None:
        """Watch until cancelled."""
        folder = self._source if self._source.is_dir() else self._source.parent
        async for changes in awatch(folder, watch_filter=self._matters):
            try:
                await self._changed({Path(path) for _, path in changes})
            except GuesthouseError as error:
                self._node.log.write(SOURCE, "error", f"{error} (what ran before runs on)")

    async def _changed(self, paths: set[Path]) -> None:
        if self._source.is_dir() and any(path.suffix != ".wasm" for path in paths):
            manifest = await asyncio.to_thread(read_manifest, self._source)
            if _can_build(manifest):
                self._node.log.write(SOURCE, "info", f"{self._argument} changed: building it")
                await _build(self._source)
        package = await self._node.load(self._argument)
        components = self._signatures(package)
        if components == self._components and not any(path.name == MANIFEST_NAME for path in paths):
            return
        self._components = components
        await self._node.replace(package)
        self._node.log.write(SOURCE, "info", f"{self._argument} is reloaded; its channels stayed open")

    def _matters(self, change: Change, path: str) -> bool:
        changed = Path(path)
        if not self._source.is_dir():
            return changed == self._source
        if changed in self._components:
            return True
        inner = changed.relative_to(self._source).parts[:-1]
        return not any(part in _IGNORED_FOLDERS or part == "ui" for part in inner) and _DEFAULT(change, path)

    @staticmethod
    def _signatures(package: Package) -> dict[Path, tuple[int, int]]:
        signatures = {}
        for spec in package.processes:
            with suppress(OSError):
                status = spec.component.stat()
                signatures[spec.component.absolute()] = (status.st_mtime_ns, status.st_size)
        return signatures


async def _build(folder: Path) -> None:
    """Run `guesthouse build` on a folder.

    Raises:
        BuildError: it failed; the message is what it said last.
    """
    build = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", "build", str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await build.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            build.kill()
        await build.wait()
        raise
    if build.returncode:
        raise BuildError(f"{folder} could not be built: {said.decode(errors='replace').strip()}")


def _can_build(manifest: Manifest) -> bool:
    return any(entry.build is not None for entry in manifest.processes)


_DEFAULT: Final = DefaultFilter()
