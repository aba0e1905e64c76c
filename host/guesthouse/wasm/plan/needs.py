"""A guest's initial resources, as the engine counts them: a worker does not start one that exceeds the limits, and
installing and inspecting report it.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

_UNCOUNTED: Final = 1024 * 1024
"""Memory of a component's instances that is not counted, enough for nearly all."""


def counted(size: int) -> int:
    """The part of the other bytes that counts as memory."""
    return max(0, size - _UNCOUNTED)


class Needs(Struct, frozen=True):
    """The needs of one guest."""

    memory_bytes: int = 0
    """Initial bytes of the memory that can grow."""
    table_elements: int = 0
    """Initial elements of its largest table."""
    other_bytes: int = 0
    """Estimate for globals, functions, elements and fixed memories of all instances."""

    def unmet(self, memory_bytes: int, table_elements: int) -> str | None:
        """Why it cannot be started under these limits of a process, or None."""
        besides = counted(self.other_bytes)
        if self.memory_bytes + besides > memory_bytes:
            others = f" and globals, functions and elements of {self.other_bytes}" if besides else ""
            return (
                f"has {self.memory_bytes} bytes of memory from the start{others}, where a process may have "
                f"{memory_bytes} in all: take less, or raise process.memory_bytes"
            )
        if self.table_elements > table_elements:
            return (
                f"has a table of {self.table_elements} elements, where a process may have {table_elements}: "
                "have smaller ones, or raise process.table_elements"
            )
        return None


NO_NEEDS: Final = Needs()
