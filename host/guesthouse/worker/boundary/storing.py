"""Python values to values of the canonical ABI in a guest's memory: one writer per type, compiled once.

What a value points to goes where the guest's own allocator says. That runs the guest, which may change any
of its memory, but never moves it: addresses that were checked stay good.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from guesthouse.worker.boundary.capi import MEMORY
from guesthouse.worker.boundary.errors import OutOfRange, WrongType
from guesthouse.worker.boundary.layout import Shape, cases_of
from guesthouse.worker.boundary.linear import LinearMemory
from guesthouse.worker.boundary.loading import ResourceNumber
from guesthouse.worker.boundary.scalars import (
    CODES,
    Convert,
    bytes_of,
    case_of,
    code_of,
    convert,
    utf8_of,
    wrong,
)
from guesthouse.worker.boundary.types import (
    BOOL,
    F32,
    F64,
    U8,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)

Store: TypeAlias = Callable[[Any, int, LinearMemory], None]
"""`(value, native address, memory)`."""

MAX_BYTES: Final = 2**31 - 1
"""Of one text or list: the ABI's own limit."""

_put_pair: Final = Struct("<II").pack_into


def store(type_: WitType, shape: Shape, resource_number: ResourceNumber) -> Store:
    """Compile the writer for a type.

    The writer raises `WrongType`, `OutOfRange` or `NotUnicode` for a value that does not fit.
    """
    number = convert(type_, resource_number)
    if number is not None:
        return _number(number, code_of(type_, shape))
    return _COMPILERS[type(type_)](type_, shape, resource_number)


def _number(number: Convert, code: str) -> Store:
    put = Struct("<" + code).pack_into

    def write(value: Any, at: int, memory: LinearMemory) -> None:
        put(MEMORY, at, number(value))

    return write


def room(memory: LinearMemory, align: int, size: int) -> int:
    """Have the guest make room; returns its address in the guest."""
    if size > MAX_BYTES:
        raise OutOfRange(f"{size} bytes do not fit a guest: pass fewer than 2 GiB")
    return memory.allocate(align, size)


def copied(data: bytes, memory: LinearMemory) -> int:
    """Have bytes copied into the guest; returns their address in it."""
    size = len(data)
    if not size:
        return 1
    address = room(memory, 1, size)
    start = memory.base + address
    MEMORY[start : start + size] = data
    return address


def _string(value: Any, at: int, memory: LinearMemory) -> None:
    data = utf8_of(value)
    _put_pair(MEMORY, at, copied(data, memory), len(data))


def _bytes(value: Any, at: int, memory: LinearMemory) -> None:
    data = bytes_of(value)
    _put_pair(MEMORY, at, copied(data, memory), len(data))


def elements(
    type_: ListOf, shape: Shape, resource_number: ResourceNumber
) -> Callable[[Any, LinearMemory], int]:
    """Compile what has the elements of a list, other than bytes, written; it returns their address in the guest."""
    element = shape.parts[0]
    size, align = element.size, element.align
    write = store(type_.element, element, resource_number)
    together = _together(type_.element)

    def put(value: Any, memory: LinearMemory) -> int:
        if type(value) is not list:
            raise wrong("list", value)
        total = len(value) * size
        if not total:
            return align
        data = None if together is None else together(value)
        address = room(memory, align, total)
        start = memory.base + address
        if data is not None:
            MEMORY[start : start + total] = data
            return address
        for at, each in zip(range(start, start + total, size), value, strict=True):
            write(each, at, memory)
        return address

    return put


def _together(type_: WitType) -> Callable[[list[Any]], bytes | None] | None:
    """What packs many numbers at once, or leaves it to their writer to say which does not fit."""
    if not isinstance(type_, Primitive) or type_.name in ("char", "string"):
        return None
    code, expected = CODES[type_.name], {bool if type_ == BOOL else float if type_ in (F32, F64) else int}

    def pack(values: list[Any]) -> bytes | None:
        if set(map(type, values)) != expected:
            return None
        try:
            return struct.pack(f"<{len(values)}{code}", *values)
        except (struct.error, OverflowError):
            return None

    return pack


def _list(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Store:
    if type_.element == U8:
        return _bytes
    put = elements(type_, shape, resource_number)

    def write(value: Any, at: int, memory: LinearMemory) -> None:
        address = put(value, memory)
        _put_pair(MEMORY, at, address, len(value))

    return write


def record_values(value: Any, names: list[str]) -> tuple[Any, ...]:
    """The values of a record's fields in order."""
    if type(value) is not dict:
        raise wrong("dict for a record", value)
    try:
        return tuple([value[name] for name in names])
    except KeyError as missing:
        raise WrongType(f"the record misses the field {missing.args[0]!r}") from None


def _record(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Store:
    names = [name for name, _ in type_.fields]
    inner = _tuple(TupleOf(tuple(field for _, field in type_.fields)), shape, resource_number)
    return lambda value, at, memory: inner(record_values(value, names), at, memory)


def _tuple(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Store:
    parts = zip(type_.elements, shape.parts, shape.offsets, strict=True)
    writers = [(offset, store(element, part, resource_number)) for element, part, offset in parts]

    def write(value: Any, at: int, memory: LinearMemory) -> None:
        if type(value) is not tuple or len(value) != len(writers):
            raise wrong(f"tuple of {len(writers)}", value)
        for (offset, write_element), element in zip(writers, value, strict=True):
            write_element(element, at + offset, memory)

    return write


def _cases(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Store:
    case, offset = case_of(type_), shape.offsets[0]
    payloads = [
        None if payload is None else store(payload, part, resource_number)
        for (_, payload), part in zip(cases_of(type_), shape.parts, strict=True)
    ]
    put = Struct("<" + shape.discriminant).pack_into

    def write(value: Any, at: int, memory: LinearMemory) -> None:
        number, carried = case(value)
        put(MEMORY, at, number)
        write_payload = payloads[number]
        if write_payload is not None:
            write_payload(carried, at + offset, memory)

    return write


_COMPILERS: Final[dict[type, Callable[[Any, Shape, ResourceNumber], Store]]] = {
    Primitive: lambda type_, shape, resource_number: _string,
    ListOf: _list,
    RecordOf: _record,
    TupleOf: _tuple,
    VariantOf: _cases,
    OptionOf: _cases,
    ResultOf: _cases,
}
