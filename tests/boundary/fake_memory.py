"""A linear memory without a guest: bytes at a native address between guards, and an allocator that only goes up."""

from __future__ import annotations

import ctypes

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.errors import GuestTrap

GUARD = 4096


class FakeMemory:
    """`linear` is what a converter gets. What stands around it must neither change nor matter."""

    def __init__(self, content: bytes | bytearray, guard: int = 0xA5, top: int = 0) -> None:
        self._guard = bytes([guard]) * GUARD
        self._all = bytearray(self._guard + content + self._guard)
        self._size = len(content)
        address = ctypes.addressof((ctypes.c_char * len(self._all)).from_buffer(self._all))
        self.linear = LinearMemory(lambda: address + GUARD, lambda: self._size)
        self.linear.allocate = self._allocate
        self.top = top
        self.allocations: list[tuple[int, int, int]] = []
        """`(alignment, size, address)`."""

    def _allocate(self, align: int, size: int) -> int:
        address = -(-self.top // align) * align
        if address + size > self._size:
            raise GuestTrap(ExitCause.TRAP, "out of memory")
        self.top = address + size
        self.allocations.append((align, size, address))
        return address

    @property
    def content(self) -> bytearray:
        """What is in it now."""
        return self._all[GUARD : GUARD + self._size]

    def check_guards(self) -> None:
        """See that nothing was written around it."""
        assert self._all[:GUARD] == self._guard
        assert self._all[GUARD + self._size :] == self._guard


class CoreArguments:
    """Core arguments as the engine passes them: what is no part of one is garbage."""

    def __init__(self, bits: list[tuple[str, int]], first: int, stride: int, garbage: int = 0xEE) -> None:
        self._data = bytearray([garbage]) * (first + stride * len(bits))
        for index, (core, number) in enumerate(bits):
            size = 4 if core in ("i32", "f32") else 8
            at = first + stride * index
            self._data[at : at + size] = number.to_bytes(size, "little")
        self._keep = (ctypes.c_char * len(self._data)).from_buffer(self._data)
        self.address = ctypes.addressof(self._keep)

    def bytes_of(self, index: int, size: int) -> bytes:
        """What stands in one of them now."""
        return bytes(self._data[index * 16 : index * 16 + size])
