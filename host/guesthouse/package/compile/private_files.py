"""Files of the compile cache: of this user alone, checked by what they hold."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final, TypeAlias

_SETTLED_NS: Final = 2_000_000_000
"""A change of a file shows in its times if it comes so long after the one before: file systems count in steps."""


Stamp: TypeAlias = tuple[int, ...]
"""Device, inode, size, and the times of the last change to content and to either, in nanoseconds."""


class UntrustedFile(Exception):
    """A cached file is not what was stored."""


class Digests:
    """The SHA-256 of files, each read once and again when it has changed.

    Whether it has is told by its inode, size and times. Nothing short of the user's own code or root can set the time
    of a file's last change (`ctime`), and neither is held off by the cache: they can read its key. That time counts
    in steps, so one that is younger than some steps is not relied on. What a disk does to a file that was once
    read is not noticed before the next run.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, str]] = {}

    def of(self, path: Path) -> str:
        """The digest of a file of this user's.

        Raises:
            UntrustedFile: it is not a file of this user alone.
            OSError: it cannot be read.
        """
        with open(_open(path), "rb") as file:
            return self.of_open(path, file)

    def of_open(self, path: Path, file: BufferedReader) -> str:
        """The digest of whatever file stands there, which is open."""
        now = time.time_ns()
        status = os.fstat(file.fileno())
        stamp = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known.pop(path, None)
        if now - status.st_ctime_ns > _SETTLED_NS:
            self._known[path] = stamp, digest
        return digest

    def forget(self, path: Path) -> None:
        """A file is deleted."""
        self._known.pop(path, None)


def read_private(path: Path, limit: int, *, linked: bool = False) -> bytes:
    """So much of a file that is this user's alone; `linked` if it may have more than one name."""
    with open(_open(path, linked=linked), "rb") as file:
        return file.read(limit)


@contextmanager
def new_file(folder: Path) -> Iterator[Path]:
    """An empty file of this user alone, deleted in the end unless it was renamed."""
    path = folder / f".new-{secrets.token_hex(8)}"
    path.touch(mode=0o600, exist_ok=False)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def copy(source: int, at: int, size: int, to: int) -> None:
    """Copy part of a file, without its content passing through this program."""
    end = at + size
    while at < end:
        sent = os.sendfile(to, source, at, end - at)
        if not sent:
            raise OSError(errno.EIO, "a compiled component became shorter")
        at += sent


def _open(path: Path, *, linked: bool = False) -> int:
    """Open a regular file that this user alone can read and write, not through a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if (
        not stat.S_ISREG(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & 0o077
        or (status.st_nlink != 1 and not linked)
    ):
        os.close(descriptor)
        raise UntrustedFile(f"{path} is not a file of this user alone")
    return descriptor
