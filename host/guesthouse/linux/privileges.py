"""What every OS process of a node gives up at its start, and the limits that it sets itself."""

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
"""Descriptors below are standard input, output and errors."""

Identity = tuple[int, int, int]
"""A file: device, number on it, and kind."""


class Replaced(GuesthouseError):
    """A descriptor that something in this OS process uses is not what it was."""


_libc = ctypes.CDLL(None, use_errno=True)


def give_up_privileges() -> None:
    """No program that is run from here has more rights than this one, set-user-ID or not; and no core file, which
    would hold what guests and clients said.
    """
    with contextlib.suppress(AttributeError):  # Linux alone has it
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    lower(resource.RLIMIT_CORE, 0)


def hide_from_others() -> None:
    """Let no other program of this user look into this one's memory, environment or descriptors."""
    with contextlib.suppress(AttributeError):
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """Have the kernel kill this OS process when the thread that started it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def volunteer_for_oom(score: int) -> None:
    """Be ended before others when the machine has no memory left: 0 is what others have, 1000 is first."""
    with contextlib.suppress(OSError):
        _OOM_SCORE.write_text(str(score))


def close_inherited(given: int) -> Mapping[int, Identity]:
    """Close what was inherited but the standard descriptors and `given`; returns what stays, and what each is.

    What a library has opened for itself stays: libffi 3.8 opens a file of its own before the first callback and maps it
    as code from then on, by the number alone. Were it closed, whatever gets the number next would be run. What this
    OS process opened for itself is closed when a program is run and was not inherited, and so it can be told apart.
    """
    kept = {}
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):
        if number < _FIRST or number == given or _is_own(number):
            with contextlib.suppress(OSError):  # that of the listing is closed by now
                kept[number] = identity(number)
        else:
            with contextlib.suppress(OSError):
                os.close(number)
    return kept


def check_kept(kept: Mapping[int, Identity]) -> None:
    """Return when each descriptor is still what it was.

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
    """Which file a descriptor is of.

    Raises:
        OSError: it is not open.
    """
    status = os.fstat(number)
    return status.st_dev, status.st_ino, status.st_mode


def _is_own(number: int) -> bool:
    """Whether a descriptor was opened since this program runs: what was inherited does not close when one is run."""
    try:
        return bool(fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
    except OSError:
        return False


def lower(limit: int, value: int) -> None:
    """Set a resource limit for good, or leave it where it is lower."""
    _, most = resource.getrlimit(limit)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(limit, (value, value))
