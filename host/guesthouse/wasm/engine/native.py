"""Views of native memory: the only place in a worker where an address becomes accessible.

A view has exactly the length of its purpose, and Python checks the bounds: for a guest's linear memory
its current size, for the engine's arrays of core arguments the arguments of one call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final, TypeAlias

Slots: TypeAlias = Any
"""A few bytes of the engine's for `struct`: a ctypes array of exactly that size."""

MAX_SLOT_BYTES: Final = 1024
"""More than the core arguments of any call: 17 of 32 bytes."""

_from_memory: Final = ctypes.pythonapi["PyMemoryView_FromMemory"]
_from_memory.restype = ctypes.py_object
_from_memory.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_WRITABLE: Final = 0x200

_EMPTY: Final = memoryview(bytearray())


def guest_view(base: int, size: int) -> memoryview:
    """A guest's current linear memory.

    Args:
        base: its address, read together with `size` from the engine.
        size: its bytes.
    """
    if not size:
        return _EMPTY  # the address of an empty memory may be invalid
    view: memoryview = _from_memory(base, size, _WRITABLE)
    return view


def slots(size: int) -> Callable[[int], Slots]:
    """Returns a function from addresses to views of that size. Addresses come from the engine, never from guests."""
    if not 0 < size <= MAX_SLOT_BYTES:
        raise ValueError(f"core arguments have at most {MAX_SLOT_BYTES} bytes, not {size}")
    return (ctypes.c_ubyte * size).from_address
