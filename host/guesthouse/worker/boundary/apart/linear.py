"""A guest's linear memory: what values of the canonical ABI are read from and written to.

The engine reserves the addresses that a memory may grow into, so it never moves; and a memory never shrinks.
So its address and a size that it has had hold for as long as the guest lives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guesthouse.link.ops import ExitCause
from guesthouse.worker.boundary.errors import GuestTrap


class LinearMemory:
    """The memory of one guest. An address in it is an offset from `base`, which the guest chose: check it first.

    Args:
        base: where it begins in the worker's address space.
        size_now: asks for its size in bytes.
    """

    __slots__ = ("_size_now", "allocate", "base", "size")

    def __init__(self, base: int, size_now: Callable[[], int]) -> None:
        self.base: Final = base
        self._size_now = size_now
        self.size = size_now()
        """Bytes that it has at least; it may have grown since."""
        self.allocate: Callable[[int, int], int] = no_allocator
        """`(alignment, size) -> address`: room that the guest makes for the result of the call in hand; checked."""

    def grown(self) -> int:
        """Bytes that it has now."""
        self.size = self._size_now()
        return self.size

    def check(self, address: int, size: int) -> None:
        """See that so many bytes from an address lie within it. Callers look at `size` first: this asks anew.

        Raises:
            GuestTrap: they do not.
        """
        if address + size > self.size and address + size > self.grown():
            raise GuestTrap(
                ExitCause.TRAP,
                f"it pointed to {size} bytes at {address}, outside of its memory of {self.size} bytes",
            )


def no_allocator(alignment: int, size: int) -> int:
    """`allocate` of a function that was lowered without one; a component that needs it is not valid."""
    raise GuestTrap(ExitCause.TRAP, "it takes memory from a function without saying how to get any")


NO_MEMORY: Final = LinearMemory(0, lambda: 0)
"""Of a guest that has none, or none yet: every address is outside of it."""
