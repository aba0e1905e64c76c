"""Packs a package folder into an archive: what a node needs of it, without sources."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from guesthouse.core import atomic_file
from guesthouse.core.config import PackageLimits
from guesthouse.core.disk import disk_errors
from guesthouse.core.files.regular_file import NotRegular, open_regular
from guesthouse.package.errors import PackageError
from guesthouse.package.format.kinode_packages import METADATA, find_kinode
from guesthouse.package.format.load import inside
from guesthouse.package.format.manifest import MANIFEST_NAME, Manifest, relative_path

_DRIVE: Final = "pkg"
"""A folder that is packed completely; processes read it through `vfs`."""
_COMPONENT: Final = b"\0asm\x0d\0\x01\0"
"""The first bytes of a component, which those of a core module differ from."""
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
_LEVEL: Final = zlib.Z_BEST_SPEED
"""A folder is packed whenever it is run or installed, and a Python component has 18 MB: in 0.3 s, where the default
takes 0.9 s for an archive that is an eighth smaller.
"""


def write_archive(
    folder: Path,
    manifest: Manifest,
    output: Path,
    limits: PackageLimits | None = None,
    go_on: Callable[[], None] = lambda: None,
) -> None:
    """Write a package folder as a `.zip`. The same content gives the same bytes.

    Args:
        folder: the package's.
        manifest: as read from it.
        output: the archive.
        limits: on its files and their bytes, which are checked before any is read; None for none.
        go_on: called before each file; what it raises ends the work.

    Raises:
        PackageError: it is larger than allowed, a link leads out of the package, a name is not allowed in archives,
            a file is none (a FIFO, a socket, a device) or cannot be read, or the archive cannot be written.
    """
    members = _members(folder, manifest, None if limits is None else limits.files)
    left = None if limits is None else _room_beside(members, folder, limits)
    with _written(output) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            go_on()
            content = _content(members[name], left)
            if left is not None and limits is not None:
                if len(content) > left:
                    raise _too_large(folder, limits)
                left -= len(content)
            archive.writestr(info, content, compresslevel=_LEVEL)


def write_component(component: Path, output: Path) -> None:
    """Write only the component.

    Raises:
        PackageError: the file cannot be written.
    """
    if not output.exists() or not output.samefile(component):
        with _written(output) as file:
            file.write(_content(component))


def _room_beside(members: Mapping[str, Path], folder: Path, limits: PackageLimits) -> int:
    """The bytes that files may have together.

    Raises:
        PackageError: they have more by what the file system says.
    """
    size = 0
    for path in members.values():
        with _opened(path) as file:
            size += os.fstat(file.fileno()).st_size
        if size > limits.unpacked_bytes:
            raise _too_large(folder, limits)
    return limits.unpacked_bytes


def _too_large(folder: Path, limits: PackageLimits) -> PackageError:
    return PackageError(
        f"{folder} has over {limits.unpacked_bytes} bytes: make it smaller, or raise package.unpacked_bytes in "
        "guesthouse.toml"
    )


def _content(path: Path, most: int | None = None) -> bytes:
    """A file's content; of one that has grown to over `most` bytes, one byte more than these."""
    with _opened(path) as file:
        return file.read(-1 if most is None else most + 1)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file of a package, links to it resolved before."""
    try:
        with open_regular(path, follow=False) as file:
            yield file
    except NotRegular as error:
        raise PackageError(
            f"{path} cannot be in a package: {error.strerror}; remove it, or put a file in its place"
        ) from None
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}; check its permissions") from None


@contextmanager
def _written(output: Path) -> Iterator[BinaryIO]:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file.replacing(output, atomic_file.FOR_ALL) as file:
            yield file
    except OSError as error:
        wanted = disk_errors.remedy(error, "choose another place")
        raise PackageError(f"{output} cannot be written: {error.strerror}; {wanted}") from None


def _members(folder: Path, manifest: Manifest, most: int | None) -> dict[str, Path]:
    """The files of a package by their names in the archive."""
    if not (folder / MANIFEST_NAME).is_file():
        return _kinode_members(folder, most)
    members = {MANIFEST_NAME: inside(folder, _relative(MANIFEST_NAME))}
    for entry in manifest.processes:
        members[str(entry.wasm)] = inside(folder, entry.wasm)
        members |= _components_beside(folder, entry.wasm)
        if entry.ui is not None:
            members |= _files(folder, inside(folder, entry.ui), most)
    if (folder / _DRIVE).is_dir():
        members |= _files(folder, inside(folder, _relative(_DRIVE)), most)
    _refuse_many(members, folder, most)
    return members


def _components_beside(folder: Path, wasm: PurePosixPath) -> dict[str, Path]:
    """The other components in the folder of a process's: those that it may spawn."""
    members: dict[str, Path] = {}
    for entry in sorted((folder / wasm.parent).glob("*.wasm")):
        if not entry.name.startswith(".") and entry.is_file():
            relative = _relative((wasm.parent / entry.name).as_posix())
            path = inside(folder, relative)
            with _opened(path) as file:
                if file.read(len(_COMPONENT)) == _COMPONENT:
                    members[str(relative)] = path
    return members


def _kinode_members(folder: Path, most: int | None) -> dict[str, Path]:
    place = find_kinode(folder)
    if place is None:
        raise PackageError(f"{folder} has no {MANIFEST_NAME}: name a package")
    members = _files(folder, folder.resolve() / place, most)
    if (folder / METADATA).is_file():
        members[METADATA] = inside(folder, _relative(METADATA))
    return members


def _files(folder: Path, below: Path, most: int | None) -> dict[str, Path]:
    """The files below a folder by their names in the archive, except hidden ones.

    Raises:
        PackageError: there are more than `most`, a link leads out of the package or to a folder, or a name is not
            allowed in archives.
    """
    root = folder.resolve()
    members: dict[str, Path] = {}
    for place, folders, files in os.walk(below):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if Path(place, name).is_symlink():
                raise PackageError(f"{Path(place, name)} is a link to a folder: replace it by the folder")
        for name in files:
            if not name.startswith("."):
                relative = _relative(Path(place, name).relative_to(root).as_posix())
                members[str(relative)] = inside(root, relative)
        _refuse_many(members, folder, most)
    return members


def _refuse_many(members: Mapping[str, Path], folder: Path, most: int | None) -> None:
    if most is not None and len(members) > most:
        raise PackageError(
            f"{folder} has over {most} files: remove some, or raise package.files in guesthouse.toml"
        )


def _relative(name: str) -> PurePosixPath:
    relative = relative_path(name)
    if relative is None:
        raise PackageError(f"{name!a} has a name that is not allowed in packages: rename it")
    return relative
