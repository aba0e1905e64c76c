"""Errors at the boundary."""

from __future__ import annotations

import traceback
from reprlib import Repr
from typing import Any, Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.exit_cause import ExitCause


class BoundaryError(GuesthouseError):
    """The boundary cannot work here; the message says why."""


class ConversionError(Exception):
    """A Python value does not fit its WIT type. A bug in a host call, never of a guest."""


class WrongType(ConversionError, TypeError):
    """The value is of another kind than the WIT type, or lacks a field, or names no case."""


class OutOfRange(ConversionError, ValueError):
    """The integer does not fit its width, or the list is too long."""


class NotUnicode(ConversionError, ValueError):
    """The string has a lone surrogate, which WIT strings and chars cannot have."""


class UnsupportedType(BoundaryError):
    """A component's type uses something unsupported (streams, futures, maps), or is too big."""


class NotLoaded(BoundaryError):
    """The file was not compiled by this engine."""


class LinkFailure(BoundaryError):
    """A component imports what the host does not offer, or lacks a required export."""


_MAX_DETAIL: Final = 500


class GuestTrap(Exception):
    """A guest is dead. `cause` is one of `ExitCause`; `detail` is one line for users, `trace` wasmtime's message.

    The guest may influence the detail, so it is truncated for the log.
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
        """Bytes, truncated before they are formatted."""
        return repr(value) if len(value) <= self.maxstring else f"{value[: self.maxstring]!r}..."

    def repr_int(self, value: int, level: int) -> str:
        """A number, if it is of a WIT integer's size."""
        return str(value) if value.bit_length() <= 64 else "a large number"

    def repr_instance(self, value: object, level: int) -> str:
        """Anything else, whose own `repr` may be large."""
        return repr(value) if value is None or type(value) in (bool, float) else f"<{type(value).__name__}>"


_BRIEF: Final = _Brief()
_FRAMES: Final = 8
"""Innermost frames of a traceback."""


def brief(value: Any) -> str:
    """A short representation of a value of any size."""
    return _BRIEF.repr(value)[:_MAX_DETAIL]


def host_fault(error: BaseException) -> GuestTrap:
    """The exception of a host call as a trap of its guest. The exception is not kept: its traceback's frames
    refer to everything that the guest passed, and formatting that would multiply it.
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


def allocator_called_host() -> GuestTrap:
    """Why a guest ends whose allocator calls the host, which the component model forbids."""
    return GuestTrap(ExitCause.TRAP, "its allocator called the host")


_MARK: Final = "wasm trap: "
_STACK: Final = "call stack exhausted"


def classify(message: str) -> GuestTrap:
    """Interpret wasmtime's message of a failed call (it has no codes for components)."""
    trap = message.rpartition(_MARK)[2] if _MARK in message else ""
    if trap:
        detail = trap.strip().splitlines()[0]
        cause = ExitCause.STACK_OVERFLOW if detail.startswith(_STACK) else ExitCause.TRAP
        return GuestTrap(cause, detail, message)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return GuestTrap(ExitCause.TRAP, lines[-1] if lines else "no reason given", message)
