"""Privileges that every OS process of a node drops at its start, and its limits."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from guesthouse.core.errors import GuesthouseError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38

_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")

_FIRST: Final = 3
"""Lower descriptors are standard input, output and error."""

Identity = tuple[int, int, int]
"""A file: device, inode, and kind."""


class Replaced(GuesthouseError):
    """A descriptor in use was closed or reopened."""


_libc = ctypes.CDLL(None, use_errno=True)


def give_up_privileges() -> None:
    """Set no_new_privs, so that no executed program gains privileges; disable core files, which would contain what
    guests and clients sent.
    """
    with contextlib.suppress(AttributeError):  # Linux only
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    lower(resource.RLIMIT_CORE, 0)


def hide_from_others() -> None:
    """Deny other programs of this user access to this one's memory, environment and descriptors."""
    with contextlib.suppress(AttributeError):
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """Have the kernel kill this OS process when the thread that started it exits."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def volunteer_for_oom(score: int) -> None:
    """Set the OOM score: 0 is the default, 1000 is killed first."""
    with contextlib.suppress(OSError):
        _OOM_SCORE.write_text(str(score))


def close_inherited(given: int) -> Mapping[int, Identity]:
    """Close inherited descriptors except the standard ones and `given`; returns the identity of those kept.

    Descriptors that libraries opened in this process stay: libffi 3.8 opens a file before the first callback, and
    maps it as code from then on by its number. If it were closed, the next file of that number would be executed.
    Those are recognised by close-on-exec, which an inherited descriptor cannot have.
    """
    kept = {}
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):
        if number < _FIRST or number == given or _is_own(number):
            with contextlib.suppress(OSError):  # the listing's own is closed by now
                kept[number] = identity(number)
        else:
            with contextlib.suppress(OSError):
                os.close(number)
    return kept


def check_kept(kept: Mapping[int, Identity]) -> None:
    """Check that each descriptor is unchanged.

    Raises:
        Replaced: one was closed, or is another file.
    """
    for number, before in kept.items():
        try:
            now = identity(number)
        except OSError:
            raise Replaced(f"descriptor {number}, which something here still uses, was closed") from None
        if now != before:
            raise Replaced(f"descriptor {number}, which something here still uses, is another file now")


def identity(number: int) -> Identity:
    """The file that a descriptor refers to.

    Raises:
        OSError: it is not open.
    """
    status = os.fstat(number)
    return status.st_dev, status.st_ino, status.st_mode


def _is_own(number: int) -> bool:
    """Whether a descriptor was opened by this program: an inherited one is not close-on-exec."""
    try:
        return bool(fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
    except OSError:
        return False


def lower(limit: int, value: int) -> None:
    """Lower a resource limit, hard and soft."""
    _, most = resource.getrlimit(limit)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(limit, (value, value))
