"""Limits what one call passes: a guest could pass any amount by pointing to the same bytes repeatedly."""

from __future__ import annotations

from typing import Final

from guesthouse.wasm.abi.layout import cases_of
from guesthouse.wasm.abi.traps import trap
from guesthouse.wasm.types import (
    Handle,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)
from guesthouse.wasm.values import MAX_LIST

MAX_VALUES: Final = 2 * MAX_LIST
"""Values in all lists that one call passes, nested ones included; each is an object here."""

SHARED_BYTES: Final = 1024 * 1024
"""Bytes by which all strings and bytes of one call may exceed the limit of one."""

_SMALL: Final = 4
"""Strings and lists of plain elements that one call may pass unmetered: each is within the guest's memory."""


def needs_meter(types: tuple[WitType, ...]) -> bool:
    """Whether a guest could pass much more than its memory, by pointing to the same bytes repeatedly."""
    return sum(map(_pointers, types)) > _SMALL


def has_pointers(type_: WitType) -> bool:
    """Whether values of a type refer to other memory, which has to be allocated for them."""
    return _pointers(type_) > 0


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


def has_handles(type_: WitType | None) -> bool:
    """Whether values of a type may contain handles."""
    match type_:
        case Handle():
            return True
        case ListOf(element):
            return has_handles(element)
        case RecordOf(fields):
            return any(has_handles(field) for _, field in fields)
        case TupleOf(elements):
            return any(map(has_handles, elements))
        case VariantOf() | OptionOf() | ResultOf():
            return any(has_handles(payload) for _, payload in cases_of(type_))
        case _:
            return False


def values_in(type_: WitType | None) -> int:
    """The most values in one of a type, those within lists aside."""
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
    """What was read for the current call, if its types let a guest pass the same bytes repeatedly."""

    __slots__ = ("_bytes", "_most", "_values")

    def __init__(self) -> None:
        self._bytes = self._most = self._values = 0

    def begin(self, most: int) -> None:
        """Start another call, with that limit on each string and byte list."""
        self._bytes = self._values = 0
        self._most = most + SHARED_BYTES

    def bytes(self, count: int) -> None:
        """Count bytes, whose bounds were checked."""
        self._bytes += count
        if self._bytes > self._most:
            raise trap(f"it passed over {self._most} bytes in one call, the limit: pass them in parts")

    def values(self, count: int) -> None:
        """Count values."""
        self._values += count
        if self._values > MAX_VALUES:
            raise trap(
                f"it passed lists of over {MAX_VALUES} values in one call, the limit: pass them in parts"
            )


BUDGET: Final = Budget()
"""One for all guests, because reading a call's arguments runs no guest."""
