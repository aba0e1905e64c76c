"""What every OS process of a node gives up at its start, and the limits that it sets itself."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38

_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")

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


def close_descriptors(kept: int) -> None:
    """Close all descriptors but the standard ones and `kept`."""
    os.closerange(3, kept)
    os.closerange(kept + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def lower(limit: int, value: int) -> None:
    """Set a resource limit for good, or leave it where it is lower."""
    _, most = resource.getrlimit(limit)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(limit, (value, value))
