"""What can go wrong at the boundary, told apart."""

from __future__ import annotations

from typing import Final

from guesthouse.errors import GuesthouseError
from guesthouse.link.ops import ExitCause


class BoundaryError(GuesthouseError):
    """The boundary itself cannot work here; the message says why."""


class ConversionError(Exception):
    """A Python value does not fit the WIT type it was given for. A defect of a host call, never of a guest."""


class WrongType(ConversionError, TypeError):
    """The value is of another kind than the WIT type, or misses a field, or names no case."""


class OutOfRange(ConversionError, ValueError):
    """The integer does not fit its width, or the list is longer than the C API takes."""


class NotUnicode(ConversionError, ValueError):
    """The text holds a lone surrogate, which no WIT string or char can."""


class UnsupportedType(BoundaryError):
    """A component's type uses something that this host does not pass (streams, futures, maps), or is too big."""


class NotLoaded(BoundaryError):
    """The file is not what this engine compiled."""


class LinkFailure(BoundaryError):
    """A component imports what the host does not offer, or lacks what every process exports."""


_MAX_DETAIL: Final = 500


class GuestTrap(Exception):
    """A guest is dead. `cause` is one of `ExitCause`; `detail` is one line for people, `trace` wasmtime's own words.

    The guest may have had a say in the detail: it is cut to a length for a log.
    """

    def __init__(self, cause: str, detail: str, trace: str = "") -> None:
        detail = " ".join(detail[:_MAX_DETAIL].split())
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail
        self.trace = trace


_MARK: Final = "wasm trap: "
_STACK: Final = "call stack exhausted"


def classify(message: str) -> GuestTrap:
    """Read what wasmtime says of a failed call (it has no codes for components)."""
    trap = message.rpartition(_MARK)[2] if _MARK in message else ""
    if trap:
        detail = trap.strip().splitlines()[0]
        cause = ExitCause.STACK_OVERFLOW if detail.startswith(_STACK) else ExitCause.TRAP
        return GuestTrap(cause, detail, message)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return GuestTrap(ExitCause.TRAP, lines[-1] if lines else "no reason given", message)
