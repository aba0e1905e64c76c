"""What a guest dies of when what it passes breaks a rule of the canonical ABI, or takes too much to read."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from guesthouse.link.ops import ExitCause
from guesthouse.worker.boundary.errors import GuestTrap
from guesthouse.worker.boundary.lift import MAX_LIST

MAX_ELEMENTS: Final = 4 * MAX_LIST
"""Elements of all lists that one call passes."""

SHARED_BYTES: Final = 16 * 1024 * 1024
"""Bytes by which the text and bytes that one call passes may exceed the guest's memory. Without pointing twice
to the same bytes a guest cannot get there; with it, a list of pointers would be copied to any size.
"""


def _trap(detail: str) -> GuestTrap:
    return GuestTrap(ExitCause.TRAP, detail)


def misaligned(address: int, align: int) -> NoReturn:
    """It pointed between two values."""
    raise _trap(f"it pointed to {address}, which is no multiple of {align}")


def no_case(number: int, count: int) -> NoReturn:
    """It passed the number of a case that there is not."""
    raise _trap(f"it passed the case number {number} of a type with {count} cases")


def no_character(number: int) -> NoReturn:
    """It passed what is no Unicode scalar value."""
    raise _trap(f"it passed the number {number} as a char, which no character has")


def not_unicode(error: UnicodeDecodeError) -> NoReturn:
    """It passed text that is not UTF-8."""
    raise _trap(f"it passed text that is not UTF-8: {error.reason} at byte {error.start}") from None


def too_long(count: int) -> NoReturn:
    """It passed a list that takes too long to read."""
    raise _trap(f"it passed a list of {count} elements; the limit is {MAX_LIST}: pass parts of it")


class Budget:
    """What has been read for the call in hand, of calls whose types let a guest pass the same bytes many times."""

    __slots__ = ("_bytes", "_elements")

    def __init__(self) -> None:
        self._bytes = self._elements = 0

    def begin(self) -> None:
        """Another call."""
        self._bytes = self._elements = 0

    def bytes(self, count: int, memory: Any) -> None:
        """So many more are read, whose bounds in the memory were checked."""
        self._bytes += count
        if self._bytes > memory.size + SHARED_BYTES:
            raise _trap(
                f"it passed over {memory.size + SHARED_BYTES} bytes in one call, more than it has: pass fewer"
            )

    def elements(self, count: int) -> None:
        """So many more are read."""
        self._elements += count
        if self._elements > MAX_ELEMENTS:
            raise _trap(
                f"it passed over {MAX_ELEMENTS} elements of lists in one call, the limit: pass parts of them"
            )


BUDGET: Final = Budget()
"""One for all guests: to read a call's arguments runs no guest."""
