"""Runs processes from their sources, under `guesthouse run --dev`, instead of building their components at each edit.

Only what has changed since it was built runs so, in Python and JavaScript: in a component that is the same for all apps
(`package/build/development_component.py`) and gets its sources from `development:distro:sys`. A process of its own
loads them first: while that fails, the running one is left alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import KERNEL, MESSAGING
from guesthouse.core.errors import GuesthouseError
from guesthouse.kernel.supervision.supervised import ProcessNotStarted
from guesthouse.modules.development import DEVELOPMENT, Development
from guesthouse.package.build.app_sources import LANGUAGES, AppSources, read_sources
from guesthouse.package.build.build_package import outdated
from guesthouse.package.build.bundler import Bundler
from guesthouse.package.build.development_component import development_component
from guesthouse.package.errors import BuildError
from guesthouse.package.format.load import read_manifest
from guesthouse.package.format.manifest import BuildSpec, Manifest, ProcessEntry
from guesthouse.package.spec import Package, ProcessSpec

if TYPE_CHECKING:
    from guesthouse.node.base_node import BaseNode

SOURCE: Final = "dev"
"""Of its lines in the log."""

_SPAWN: Final = (KERNEL, '"spawn"')
_NAME_OF_CHECK: Final = "check-of-"


class FromSources(Struct, frozen=True):
    """A package some of whose processes run from their sources."""

    package: Package
    sources: Mapping[ProcessId, AppSources]

    @property
    def digest(self) -> str:
        """Tells these sources from others."""
        return " ".join(sources.digest for sources in self.sources.values())


class FromSourcesRunner:
    """What runs packages of one node from their sources. To be closed by `close`.

    Args:
        node: started, without processes yet.
    """

    def __init__(self, node: BaseNode) -> None:
        self._node = node
        self._bundler = Bundler()
        self._module = Development()
        node.router.add_module(self._module)

    async def prepared(self, argument: str) -> FromSources | None:
        """Read the sources of a package folder, and find out that they can be loaded.

        Returns:
            None when nothing is out of date, or something else than `build` can be made of it.

        Raises:
            BuildError: they cannot be loaded; the text begins with file and line.
            PackageError: the manifest is refused.
        """
        folder = Path(argument)
        entries = await asyncio.to_thread(_from_sources, folder)
        if not entries:
            return None
        report = partial(self._node.log.write, SOURCE, "info")
        components, sources = {}, {}
        for entry, build in entries:
            sources[entry.id] = await asyncio.to_thread(read_sources, folder, build, self._bundler, report)
            components[entry.id] = await asyncio.to_thread(development_component, folder, build, report)
        package = await self._node.load(argument, components)
        specs = tuple(_with_sources(spec) if spec.id in sources else spec for spec in package.processes)
        for spec in specs:
            if spec.id in sources:
                await self._check(spec, sources[spec.id])
        return FromSources(replace(package, processes=specs), sources)

    def begin(self, prepared: FromSources) -> None:
        """Have the processes that are about to be started run from these sources."""
        for process, sources in prepared.sources.items():
            self._module.accept(process, sources)

    async def replace(self, prepared: FromSources) -> None:
        """Upgrade the running package to these sources, with its channels open.

        Raises:
            GuesthouseError: a process cannot be started; all run as before.
        """
        for process, sources in prepared.sources.items():
            self._module.offer(process, sources)
        try:
            await self._node.replace(prepared.package)
        except GuesthouseError:
            for process in prepared.sources:
                self._module.withdraw(process)
            raise
        self.begin(prepared)

    def close(self) -> None:
        """End the tools that stay."""
        self._bundler.close()

    def forget(self, package: Package) -> None:
        """The processes of a package run from what was built of them."""
        for spec in package.processes:
            self._module.forget(spec.id)

    async def _check(self, spec: ProcessSpec, sources: AppSources) -> None:
        """Load an app in a process of its own.

        Raises:
            BuildError: it cannot be loaded.
        """
        checking = replace(spec.id, process_name=f"{_NAME_OF_CHECK}{spec.id.process_name}")
        throwaway = ProcessSpec(
            checking, spec.component, "none", False, None, _with_sources(spec).requests, named=False
        )
        supervisor = self._node.supervisor
        self._module.begin_check(checking, sources)
        try:
            await supervisor.add(throwaway, strict=True)
            failure = self._module.failure_of(checking)
            if failure is not None:
                raise BuildError(f"{_shown(sources.folder)}{failure}")
            await supervisor.stop(checking, "it was only to be found out whether it starts")
        except ProcessNotStarted as error:
            raise BuildError(f"{sources.folder / sources.source} cannot be loaded: {error}") from None
        finally:
            self._module.end_check(checking)


def _from_sources(folder: Path) -> list[tuple[ProcessEntry, BuildSpec]]:
    """The processes to be run from their sources: those that are out of date, if that can be done with all of them."""
    manifest = read_manifest(folder)
    entries = [
        (entry, entry.build) for entry in outdated(folder, manifest.processes) if entry.build is not None
    ]
    if _may_spawn(manifest) or any(build.language not in LANGUAGES for _, build in entries):
        return []
    return entries


def _may_spawn(manifest: Manifest) -> bool:
    """Whether processes run components of the package by their paths, which therefore have to be there."""
    return any(_SPAWN in entry.requests for entry in manifest.processes)


def _with_sources(spec: ProcessSpec) -> ProcessSpec:
    right = (DEVELOPMENT, MESSAGING)
    return spec if right in spec.requests else replace(spec, requests=(*spec.requests, right))


def _shown(path: Path) -> str:
    """What is put before a path in a folder: from the current folder, or whole."""
    relative = os.path.relpath(path)
    shown = str(path) if relative.startswith("..") else relative
    return "" if shown == "." else f"{shown}/"
