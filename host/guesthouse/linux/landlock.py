"""Landlock: which files a subprocess may open, and whom it may connect to or signal."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
"""System call numbers, the same on every architecture."""
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_READ_FILE: Final = 1 << 2
_FS_ACCESSES_BY_ABI: Final = (13, 14, 15, 15, 16)
"""Number of file access rights in each version of Landlock."""
_TCP_FROM_ABI: Final = 4
_BIND_AND_CONNECT: Final = 3
_SCOPES_FROM_ABI: Final = 6
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 3

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def version() -> int:
    """The kernel's version of Landlock; below 1 if it has none."""
    return int(_libc.syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION))


def restrict(readable: Path | None) -> tuple[str, ...]:
    """Allow opening only files below `readable`, for reading; deny binding and connecting TCP sockets, and reaching
    abstract sockets and signalling outside. For this thread and those that it starts.

    Returns:
        What this kernel cannot restrict, a line each.
    """
    abi = version()
    if abi < 1:
        return ("the kernel has no Landlock: workers can open this user's files",)
    ruleset = _new_ruleset(abi)
    try:
        if (
            ruleset < 0
            or not (readable is None or _allow_reading(ruleset, readable))
            or _libc.syscall(_RESTRICT_SELF, ruleset, 0)
        ):
            reason = os.strerror(ctypes.get_errno())
            return (f"Landlock refused its rules ({reason}): workers can open this user's files",)
    finally:
        if ruleset >= 0:
            os.close(ruleset)
    return ()


def _new_ruleset(abi: int) -> int:
    accesses = (1 << _FS_ACCESSES_BY_ABI[min(abi, len(_FS_ACCESSES_BY_ABI)) - 1]) - 1
    network = _BIND_AND_CONNECT if abi >= _TCP_FROM_ABI else 0
    attributes = struct.pack("<QQQ", accesses, network, _ABSTRACT_SOCKETS_AND_SIGNALS)
    size = 24 if abi >= _SCOPES_FROM_ABI else 16 if abi >= _TCP_FROM_ABI else 8
    return int(_libc.syscall(_CREATE_RULESET, attributes, size, 0))


def _allow_reading(ruleset: int, folder: Path) -> bool:
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        rule = struct.pack("<Qi", _READ_FILE, descriptor)
        return not _libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
