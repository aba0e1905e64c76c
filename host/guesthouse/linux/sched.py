"""How the kernel schedules threads.

Since Linux 6.12 a thread of a normal policy may request the length of its slice (`sched_setattr` with
a runtime). Its share of the CPU stays the same, but with a shorter slice it preempts
threads with longer ones when it wakes.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_SET, _GET = 0, 1
_CALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""The numbers of `sched_setattr` and `sched_getattr`."""
_ATTRIBUTES: Final = struct.Struct("<IIQiIQQQ")
"""`struct sched_attr`: size, policy, flags, nice, priority, runtime, deadline, period. Times in nanoseconds."""
_POLICY, _RUNTIME = 1, 5
"""Indices in it."""
_NORMAL: Final = (os.SCHED_OTHER, os.SCHED_BATCH)
"""The policies with slices."""

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def use_short_slices(seconds: float) -> Iterator[None]:
    """Give threads that are started inside the block slices of this length, at least 0.1 ms.

    Has no effect where the kernel does not support it.
    """
    _set(seconds)
    try:
        yield
    finally:
        _set(0.0)  # the default


def preempt_nobody() -> None:
    """Let the calling thread, and those that it starts from now on, wait when they wake until whoever has the CPU
    sleeps or has used its slice. Their share of the CPU stays the same.

    Has no effect where that is not allowed.
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def slice_seconds(thread: int = 0) -> float:
    """The length of a thread's slice; 0 when unknown.

    Args:
        thread: its OS thread id; 0 is the caller.
    """
    attributes = _get(thread)
    return 0.0 if attributes is None else float(attributes[_RUNTIME] / 1e9)


def _get(thread: int) -> list[int] | None:
    numbers = _CALLS.get(os.uname().machine)
    attributes = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if numbers is None or _libc.syscall(numbers[_GET], thread, attributes, _ATTRIBUTES.size, 0):
        return None
    return list(_ATTRIBUTES.unpack(attributes.raw))


def _set(seconds: float) -> None:
    """Leaves everything else unchanged, such as the nice value."""
    attributes = _get(0)
    if attributes is not None and attributes[_POLICY] in _NORMAL:
        attributes[_RUNTIME] = round(seconds * 1e9)
        _libc.syscall(_CALLS[os.uname().machine][_SET], 0, _ATTRIBUTES.pack(*attributes), 0)
