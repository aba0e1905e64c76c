"""How much of what is freed malloc keeps (mallopt(3)). Only glibc has these settings."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3

KEPT: Final = 16 * 1024 * 1024
"""Bytes at the end of the heap that are kept."""
_STEP: Final = 1024 * 1024
_MAPPED: Final = 4 * 1024 * 1024
"""Bytes from which an allocation is a mapping of its own, and returned when it is freed."""


def keep_large_buffers() -> None:
    """Keep freed memory of large messages for the next ones. By default most of it is returned at once, and each page
    is zeroed and mapped again at its first use, which costs as much as two copies.
    """
    with suppress(AttributeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        for setting, size in ((_TRIM_THRESHOLD, KEPT), (_TOP_PAD, _STEP), (_MMAP_THRESHOLD, _MAPPED)):
            mallopt(setting, size)
