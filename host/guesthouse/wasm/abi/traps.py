"""What a guest dies of when what it passes breaks a rule of the canonical ABI."""

from __future__ import annotations

from typing import NoReturn

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.values import MAX_LIST


def trap(detail: str) -> GuestTrap:
    """The end of a guest that did this."""
    return GuestTrap(ExitCause.TRAP, detail)


def misaligned(address: int, align: int) -> NoReturn:
    """It pointed between two values."""
    raise trap(f"it pointed to {address}, which is no multiple of {align}")


def no_case(number: int, count: int) -> NoReturn:
    """It passed the number of a case that there is not."""
    raise trap(f"it passed the case number {number} of a type with {count} cases")


def no_character(number: int) -> NoReturn:
    """It passed what is no Unicode scalar value."""
    raise trap(f"it passed the number {number} as a char, which no character has")


def not_unicode(error: UnicodeDecodeError) -> NoReturn:
    """It passed text that is not UTF-8."""
    raise trap(f"it passed text that is not UTF-8: {error.reason} at byte {error.start}") from None


def too_big(size: int, most: int) -> NoReturn:
    """It passed a text or bytes beyond the call's limit."""
    raise trap(f"it passed {size} bytes to a call that takes {most} at most")


def too_long(count: int) -> NoReturn:
    """It passed a list that takes too long to read."""
    raise trap(f"it passed a list of {count} elements; the limit is {MAX_LIST}: pass parts of it")
