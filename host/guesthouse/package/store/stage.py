"""Prepares a package for installation: checks it, and unpacks it into a folder named by its hash."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from msgspec import Struct

from guesthouse.core.config import PackageLimits
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import GuesthouseError
from guesthouse.package.errors import PackageError
from guesthouse.package.format.archive import GONE, copy_hashed, remove_unpacked, unpack_copy
from guesthouse.package.format.load import load_package, named_as, read_manifest
from guesthouse.package.format.pack import write_archive
from guesthouse.package.spec import Package


def stage(argument: str, limits: PackageLimits, unpack_dir: Path) -> Package:
    """`gather` and `stage_gathered` in one."""
    return stage_gathered(gather(argument, limits, unpack_dir), limits, unpack_dir)


class Gathered(Struct, frozen=True):
    """A package as an archive, out of reach of whoever may change the original."""

    path: Path
    """Of the original."""
    archive: IO[bytes]
    digest: str


def gather(
    argument: str, limits: PackageLimits, unpack_dir: Path, go_on: Callable[[], None] = lambda: None
) -> Gathered:
    """Copy the `.zip` of a package, or pack its folder (also one of the Kinode OS) as `guesthouse build -o` would, so
    that both have the same hash. Blocks on the file system that it is on, which may be slow.

    Args:
        argument: the folder or archive.
        limits: sizes above which it is refused.
        unpack_dir: where the copy is; it has no name there.
        go_on: called now and then; what it raises ends the work.

    Raises:
        PackageError: it is not a package, or is refused.
    """
    path = Path(argument)
    with _refusing_faults(argument, unpack_dir):
        unpack_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_dir():
            load_package(str(path), limits, unpack_dir)
            scratch = Path(tempfile.mkdtemp(dir=unpack_dir, prefix=".partial-"))
            try:
                archive = scratch / f"{path.name or 'package'}.zip"
                write_archive(path, read_manifest(path), archive, limits, go_on)
                return _copied(path, archive, limits, unpack_dir)
            finally:
                remove_unpacked(scratch)
        if path.suffix == ".wasm" or not path.is_file():
            raise PackageError(f"{argument} is not a package: name a package folder or its .zip")
        return _copied(path, path, limits, unpack_dir)


async def gather_beside(argument: str, limits: PackageLimits, unpack_dir: Path) -> Gathered:
    """`gather` in a thread that nothing waits for, not even the end of the node: the file system may never answer.
    Cancelled, it ends soon.
    """
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Gathered] = loop.create_future()
    nobody_waits = threading.Event()

    def go_on() -> None:
        if nobody_waits.is_set():
            raise PackageError(f"{argument} is not packed any more: nobody waits for it")

    def work() -> None:
        try:
            outcome: Gathered | Exception = gather(argument, limits, unpack_dir, go_on)
        except Exception as error:
            outcome = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_settle, made, outcome)

    threading.Thread(target=work, name="packing", daemon=True).start()
    try:
        return await made
    finally:
        nobody_waits.set()


def _settle(made: asyncio.Future[Gathered], outcome: Gathered | Exception) -> None:
    if isinstance(outcome, Gathered):
        if made.done():
            outcome.archive.close()
        else:
            made.set_result(outcome)
    elif not made.done():
        made.set_exception(outcome)


def stage_gathered(gathered: Gathered, limits: PackageLimits, unpack_dir: Path) -> Package:
    """Unpack a package. Returns it in `unpack_dir/<hash>`, where later changes of the original do not matter. Closes
    the copy. Blocks on the node's own file system.

    Raises:
        PackageError: it is refused.
    """
    path = gathered.path
    with _refusing_faults(str(path), unpack_dir), gathered.archive as archive:
        folder, new = unpack_copy(archive, gathered.digest, path, limits, unpack_dir)
    try:
        return load_package(str(folder), limits, unpack_dir)
    except GuesthouseError as error:
        if new:
            remove_unpacked(folder)
        raise named_as(error, folder, path) from None


def _copied(path: Path, archive: Path, limits: PackageLimits, unpack_dir: Path) -> Gathered:
    copy = tempfile.TemporaryFile(dir=unpack_dir)  # noqa: SIM115 - whoever unpacks it closes it
    try:
        return Gathered(path, copy, copy_hashed(archive, copy, limits))
    except BaseException:
        copy.close()
        raise


@contextmanager
def _refusing_faults(argument: str, unpack_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        wanted = disk_errors.remedy(error, "check both")
        raise PackageError(
            f"{argument} cannot be unpacked to {unpack_dir}: {error.strerror}; {wanted}"
        ) from None


def staged(digest: str, limits: PackageLimits, unpack_dir: Path) -> Package:
    """The package that was unpacked to a hash.

    Raises:
        PackageError: it is not there.
    """
    folder = unpack_dir / digest
    if not folder.is_dir():
        raise PackageError(f"{folder}, an installed package, is gone: install it again")
    return load_package(str(folder), limits, unpack_dir)


def prune(unpack_dir: Path, keep: Iterable[str]) -> None:
    """Remove folders that are unused or incomplete. What cannot be removed completely is left for
    the next time, under a name that no package has.
    """
    kept = set(keep)
    with suppress(FileNotFoundError):
        for path in list(unpack_dir.iterdir()):
            needed = path.name in kept and not path.name.startswith(GONE)
            if not needed and path.is_dir() and not path.is_symlink():
                remove_unpacked(path)
