"""`--dev`: watch packages, and upgrade what changed with its channels open: from its sources if it can run from
them, else rebuilt.

Builds run in a subprocess, because they take seconds of CPU.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from watchfiles import Change, DefaultFilter

from guesthouse.cli.development.watching import WatchedPath, changes
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.files.regular_file import read_regular
from guesthouse.core.ports import LogPort
from guesthouse.node.from_source.from_sources import SOURCE, FromSourcesRunner
from guesthouse.node.node import Node
from guesthouse.package.build.build_package import needs_build
from guesthouse.package.errors import BuildError
from guesthouse.package.format.load import read_manifest
from guesthouse.package.format.manifest import MANIFEST_NAME
from guesthouse.package.spec import Package

_IGNORED_FOLDERS: Final = frozenset((*DefaultFilter.ignore_dirs, "target", "build", "tests", "ui"))
_ERROR: Final = "guesthouse: "
"""Start of the line that says why a command failed."""
_LONGEST_LINE: Final = 64 * 1024


Sources: TypeAlias = dict[Path, tuple[int, int, int]]
"""A snapshot of a package's files: see `WatchedPath.look`."""


class Dev:
    """The packages of a node, run as they are written. To be closed by `close`.

    Args:
        node: started, without processes yet.
        arguments: its packages, as on the command line.
    """

    def __init__(self, node: Node, arguments: Sequence[str]) -> None:
        self._node = node
        self._arguments = arguments
        self._runner = FromSourcesRunner(node)
        self._watched: list[_Watched] = []

    async def load(self) -> list[Package]:
        """Load the packages, built if they have to be.

        Raises:
            BuildError: one cannot be built and was not before; the error, or the log, says why.
            PackageError: a manifest is refused.
        """
        packages = []
        for argument in self._arguments:
            package, watched = await self._load(argument)
            packages.append(package)
            self._watched.append(watched)
        return packages

    async def _load(self, argument: str) -> tuple[Package, _Watched]:
        node, runner = self._node, self._runner
        failed: Sources | None = None
        if (Path(argument) / MANIFEST_NAME).is_file():
            folder = Path(argument)
            sources = await asyncio.to_thread(_look, folder)
            try:
                prepared = await runner.prepared(argument)
            except BuildError as error:
                await _use_last_build(folder, error, node.log)
                failed = sources
            else:
                if prepared is not None:
                    runner.begin(prepared)
                    return prepared.package, _Watched(
                        node, runner, argument, prepared.package, None, prepared.digest
                    )
                failed = await build_changed(argument, node.log)
        package = await node.load(argument)
        return package, _Watched(node, runner, argument, package, failed)

    def close(self) -> None:
        """End what stays between builds."""
        self._runner.close()

    async def watch(self) -> None:
        """Watch the packages until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for watched in self._watched:
                tasks.create_task(watched.run())


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
        await _use_last_build(folder, error, log)
        return sources
    return None


async def _use_last_build(folder: Path, error: BuildError, log: LogPort) -> None:
    """Log why there is no newer one.

    Raises:
        BuildError: there is none at all.
    """
    manifest = await asyncio.to_thread(read_manifest, folder)
    if not all((folder / entry.wasm).is_file() for entry in manifest.processes):
        if "\n" not in str(error):
            raise error
        log.write(SOURCE, "error", str(error))
        raise BuildError(f"{folder} cannot be run: fix the error above")
    log.write(SOURCE, "error", _told(error, "the last build is used"))


def _told(error: GuesthouseError, then: str) -> str:
    """An error, with what follows from it at the end of its first line."""
    first, _, rest = str(error).partition("\n")
    return f"{first} ({then})" + (f"\n{rest}" if rest else "")


class _Watched:
    """One watched package.

    Args:
        node: the node that runs it.
        runner: runs it from its sources.
        argument: its name on the command line.
        package: what runs now.
        failed: the sources that could not be built, which are not tried again before they change.
        digest: of the sources that it runs from; None if it runs what was built.
    """

    def __init__(
        self,
        node: Node,
        runner: FromSourcesRunner,
        argument: str,
        package: Package,
        failed: Sources | None,
        digest: str | None = None,
    ) -> None:
        self._node = node
        self._runner = runner
        self._argument = argument
        self._source = package.source.absolute()
        self._files = self._signatures(package)
        self._failed = failed
        self._failed_content = ""
        self._digest = digest

    async def run(self) -> None:
        """Watch until cancelled."""
        place = WatchedPath(self._source, _enters, self._matters)
        async for _ in changes(place, lambda text: self._node.log.write(SOURCE, "warning", text)):
            try:
                await self._changed()
            except GuesthouseError as error:
                self._node.log.write(SOURCE, "error", _told(error, "the old version keeps running"))

    async def _changed(self) -> None:
        """Sources that have failed are not tried again: some notifications are late or change nothing."""
        prepared, had_failed = None, self._failed is not None
        if self._source.is_dir():
            sources = await asyncio.to_thread(_look, self._source)
            if sources != self._failed and not await self._is_failed_content(sources):
                prepared = await self._runner.prepared(self._argument)
                if prepared is None and await asyncio.to_thread(needs_build, self._source):
                    self._node.log.write(SOURCE, "info", f"{self._argument} has changed: building it")
                    await _build(self._source, self._node.log)
                self._failed, self._failed_content = None, ""
            elif self._digest is not None:  # what runs is of sources, too, and stays
                return
        package = await self._node.load(self._argument) if prepared is None else prepared.package
        files, digest = self._signatures(package), None if prepared is None else prepared.digest
        if (files, digest) == (self._files, self._digest):
            if had_failed and self._failed is None:
                self._node.log.write(
                    SOURCE, "info", f"{self._argument} is again what runs: nothing to reload"
                )
            return
        self._files, self._digest = files, digest
        await self._node.installer.take_hosts([package], consent=False)
        if prepared is None:
            await self._node.replace(package)
            self._runner.forget(package)
        else:
            await self._runner.replace(prepared)
        self._node.log.write(SOURCE, "info", f"{self._argument} was reloaded; its channels stayed open")

    async def _is_failed_content(self, sources: Sources) -> bool:
        """Whether files that were written anew have what failed in them. They are noted as what is tried."""
        content = await asyncio.to_thread(_content, sources)
        known = content == self._failed_content
        self._failed, self._failed_content = sources, content
        return known

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


def _content(sources: Sources) -> str:
    """A digest of the files."""
    digest = hashlib.sha256()
    for path in sorted(sources):
        with suppress(OSError):  # it is gone, or cannot be read: then its name alone counts
            digest.update(b"%s\n%s\n" % (os.fsencode(path), hashlib.sha256(read_regular(path)).digest()))
    return digest.hexdigest()


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
