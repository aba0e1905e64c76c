"""Prepares a package for installation: checks it, and unpacks it into a folder named by its hash."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from guesthouse.core.config import PackageLimits
from guesthouse.core.errors import GuesthouseError
from guesthouse.package.errors import PackageError
from guesthouse.package.format.archive import GONE, remove_unpacked, unpacked
from guesthouse.package.format.load import load_package, named_as, read_manifest
from guesthouse.package.format.pack import write_archive
from guesthouse.package.spec import Package


def stage(argument: str, limits: PackageLimits, unpack_dir: Path) -> Package:
    """Unpack a package folder (also one of the Kinode OS) or `.zip`. Blocks on the file system.

    A folder is taken as `guesthouse build -o` would pack it, so both have the same hash. Returns the package in
    `unpack_dir/<hash>`, where later changes of the original do not matter.

    Raises:
        PackageError: it is not a package, or is refused.
    """
    path = Path(argument)
    if not path.is_dir() and (path.suffix == ".wasm" or not path.is_file()):
        raise PackageError(f"{argument} is not a package: name a package folder or its .zip")
    try:
        unpack_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        into = _from_folder if path.is_dir() else unpacked
        folder, new = into(path, limits, unpack_dir)
    except OSError as error:
        raise PackageError(
            f"{argument} cannot be unpacked to {unpack_dir}: {error.strerror}; check both"
        ) from None
    try:
        return load_package(str(folder), limits, unpack_dir)
    except GuesthouseError as error:
        if new:
            remove_unpacked(folder)
        raise named_as(error, folder, path) from None


def _from_folder(path: Path, limits: PackageLimits, unpack_dir: Path) -> tuple[Path, bool]:
    load_package(str(path), limits, unpack_dir)
    scratch = Path(tempfile.mkdtemp(dir=unpack_dir, prefix=".partial-"))
    try:
        archive = scratch / f"{path.name or 'package'}.zip"
        write_archive(path, read_manifest(path), archive)
        return unpacked(archive, limits, unpack_dir)
    finally:
        remove_unpacked(scratch)


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
