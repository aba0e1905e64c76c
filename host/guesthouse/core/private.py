"""Keeps files of the node's home private to its user, whatever the umask. Blocking I/O."""

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
    """A file or folder belongs to another user, or is writable by one."""


def opener(path: str, flags: int) -> int:
    """For `open(..., opener=opener)`: creates files that only this user can access."""
    return os.open(path, flags, 0o600)


def make(path: Path) -> None:
    """Create an empty private file unless it exists, for libraries that open it by name.

    Raises:
        OSError: it cannot be created.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def close_to_others(path: Path) -> list[Path]:
    """Remove others' access to a file, or to a folder and everything in it. Links are not followed.

    Returns what was accessible to others.

    Raises:
        OpenToOthers: something belongs to a user other than this one and root, or others could write to it, so its
            content cannot be trusted.
    """
    return [entry for entry in _all(path) if _close(entry)]


def _all(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        try:
            inside = sorted(path.iterdir())
        except PermissionError:
            return  # root's, or refused already
        for entry in inside:
            yield from _all(entry)


def _close(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False  # a temporary file
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return False
    if status.st_uid not in (os.geteuid(), _ROOT):
        raise OpenToOthers(f"{path} belongs to another user")
    if not mode & _OTHERS:
        return False
    if others_write(status):
        raise OpenToOthers(f"{path} is writable by others (mode {mode:04o}): check its content")
    try:
        path.chmod(mode & ~_OTHERS)
    except OSError:
        return False  # gone, read-only, or root's
    return True


def others_write(status: os.stat_result) -> bool:
    """Whether users other than the owner can write to a file of that status. A private group of the user does not
    count: systems that create these set a umask that allows group writes.
    """
    return bool(status.st_mode & _ALL_WRITE) or (
        bool(status.st_mode & _GROUP_WRITES) and status.st_gid != _own_group(os.geteuid())
    )


@cache
def _own_group(user: int) -> int | None:
    """The group of the user's name with no other members."""
    try:
        known = pwd.getpwuid(user)
        group = grp.getgrgid(known.pw_gid)
    except KeyError:
        return None
    alone = group.gr_name == known.pw_name and set(group.gr_mem) <= {known.pw_name}
    return known.pw_gid if alone else None
