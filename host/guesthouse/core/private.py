"""Files of the node's home are for its user alone, whatever the umask. Blocking I/O."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

_OTHERS: Final = 0o077
_GROUP_WRITES: Final = 0o020
_ALL_WRITE: Final = 0o002
_ROOT: Final = 0


class OpenToOthers(OSError):
    """A file or folder is another user's, or another user could change it."""


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
    """Keep others from reading a file, or a folder and all that is in it. Links are not followed.

    Returns what was open to them.

    Raises:
        OpenToOthers: something is of a user who is neither this one nor root, or others could write to it: what is
            in it may be theirs.
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
    if others_write(status):
        raise OpenToOthers(f"{path} could be changed by others (mode {mode:04o}): see what is in it")
    try:
        path.chmod(mode & ~_OTHERS)
    except OSError:
        return False  # gone, on a disk for reading, or root's
    return True


def others_write(status: os.stat_result) -> bool:
    """Whether others than the user may write to what has that status. A group that is the user's alone, as many systems
    give each, is not others: with it goes a umask that lets the group write.
    """
    return bool(status.st_mode & _ALL_WRITE) or (
        bool(status.st_mode & _GROUP_WRITES) and status.st_gid != _own_group(os.geteuid())
    )


@cache
def _own_group(user: int) -> int | None:
    """The group that has the user's name and nobody else in it."""
    try:
        known = pwd.getpwuid(user)
        group = grp.getgrgid(known.pw_gid)
    except KeyError:
        return None
    alone = group.gr_name == known.pw_name and set(group.gr_mem) <= {known.pw_name}
    return known.pw_gid if alone else None
