"""Views of native memory: the only place in a worker where an address becomes accessible.

A view has exactly the length of its purpose, and Python checks the bounds: for a guest's linear memory
its current size, for the engine's arrays of core arguments the arguments of one call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

Slots: TypeAlias = memoryview
"""A few bytes of the engine's: exactly those of one use."""

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


MOST_KEPT: Final = 1024
"""Views kept of each size, of 560 bytes: a guest is charged for none."""


class _Views(dict[int, Slots]):
    """Views of one size by address. A guest's calls have their arguments at the same few places of its stack, and to
    make a view costs more than to read it. One that is kept is used only when the engine passes its address again.
    """

    __slots__ = ("_from_address",)

    def __init__(self, size: int) -> None:
        self._from_address = (ctypes.c_ubyte * size).from_address

    def __missing__(self, address: int) -> Slots:
        if len(self) >= MOST_KEPT:
            self.clear()
        # Assigned to by slices, which a ctypes array does item by item.
        view = self[address] = memoryview(self._from_address(address)).cast("B")
        return view


@cache
def slots(size: int) -> Callable[[int], Slots]:
    """Returns a function from addresses to views of that size. Addresses come from the engine, never from guests; but
    a guest chooses how deep in its stack they are, and how many functions it has, which therefore share views.
    """
    if not 0 < size <= MAX_SLOT_BYTES:
        raise ValueError(f"core arguments have at most {MAX_SLOT_BYTES} bytes, not {size}")
    return _Views(size).__getitem__
