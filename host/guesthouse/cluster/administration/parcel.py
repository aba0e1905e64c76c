"""A package as it is offered to other nodes: its archive, and the files in it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec import Struct

from guesthouse.cluster.administration.administration_messages import ARCHIVE, Fetch, Offer, OfferedFile
from guesthouse.core.config import PackageLimits
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import GuesthouseError
from guesthouse.package.errors import PackageError
from guesthouse.package.format.archive import remove_unpacked, unpacked
from guesthouse.package.format.load import load_package, read_manifest
from guesthouse.package.format.pack import write_archive

SCRATCH: Final = ".partial-"
"""Prefix of folders beside unpacked packages that are removed at the next start of the node."""
_Result = TypeVar("_Result")
_CHUNK: Final = 1024 * 1024


class Parcel(Struct, frozen=True):
    """A package that is offered."""

    package: str
    archive: Path
    folder: Path
    """With its files."""
    offer: Offer

    def read(self, wanted: Fetch) -> bytes:
        """A part of the archive or of a file. Blocks on the file system.

        Raises:
            PackageError: there is no such part.
        """
        files = self.offer.files
        if wanted.file >= len(files):
            raise PackageError(f"{self.package} has no file number {wanted.file}")
        path = self.archive if wanted.file == ARCHIVE else self.folder / files[wanted.file].path
        size = self.offer.archive_bytes if wanted.file == ARCHIVE else files[wanted.file].size
        if wanted.offset + wanted.length > size:
            raise PackageError(
                f"{self.package}: {path.name} ends before {wanted.offset + wanted.length} bytes"
            )
        with path.open("rb") as file:
            file.seek(wanted.offset)
            return file.read(wanted.length)


@contextmanager
def packed(argument: str, limits: PackageLimits, unpack_dir: Path) -> Iterator[Parcel]:
    """Pack a package folder, or take its `.zip` as it is. Blocks on the file system.

    Raises:
        PackageError: it is not a package, or is refused.
    """
    path = Path(argument)
    if not path.is_dir() and (path.suffix == ".wasm" or not path.is_file()):
        raise PackageError(f"{argument} is not a package: name a package folder or its .zip")
    unpack_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=unpack_dir, prefix=SCRATCH))
    try:
        archive = scratch / "package.zip"
        if path.is_dir():
            load_package(str(path), limits, unpack_dir)
            write_archive(path, read_manifest(path), archive, limits)
        else:
            shutil.copyfile(path, archive)
        folder, _ = unpacked(archive, limits, scratch / "files")
        package = load_package(str(folder), limits, scratch / "files")
        offer = Offer(
            package=package.id,
            hash=folder.name,
            archive_bytes=archive.stat().st_size,
            files=tuple(_file(folder, each) for each in sorted(folder.rglob("*")) if each.is_file()),
        )
        yield Parcel(package.id, archive, folder, offer)
    except GuesthouseError as error:
        raise PackageError(str(error).replace(str(scratch / "package.zip"), argument)) from None
    except OSError as error:
        raise PackageError(
            f"{argument} cannot be packed in {scratch}: {error.strerror}; {disk_errors.remedy(error, 'check both')}"
        ) from None
    finally:
        remove_unpacked(scratch)


async def to_its_end(work: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run what blocks in a thread; cancelled, it is waited for all the same, since it goes on."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _file(folder: Path, path: Path) -> OfferedFile:
    return OfferedFile(path.relative_to(folder).as_posix(), digest_of(path), path.stat().st_size)
