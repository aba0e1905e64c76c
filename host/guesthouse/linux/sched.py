"""How long a thread keeps a CPU from others that want it, as it asks the kernel.

Linux gives threads turns. Since version 6.12 a thread may say how long its own should be (`sched_setattr` with a
normal policy and a runtime). It gets as much of the CPU as before, but as it takes less at once, it gets it as soon
as it wakes, from those that take longer turns.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SET, _GET = 0, 1
_CALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""The numbers of `sched_setattr` and `sched_getattr`."""
_ATTRIBUTES: Final = struct.Struct("<IIQiIQQQ")
"""`struct sched_attr`: size, policy, flags, nice, priority, runtime, deadline, period. Times in nanoseconds."""
_POLICY, _RUNTIME = 1, 5
"""Places therein."""
_NORMAL: Final = (os.SCHED_OTHER, os.SCHED_BATCH)
"""The policies that have turns of that kind."""

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def use_short_slices(seconds: float) -> Iterator[None]:
    """Have threads that this one starts meanwhile take turns of that length, 0.1 ms at least.

    Where the kernel knows no such thing, their turns are as long as any.
    """
    _set(seconds)
    try:
        yield
    finally:
        _set(0.0)  # which stands for the usual


def slice_seconds(thread: int = 0) -> float:
    """How long the turns of a thread are; 0 when the kernel does not say.

    Args:
        thread: its OS thread id; 0 is this one's.
    """
    attributes = _get(thread)
    return 0.0 if attributes is None else float(attributes[_RUNTIME] / 1e9)


def _get(thread: int) -> list[int] | None:
    numbers = _CALLS.get(platform.machine())
    attributes = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if numbers is None or _libc.syscall(numbers[_GET], thread, attributes, _ATTRIBUTES.size, 0):
        return None
    return list(_ATTRIBUTES.unpack(attributes.raw))


def _set(seconds: float) -> None:
    """Leave everything else as it is: how nice it is was decided by whoever started this."""
    attributes = _get(0)
    if attributes is not None and attributes[_POLICY] in _NORMAL:
        attributes[_RUNTIME] = round(seconds * 1e9)
        _libc.syscall(_CALLS[platform.machine()][_SET], 0, _ATTRIBUTES.pack(*attributes), 0)
