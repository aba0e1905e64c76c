"""Traps for violations of the canonical ABI."""

from __future__ import annotations

from typing import NoReturn

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.values import MAX_LIST


def trap(detail: str) -> GuestTrap:
    """The trap of a guest that did this."""
    return GuestTrap(ExitCause.TRAP, detail)


def misaligned(address: int, align: int) -> NoReturn:
    """Misaligned pointer."""
    raise trap(f"it pointed to {address}, which is not a multiple of {align}")


def no_case(number: int, count: int) -> NoReturn:
    """Invalid case number."""
    raise trap(f"it passed the case number {number} of a type with {count} cases")


def no_character(number: int) -> NoReturn:
    """Not a Unicode scalar value."""
    raise trap(f"it passed the char {number}, which is not a Unicode scalar value")


def not_unicode(error: UnicodeDecodeError) -> NoReturn:
    """Invalid UTF-8."""
    raise trap(f"it passed a string that is not UTF-8: {error.reason} at byte {error.start}") from None


def too_big(size: int, most: int) -> NoReturn:
    """A string or byte list over the call's limit."""
    raise trap(f"it passed {size} bytes to a call that takes {most} at most")


def too_long(count: int) -> NoReturn:
    """A list over the limit."""
    raise trap(f"it passed a list of {count} elements; the limit is {MAX_LIST}: pass it in parts")
