"""The door for files at paths that a package or an operator names. Blocking I/O.

To open a FIFO waits for whoever writes to it, for ever if nobody does, and to read a device may never end. Neither can
be interrupted in a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

_KINDS: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


class NotRegular(OSError):
    """What is at a path is a FIFO, a socket, a device, or a link where none is allowed: `strerror` says which."""


def open_regular(path: str | Path, *, follow: bool = True) -> BufferedReader:
    """Open a regular file to be read. Never waits for a peer, and does not open a device at all.

    Args:
        path: the file's.
        follow: whether it may be a link.

    Raises:
        NotRegular: it is something else.
        OSError: it cannot be opened, or is a folder.
    """
    refuse_irregular(path, follow=follow)  # to open a device can have effects
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        _check(os.fstat(descriptor).st_mode, path)  # it may have been replaced since
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path) -> bytes:
    """The content of a regular file.

    Raises:
        NotRegular: it is something else.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return file.read()


def refuse_irregular(path: str | Path, *, follow: bool = True) -> None:
    """Check a file before a library opens it by name.

    Raises:
        NotRegular: it is no regular file.
        OSError: it does not exist, cannot be reached, or is a folder.
    """
    _check(os.stat(path, follow_symlinks=follow).st_mode, path)


def _check(mode: int, path: str | Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NotRegular(errno.EINVAL, f"it is {kind} and no regular file", str(path))
