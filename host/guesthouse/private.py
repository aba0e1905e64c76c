"""Files of the node's home are for its user alone, whatever the umask. Blocking I/O."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OTHERS: Final = 0o077
_MAY_WRITE: Final = 0o022
_ROOT: Final = 0


class OpenToOthers(OSError):
    """A file or folder is another user's, or another user may change it, and this one cannot forbid it."""


def opener(path: str, flags: int) -> int:
    """For `open(..., opener=opener)`: a file that is made is for its user alone."""
    return os.open(path, flags, 0o600)


def make(path: Path) -> None:
    """Make an empty file, unless there is one: what opens it by its name finds it closed to others.

    Raises:
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def close_to_others(path: Path) -> list[Path]:
    """Take from others what they may do with a file, or a folder and all that is in it. Links are not followed.

    Returns what was open to them.

    Raises:
        OpenToOthers: something is of a user who is neither this one nor root, or others may write to it and that
            cannot be changed.
    """
    return [entry for entry in _all(path) if _close(entry)]


def _all(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        try:
            inside = sorted(path.iterdir())
        except PermissionError:
            return  # it is root's, who may look after it, or it is refused already
        for entry in inside:
            yield from _all(entry)


def _close(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False  # it was for a moment alone
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return False
    if status.st_uid not in (os.geteuid(), _ROOT):
        raise OpenToOthers(f"{path} belongs to another user")
    if not mode & _OTHERS:
        return False
    try:
        path.chmod(mode & ~_OTHERS)
    except FileNotFoundError:
        return False
    except OSError as error:
        if mode & _MAY_WRITE:
            raise OpenToOthers(f"{path} can be changed by others, and that not ({error.strerror})") from None
        return False  # on a disk for reading, or root's
    return True
