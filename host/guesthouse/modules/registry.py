"""The runtime modules of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.config import ProcessLimits
from guesthouse.core.timing.clock import Clock
from guesthouse.kernel.messaging.node_sender import NodeSender, NotDelivered
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.storage.database import State
from guesthouse.modules.kv import Kv
from guesthouse.modules.module import ModuleContext, RuntimeModule
from guesthouse.modules.passwords import Passwords
from guesthouse.modules.timer import Timer
from guesthouse.modules.vfs import Vfs
from guesthouse.package.drive_path import PACKAGE_DRIVE
from guesthouse.package.spec import Package

MODULES: Final[tuple[type[RuntimeModule], ...]] = (Kv, Passwords, Timer, Vfs)
"""All modules. To add one, write its file and list it here."""
TABLES: Final = tuple(table for module in MODULES for table in module.tables)


class Modules:
    """The modules of one node. To be closed by `close`.

    Args:
        router: the node's, to which `load` adds them.
        state: the node's database, made with `TABLES`.
        limits: their quotas.
        folder_of: returns the folder of an installed package by its id, or None.
        clock: the time that timers and expiries go by.
    """

    def __init__(
        self,
        router: Router,
        state: State,
        limits: ProcessLimits,
        folder_of: Callable[[str], Path | None],
        clock: Clock,
    ) -> None:
        self._router = router
        self._all: list[RuntimeModule] = []
        for module in MODULES:
            tell = partial(self._tell, router.asker(module.id))
            self._all.append(module.make(ModuleContext(state, limits, folder_of, tell, clock)))

    async def load(self) -> None:
        """Load the modules' stored data and add them to the router.

        Raises:
            StateError: the database cannot be read.
        """
        for module in self._all:
            await module.load()
            self._router.add_module(module)

    def forget(self, process: ProcessId) -> None:
        """See `RuntimeModule`."""
        for module in self._all:
            module.forget(process)

    def forget_package(self, package: str) -> None:
        """See `RuntimeModule`."""
        for module in self._all:
            module.forget_package(package)

    def close(self) -> None:
        """Stop the modules."""
        for module in self._all:
            module.close()

    def _tell(self, sender: NodeSender, process: ProcessId, body: bytes) -> bool:
        if self._router.find(process) is None:
            return False
        try:
            sender.tell(Address(self._router.node, process), body, None)
        except NotDelivered:
            return False
        return True


def package_folder(
    packages: Callable[[str], Iterable[Package]], unpacked: Path, package_id: str
) -> Path | None:
    """Folder of a package's drive `pkg`: its subfolder of that name, or else the package's folder.

    Args:
        packages: returns the packages that the node runs by that id.
        unpacked: folder of unpacked archives.
        package_id: `package:publisher`.
    """
    root = package_root(packages, unpacked, package_id)
    return root / PACKAGE_DRIVE if root is not None and (root / PACKAGE_DRIVE).is_dir() else root


def package_root(
    packages: Callable[[str], Iterable[Package]], unpacked: Path, package_id: str
) -> Path | None:
    """Folder of a package; None for a bare component or an unknown package."""
    first = next(iter(packages(package_id)), None)
    return None if first is None else _folder(first, unpacked)


def _folder(package: Package, unpacked: Path) -> Path | None:
    """Folder with the files of a package; None for a bare component."""
    base: Path | None = package.source
    if not package.source.is_dir():
        parents = package.processes[0].component.parents
        base = next((parent for parent in parents if parent.parent == unpacked.resolve()), None)
    return base
