"""Views of native memory: the one place in a worker where an address becomes something that can be read and written.

A view has the length of what it is for, and Python itself refuses whatever lies outside: of a guest's linear memory
exactly its current bytes, of the engine's arrays of core arguments exactly the arguments of one call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final, TypeAlias

Slots: TypeAlias = Any
"""A few bytes of the engine's that `struct` can read and write: a ctypes array of exactly that many."""

MAX_SLOT_BYTES: Final = 1024
"""More than the core arguments of any call take: 17 of 32 bytes."""

_from_memory: Final = ctypes.pythonapi["PyMemoryView_FromMemory"]
_from_memory.restype = ctypes.py_object
_from_memory.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_WRITABLE: Final = 0x200

_EMPTY: Final = memoryview(bytearray())


def guest_view(base: int, size: int) -> memoryview:
    """A guest's linear memory, as it is now.

    Args:
        base: its address, read together with `size` from the engine.
        size: its bytes.
    """
    if not size:
        return _EMPTY  # the engine's address of a memory without bytes need not be one
    view: memoryview = _from_memory(base, size, _WRITABLE)
    return view


def slots(size: int) -> Callable[[int], Slots]:
    """What makes views of so many bytes of the engine's, by their address. Nothing a guest says is such an address."""
    if not 0 < size <= MAX_SLOT_BYTES:
        raise ValueError(f"{size} bytes are no core arguments: at most {MAX_SLOT_BYTES}")
    return (ctypes.c_ubyte * size).from_address
