"""Private files of the compile cache, verified by their content."""

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
"""Changes closer together than this may have the same times: file systems have a granularity."""


Stamp: TypeAlias = tuple[int, ...]
"""Device, inode, size, mtime and ctime in nanoseconds."""


class UntrustedFile(Exception):
    """A cached file is not what was stored."""


class Digests:
    """The SHA-256 of files, each read once and again when it has changed.

    A change shows in inode, size or times. Only the user's own code and root can set a
    file's ctime, and neither is defended against: they can read the key. A ctime
    within the file system's granularity is not relied on. Corruption of a file after it was
    read is not noticed until the next start.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, str]] = {}

    def of(self, path: Path) -> str:
        """The digest of a private file.

        Raises:
            UntrustedFile: it is not private to this user.
            OSError: it cannot be read.
        """
        with open(_open(path), "rb") as file:
            return self.of_open(path, file)

    def of_open(self, path: Path, file: BufferedReader) -> str:
        """The digest of an open file, private or not."""
        now = time.time_ns()
        status = os.fstat(file.fileno())
        stamp = stamp_of(status)
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known.pop(path, None)
        if now - status.st_ctime_ns > _SETTLED_NS:
            self._known[path] = stamp, digest
        return digest

    def known(self, path: Path) -> tuple[Stamp, str] | None:
        """What is known of a file that was read."""
        return self._known.get(path)

    def learn(self, path: Path, stamp: Stamp, digest: str) -> None:
        """Take over what another object of this class knew of a file."""
        self._known[path] = stamp, digest

    def forget(self, path: Path) -> None:
        """The file was deleted."""
        self._known.pop(path, None)


def stamp_of(status: os.stat_result) -> Stamp:
    """What shows whether a file has changed."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_private(path: Path, limit: int, *, linked: bool = False) -> bytes:
    """Up to `limit` bytes of a private file; `linked` if it may have several links."""
    with open(_open(path, linked=linked), "rb") as file:
        return file.read(limit)


@contextmanager
def new_file(folder: Path) -> Iterator[Path]:
    """An empty private file, deleted on exit unless it was renamed."""
    path = folder / f".new-{secrets.token_hex(8)}"
    path.touch(mode=0o600, exist_ok=False)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def copy(source: int, at: int, size: int, to: int) -> None:
    """Copy part of a file inside the kernel."""
    end = at + size
    while at < end:
        sent = os.sendfile(to, source, at, end - at)
        if not sent:
            raise OSError(errno.EIO, "a compiled component became shorter")
        at += sent


def _open(path: Path, *, linked: bool = False) -> int:
    """Open a private regular file, not through a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if (
        not stat.S_ISREG(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & 0o077
        or (status.st_nlink != 1 and not linked)
    ):
        os.close(descriptor)
        raise UntrustedFile(f"{path} is not a private file of this user")
    return descriptor
