"""Lowers Python values to core arguments: one function per type, compiled once.

Values behind pointers are written to memory by `lower_memory`. Speed matters little here: a call has at most one flat
result, and exports are called once for each guest.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from guesthouse.wasm.abi.layout import Shape, cases_of
from guesthouse.wasm.abi.lift import ResourceNumber
from guesthouse.wasm.abi.lower_memory import copied, elements, misses
from guesthouse.wasm.abi.lower_scalars import Convert, bytes_of, case_of, convert, utf8_of, wrong
from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.types import (
    F32,
    F64,
    S64,
    U8,
    U64,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)

Flatten: TypeAlias = Callable[[Any, LinearMemory], list[int]]
"""`(value, memory)` to the bits of each core argument, as unsigned numbers."""

_bits_of_f32: Final = (Struct("<f").pack, Struct("<I").unpack)
_bits_of_f64: Final = (Struct("<d").pack, Struct("<Q").unpack)


def flatten(type_: WitType, shape: Shape, resource_number: ResourceNumber) -> Flatten:
    """Compile a function that flattens a type's values."""
    number = convert(type_, resource_number)
    if number is not None:
        return _number(type_, number)
    return _COMPILERS[type(type_)](type_, shape, resource_number)


def _number(type_: WitType, number: Convert) -> Flatten:
    if type_ in (F32, F64):
        pack, unpack = _bits_of_f32 if type_ == F32 else _bits_of_f64
        return lambda value, memory: list(unpack(pack(number(value))))
    mask = 2**64 - 1 if type_ in (S64, U64) else 2**32 - 1
    return lambda value, memory: [number(value) & mask]


def _string(value: Any, memory: LinearMemory) -> list[int]:
    data = utf8_of(value)
    return [copied(data, memory), len(data)]


def _bytes(value: Any, memory: LinearMemory) -> list[int]:
    data = bytes_of(value)
    return [copied(data, memory), len(data)]


def _list(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Flatten:
    if type_.element == U8:
        return _bytes
    put = elements(type_, shape, resource_number)
    return lambda value, memory: [put(value, memory), len(value)]


def _record(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Flatten:
    names = [name for name, _ in type_.fields]
    inner = _tuple(TupleOf(tuple(field for _, field in type_.fields)), shape, resource_number)

    def flat(value: Any, memory: LinearMemory) -> list[int]:
        if type(value) is not dict:
            raise wrong("dict for a record", value)
        try:
            values = tuple([value[name] for name in names])
        except KeyError as missing:
            raise misses(missing) from None
        return inner(values, memory)

    return flat


def _tuple(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Flatten:
    parts = [
        flatten(element, part, resource_number)
        for element, part in zip(type_.elements, shape.parts, strict=True)
    ]

    def flat(value: Any, memory: LinearMemory) -> list[int]:
        if type(value) is not tuple or len(value) != len(parts):
            raise wrong(f"tuple of {len(parts)}", value)
        return [bits for part, element in zip(parts, value, strict=True) for bits in part(element, memory)]

    return flat


def _cases(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Flatten:
    case, width = case_of(type_), len(shape.flat)
    payloads = [
        None if payload is None else flatten(payload, part, resource_number)
        for (_, payload), part in zip(cases_of(type_), shape.parts, strict=True)
    ]

    def flat(value: Any, memory: LinearMemory) -> list[int]:
        number, carried = case(value)
        payload = payloads[number]
        bits = [number] if payload is None else [number, *payload(carried, memory)]
        return bits + [0] * (width - len(bits))

    return flat


_COMPILERS: Final[dict[type, Callable[[Any, Shape, ResourceNumber], Flatten]]] = {
    Primitive: lambda type_, shape, resource_number: _string,
    ListOf: _list,
    RecordOf: _record,
    TupleOf: _tuple,
    VariantOf: _cases,
    OptionOf: _cases,
    ResultOf: _cases,
}
