"""A guest's linear memory, from which values are lifted and to which they are lowered.

Every access goes through a view of exactly the memory's bytes (`native.py`), by offsets: a bug here accesses the
guest's own memory, or raises. A memory never shrinks, and does not move when it grows (`engines.py`), which
`self_check.py` checks: so a view from before it grew is still a view of its own bytes, only too short. It is renewed,
address and size together, when something lies beyond it (`GuestMemory.check`): asking the engine for the size
before each access would cost more than most accesses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine import native
from guesthouse.wasm.errors import GuestTrap


class LinearMemory:
    """The memory of one guest. Offsets come from the guest: `check` them first.

    Args:
        where: returns its address in the worker.
        size_now: returns its size in bytes.
    """

    __slots__ = ("_size_now", "_where", "allocate", "size", "view")

    def __init__(self, where: Callable[[], int], size_now: Callable[[], int]) -> None:
        self._where = where
        self._size_now = size_now
        self.size = 0
        """Bytes of `view`."""
        self.view = native.guest_view(0, 0)
        """Exactly the memory. Replaced when it grows: read it again after each allocation."""
        self.allocate: Callable[[int, int], int] = no_allocator
        """`(alignment, size) -> offset`: the guest's allocator for the current call's result; checked."""
        self.look()

    def look(self) -> None:
        """Renew the view if the memory has grown."""
        size = self._size_now()
        if size != self.size:
            self.view = native.guest_view(self._where(), size)
            self.size = size

    @property
    def base(self) -> int:
        """Its address in the worker."""
        return self._where()

    def check(self, offset: int, size: int) -> tuple[memoryview, int]:
        """Check that a range lies within the memory. Callers compare with `size` first.

        Returns:
            The view of the memory, and its size.

        Raises:
            GuestTrap: it does not.
        """
        if offset + size > self.size:
            raise GuestTrap(
                ExitCause.TRAP,
                f"it pointed to {size} bytes at {offset}, outside of its memory of {self.size} bytes",
            )
        return self.view, self.size

    def close(self) -> None:
        """Release the view before the memory is freed."""
        self._where = self._size_now = _nothing
        self.allocate = no_allocator
        self.look()


class GuestMemory(LinearMemory):
    """The memory of a guest, which may have grown since it was last looked at."""

    __slots__ = ()

    def check(self, offset: int, size: int) -> tuple[memoryview, int]:
        """See `LinearMemory`; the view is renewed first."""
        self.look()
        return super().check(offset, size)


def _nothing() -> int:
    return 0


def no_allocator(alignment: int, size: int) -> int:
    """`allocate` of a function that was lowered without one; valid components do not need it."""
    raise GuestTrap(ExitCause.TRAP, "it calls a function that needs an allocator without one")


NO_MEMORY: Final = LinearMemory(_nothing, _nothing)
"""Of a guest without memory: every offset is out of bounds."""
