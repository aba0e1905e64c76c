"""`--dev`: watch packages, rebuild what changed, and upgrade it with its channels open.

Builds run in a subprocess, because they take seconds of CPU.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from watchfiles import Change, DefaultFilter

from guesthouse.cli.watching import WatchedPath, changes
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort
from guesthouse.node.node import Node
from guesthouse.package.build.build_package import needs_build
from guesthouse.package.errors import BuildError
from guesthouse.package.format.load import read_manifest
from guesthouse.package.format.manifest import MANIFEST_NAME
from guesthouse.package.spec import Package

SOURCE: Final = "dev"
_IGNORED_FOLDERS: Final = frozenset((*DefaultFilter.ignore_dirs, "target", "build", "tests", "ui"))
_ERROR: Final = "guesthouse: "
"""Start of the line that says why a command failed."""
_LONGEST_LINE: Final = 64 * 1024


Sources: TypeAlias = dict[Path, tuple[int, int, int]]
"""A snapshot of a package's files: see `WatchedPath.look`."""


async def watch(node: Node, packages: Mapping[str, Package], failed: Mapping[str, Sources]) -> None:
    """Watch packages until cancelled.

    Args:
        node: the node that runs them.
        packages: by their command line arguments.
        failed: the sources of failed builds, which are not built again before they change.
    """
    async with asyncio.TaskGroup() as tasks:
        for argument, package in packages.items():
            tasks.create_task(_Watched(node, argument, package, failed.get(argument)).run())


async def build_changed(argument: str, log: LogPort) -> Sources | None:
    """Build a package folder whose components are missing or out of date. If that fails, existing components are used.

    Returns:
        The sources of a failed build; None when it succeeded.

    Raises:
        BuildError: the build failed and there are no components; its output is in the log.
        PackageError: the manifest is refused.
    """
    folder = Path(argument)
    if not (folder / MANIFEST_NAME).is_file() or not await asyncio.to_thread(needs_build, folder):
        return None
    sources = await asyncio.to_thread(_look, folder)
    try:
        await _build(folder, log)
    except BuildError as error:
        manifest = await asyncio.to_thread(read_manifest, folder)
        if not all((folder / entry.wasm).is_file() for entry in manifest.processes):
            raise
        log.write(SOURCE, "error", f"{error} (the last build is used)")
        return sources
    return None


class _Watched:
    """One watched package."""

    def __init__(self, node: Node, argument: str, package: Package, failed: Sources | None) -> None:
        self._node = node
        self._argument = argument
        self._source = package.source.absolute()
        self._files = self._signatures(package)
        self._failed = failed

    async def run(self) -> None:
        """Watch until cancelled."""
        place = WatchedPath(self._source, _enters, self._matters)
        async for _ in changes(place, lambda text: self._node.log.write(SOURCE, "warning", text)):
            try:
                await self._changed()
            except GuesthouseError as error:
                self._node.log.write(SOURCE, "error", f"{error} (the old version keeps running)")

    async def _changed(self) -> None:
        if self._source.is_dir() and await asyncio.to_thread(needs_build, self._source):
            await self._build()
        package = await self._node.load(self._argument)
        files = self._signatures(package)
        if files == self._files:
            return
        self._files = files
        await self._node.installer.take_hosts([package], consent=False)
        await self._node.replace(package)
        self._node.log.write(SOURCE, "info", f"{self._argument} was reloaded; its channels stayed open")

    async def _build(self) -> None:
        """Build, unless these sources have failed before: some notifications are late or change nothing."""
        sources = await asyncio.to_thread(_look, self._source)
        if sources == self._failed:
            return
        self._node.log.write(SOURCE, "info", f"{self._argument} has changed: building it")
        self._failed = sources
        await _build(self._source, self._node.log)
        self._failed = None

    def _matters(self, changed: Path) -> bool:
        if changed == self._source or changed in self._files:
            return True
        if not changed.is_relative_to(self._source):
            return False
        inner = changed.relative_to(self._source).parts[:-1]
        return _IGNORED_FOLDERS.isdisjoint(inner) and _is_source(changed)

    def _signatures(self, package: Package) -> dict[Path, tuple[int, int]]:
        """The files whose changes make a new version of the package."""
        signatures = {}
        for path in (self._source / MANIFEST_NAME, *(spec.component for spec in package.processes)):
            with suppress(OSError):
                status = path.stat()
                signatures[path.absolute()] = (status.st_mtime_ns, status.st_size)
        return signatures


def _look(folder: Path) -> Sources:
    return WatchedPath(folder.absolute(), _enters, _is_source).look()


def _enters(name: str) -> bool:
    return name not in _IGNORED_FOLDERS


def _is_source(path: Path) -> bool:
    return _DEFAULT(Change.modified, str(path))


async def _build(folder: Path, log: LogPort) -> None:
    """Run `guesthouse build` on a folder and log its output.

    Raises:
        BuildError: it failed.
    """
    build = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", "build", str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert build.stderr is not None  # noqa: S101 - it is a pipe
    why = ""
    try:
        async for line in _lines(build.stderr):
            if line.startswith(_ERROR):
                why = line.removeprefix(_ERROR)
            else:
                log.write(SOURCE, "info", line)
        await build.wait()
    finally:
        if build.returncode is None:
            build.terminate()  # and its compiler with it
            await build.wait()
    if build.returncode:
        raise BuildError(why or f"{folder} cannot be built: the build ended with {build.returncode}")


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield lines; very long ones in parts."""
    rest = b""
    while chunk := await stream.read(_LONGEST_LINE):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
        if len(rest) > _LONGEST_LINE:
            yield rest.decode(errors="replace")
            rest = b""
    if rest:
        yield rest.decode(errors="replace")


_DEFAULT: Final = DefaultFilter()
