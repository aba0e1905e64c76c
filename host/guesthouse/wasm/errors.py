"""What can go wrong at the boundary, told apart."""

from __future__ import annotations

import traceback
from reprlib import Repr
from typing import Any, Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.exit_cause import ExitCause


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


class _Brief(Repr):
    """Looks at no more of a value than it shows: a guest's may be hundreds of megabytes."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring = 2, 80
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 3

    def repr_bytes(self, value: bytes, level: int) -> str:
        """Bytes, cut before they are written out."""
        return repr(value) if len(value) <= self.maxstring else f"{value[: self.maxstring]!r}..."

    def repr_int(self, value: int, level: int) -> str:
        """A number, if it is of a size that WIT has."""
        return str(value) if value.bit_length() <= 64 else "a large number"

    def repr_instance(self, value: object, level: int) -> str:
        """Whatever else: its own `repr` may show all that it holds."""
        return repr(value) if value is None or type(value) in (bool, float) else f"<{type(value).__name__}>"


_BRIEF: Final = _Brief()
_FRAMES: Final = 8
"""Of a traceback, the innermost."""


def brief(value: Any) -> str:
    """A value for people, in few words however large it is."""
    return _BRIEF.repr(value)[:_MAX_DETAIL]


def host_fault(error: BaseException) -> GuestTrap:
    """What a host call raised, as the end of its guest. Nothing of the error is kept: the frames that its traceback
    names hold all that the guest had passed, and quoting that would make it several times as much.
    """
    if isinstance(error, GuestTrap):
        trap = error
    else:
        words = ", ".join(each[:_MAX_DETAIL] if type(each) is str else brief(each) for each in error.args[:4])
        detail = f"{type(error).__name__}: {words}".encode("utf-8", "replace").decode()
        frames = "".join(traceback.format_tb(error.__traceback__, -_FRAMES))
        trap = GuestTrap(ExitCause.HOST_FAULT, detail, f"{frames}{detail}")
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return trap


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
