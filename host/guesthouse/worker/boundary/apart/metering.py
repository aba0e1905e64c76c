"""How much one call may pass: a guest that points to the same bytes again and again could pass any amount."""

from __future__ import annotations

from typing import Any, Final

from guesthouse.worker.boundary.apart.layout import cases_of
from guesthouse.worker.boundary.apart.traps import trap
from guesthouse.worker.boundary.types import (
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)
from guesthouse.worker.boundary.values import MAX_LIST

MAX_VALUES: Final = 16 * MAX_LIST
"""Values in all lists that one call passes, those within others counted too: each is an object here."""

SHARED_BYTES: Final = 16 * 1024 * 1024
"""Bytes by which the text and bytes that one call passes may exceed the guest's memory. Without pointing twice
to the same bytes a guest cannot get there; with it, a list of pointers would be copied to any size.
"""

_SMALL: Final = 4
"""Texts and lists of plain elements that one call may pass unmetered: each is within the guest's memory."""


def needs_meter(types: tuple[WitType, ...]) -> bool:
    """Whether a guest could pass much more than it has memory, by pointing to the same bytes again and again."""
    return sum(map(_pointers, types)) > _SMALL


def _pointers(type_: WitType | None) -> int:
    match type_:
        case ListOf(element):
            return 1 if not _pointers(element) and isinstance(element, Primitive) else _SMALL + 1
        case Primitive(name):
            return name == "string"
        case RecordOf(fields):
            return sum(_pointers(field) for _, field in fields)
        case TupleOf(elements):
            return sum(map(_pointers, elements))
        case VariantOf() | OptionOf() | ResultOf():
            return sum(_pointers(payload) for _, payload in cases_of(type_))
        case _:
            return 0


def values_in(type_: WitType | None) -> int:
    """Values in one of a type at most, those within lists aside."""
    match type_:
        case RecordOf(fields):
            return 1 + sum(values_in(field) for _, field in fields)
        case TupleOf(elements):
            return 1 + sum(map(values_in, elements))
        case VariantOf() | OptionOf() | ResultOf():
            return 1 + max(values_in(payload) for _, payload in cases_of(type_))
        case None:
            return 0
        case _:
            return 1


class Budget:
    """What has been read for the call in hand, of calls whose types let a guest pass the same bytes many times."""

    __slots__ = ("_bytes", "_values")

    def __init__(self) -> None:
        self._bytes = self._values = 0

    def begin(self) -> None:
        """Another call."""
        self._bytes = self._values = 0

    def bytes(self, count: int, memory: Any) -> None:
        """So many more are read, whose bounds in the memory were checked."""
        self._bytes += count
        if self._bytes > memory.size + SHARED_BYTES:
            raise trap(
                f"it passed over {memory.size + SHARED_BYTES} bytes in one call, more than it has: pass fewer"
            )

    def values(self, count: int) -> None:
        """So many more are read."""
        self._values += count
        if self._values > MAX_VALUES:
            raise trap(
                f"it passed lists of over {MAX_VALUES} values in one call, the limit: pass parts of them"
            )


BUDGET: Final = Budget()
"""One for all guests: to read a call's arguments runs no guest."""
