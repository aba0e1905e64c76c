"""What a guest takes from the start, as the engine counts it: by this a worker refuses to start one, and whoever
installs or inspects its component is told before.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

_UNCOUNTED: Final = 1024 * 1024
"""What the instances of a component may take without being counted against its memory: those of nearly all do."""


def counted(size: int) -> int:
    """How much counts as memory of what a component's instances take besides."""
    return max(0, size - _UNCOUNTED)


class Needs(Struct, frozen=True):
    """Of one guest."""

    memory_bytes: int = 0
    """Of the memory that can grow, before it does."""
    table_elements: int = 0
    """Of its largest table."""
    other_bytes: int = 0
    """Globals, functions, elements and other memories of all its instances, about."""

    def unmet(self, memory_bytes: int, table_elements: int) -> str | None:
        """Why no worker starts it under these limits of a process; None if one does."""
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
