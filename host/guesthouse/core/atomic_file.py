"""Files that are there whole or not at all, whatever ends this program meanwhile. Blocking I/O."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

PRIVATE: Final = 0o600
FOR_ALL: Final = 0o666
"""As far as the umask lets others read it."""


def replace(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Put a file in the place of another.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    with replacing(path, mode) as file:
        file.write(data)


def create(path: Path, data: bytes) -> None:
    """Make a private file, unless there is one: another program's that came first stays.

    Raises:
        OSError: it cannot be written.
    """
    with _written_beside(path, PRIVATE) as (partial, file):
        file.write(data)
        _sync(file)
        with suppress(FileExistsError):
            path.hardlink_to(partial)


def overwrite(path: Path, data: bytes, offset: int = 0) -> None:
    """Overwrite bytes that a file has, which takes no room on most file systems. Whoever is ended meanwhile leaves what
    was there or what is to be, if these are few enough to be in one sector.

    Raises:
        OSError: the file is not so long, is a link, or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size < offset + len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if os.pwrite(descriptor, data, offset) < len(data):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """Write a file that takes the place of another when the block is left, unless it raises.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    _refuse_special(path)
    with _written_beside(path, mode) as (partial, file):
        yield file
        _sync(file)
        partial.replace(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """See that the names in a folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_special(path: Path) -> None:
    """Devices, pipes and sockets are written to, not replaced: root would take /dev/null away from the machine."""
    with suppress(FileNotFoundError):
        kind = stat.S_IFMT(path.lstat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR):
            raise FileExistsError(errno.EEXIST, "it is a device, a pipe or a socket", str(path))


@contextmanager
def _written_beside(path: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file in the same folder, deleted in the end unless it was renamed."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            yield partial, file
    finally:
        partial.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
