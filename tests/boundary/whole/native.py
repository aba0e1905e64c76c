"""The worker's own address space, for values that are structures of wasmtime's: no guest chooses where they are."""

from __future__ import annotations

import ctypes
from typing import Any, Final

BYTES: Final[Any] = (ctypes.c_char * (2**47)).from_address(0)
"""The worker's own address space: `BYTES[a:b]` copies what is there into a `bytes`, with the speed of a slice."""
MEMORY: Final = memoryview((ctypes.c_ubyte * (2**47)).from_address(0)).cast("B")
"""The same, for `struct` to unpack from and pack into, and to assign to."""
