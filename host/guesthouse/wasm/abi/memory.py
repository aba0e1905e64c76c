"""A guest's linear memory: what values of the canonical ABI are read from and written to.

Every access goes through a view of exactly the bytes that the memory has (`native.py`), by offsets: a defect here reads
or writes the guest's own memory, or raises. The view is renewed, address and size together, after everything that may
grow the memory: before each host call touches it and after each call of the guest's allocator (`look`). A memory that
has not grown has not moved. Under both engines it does not move at all (`engines.py`), which `self_check.py` checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine import native
from guesthouse.wasm.errors import GuestTrap


class LinearMemory:
    """The memory of one guest. An offset in it is the guest's choice: `check` it first.

    Args:
        where: asks for its address in the worker, which is good until it grows.
        size_now: asks for its size in bytes.
    """

    __slots__ = ("_size_now", "_where", "allocate", "size", "view")

    def __init__(self, where: Callable[[], int], size_now: Callable[[], int]) -> None:
        self._where = where
        self._size_now = size_now
        self.size = 0
        """Bytes of `view`."""
        self.view = native.guest_view(0, 0)
        """The whole memory and nothing else. Replaced when the memory grows: ask for it after each allocation."""
        self.allocate: Callable[[int, int], int] = no_allocator
        """`(alignment, size) -> offset`: room that the guest makes for the result of the call in hand; checked."""
        self.look()

    def look(self) -> None:
        """Take notice of growth. To be called after guest code ran and before the memory is touched."""
        size = self._size_now()
        if size != self.size:
            self.view = native.guest_view(self._where(), size)
            self.size = size

    @property
    def base(self) -> int:
        """Its address in the worker, by which the mappings of the worker know it."""
        return self._where()

    def check(self, offset: int, size: int) -> None:
        """See that so many bytes from an offset lie within the memory. Callers compare with `size` first.

        Raises:
            GuestTrap: they do not.
        """
        if offset + size > self.size:
            raise GuestTrap(
                ExitCause.TRAP,
                f"it pointed to {size} bytes at {offset}, outside of its memory of {self.size} bytes",
            )

    def close(self) -> None:
        """The memory is about to be freed: nothing reaches it through this any more."""
        self._where = self._size_now = _nothing
        self.allocate = no_allocator
        self.look()


def _nothing() -> int:
    return 0


def no_allocator(alignment: int, size: int) -> int:
    """`allocate` of a function that was lowered without one; a component that needs it is not valid."""
    raise GuestTrap(ExitCause.TRAP, "it takes memory from a function without saying how to get any")


NO_MEMORY: Final = LinearMemory(_nothing, _nothing)
"""Of a guest that has none, or none yet: every offset is outside of it."""
