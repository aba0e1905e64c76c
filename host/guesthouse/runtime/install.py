"""The runtime modules of a node, made known to its router."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from guesthouse.address import Address, ProcessId
from guesthouse.config import ProcessLimits
from guesthouse.kernel.asking import NotDelivered
from guesthouse.kernel.router import Router
from guesthouse.kernel.state import State
from guesthouse.package.spec import Package
from guesthouse.runtime.kv import Kv
from guesthouse.runtime.paths import PACKAGE_DRIVE
from guesthouse.runtime.timer import TIMER, Timer
from guesthouse.runtime.vfs import Vfs


async def install_modules(
    router: Router,
    state: State,
    limits: ProcessLimits,
    folder_of: Callable[[str], Path | None],
) -> Timer:
    """Make `kv`, `timer` and `vfs` known. Returns the timer, which is to be closed.

    Args:
        router: where they are made known.
        state: where they keep what they keep.
        limits: their quotas.
        folder_of: the folder of a package's files by its id; None when it has none.
    """
    voice = router.asker(TIMER)

    def tell(process: ProcessId, body: bytes) -> bool:
        if router.find(process) is None:
            return False
        try:
            voice.tell(Address(router.node, process), body, None)
        except NotDelivered:
            return False
        return True

    timer = Timer(state, tell)
    await timer.load()
    vfs = Vfs(state, folder_of, limits.drive_bytes, limits.message_bytes)
    for module in (Kv(state, limits.kv_bytes), timer, vfs):
        router.add_module(module)
    return timer


def package_folder(packages: Callable[[], Iterable[Package]], unpacked: Path, package_id: str) -> Path | None:
    """Where the files of a package are, by its id.

    Args:
        packages: the packages that the node runs.
        unpacked: where archives are unpacked.
        package_id: `package:publisher`.
    """
    for package in packages():
        if f"{package.name}:{package.publisher}" == package_id:
            return _folder(package, unpacked)
    return None


def _folder(package: Package, unpacked: Path) -> Path | None:
    """Where the files of a package are; None for a bare component."""
    base: Path | None = package.source
    if not package.source.is_dir():
        parents = package.processes[0].component.parents
        base = next((parent for parent in parents if parent.parent == unpacked.resolve()), None)
    if base is not None and (base / PACKAGE_DRIVE).is_dir():
        return base / PACKAGE_DRIVE
    return base
