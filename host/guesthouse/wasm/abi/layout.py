"""Sizes, alignments and flattening of types.

Canonical ABI, "Alignment", "Element Size" and "Flattening". A shape is computed
once for a whole tree of types; converters walk both.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Final, TypeAlias

from msgspec import Struct

from guesthouse.wasm.errors import UnsupportedType
from guesthouse.wasm.types import (
    EnumOf,
    FlagsOf,
    FunctionType,
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

MAX_FLAT_PARAMS: Final = 16
MAX_FLAT_RESULTS: Final = 1

MAX_DEPTH: Final = 100
"""Nesting of types, which converters recurse into. The engine has the same limit."""

MAX_FLAGS: Final = 32

Cases = tuple[tuple[str, WitType | None], ...]


class Shape(Struct, frozen=True):
    """The layout of a type's values."""

    size: int
    """Bytes in memory, including padding at the end."""
    align: int
    flat: tuple[str, ...]
    """The flattened core types: `i32`, `i64`, `f32`, `f64`."""
    parts: tuple[Shape, ...] = ()
    """Of fields, elements or cases, in order; of a list, its element. A case without payload is empty."""
    offsets: tuple[int, ...] = ()
    """Offsets of fields or elements in memory; of a type with cases, that of the payload."""
    discriminant: str = ""
    """Of types with cases and of flags: the `struct` code of the number in memory."""
    height: int = 1
    """Levels of nesting."""


_PRIMITIVES: Final[dict[str, Shape]] = {
    "bool": Shape(1, 1, ("i32",)),
    "s8": Shape(1, 1, ("i32",)),
    "u8": Shape(1, 1, ("i32",)),
    "s16": Shape(2, 2, ("i32",)),
    "u16": Shape(2, 2, ("i32",)),
    "s32": Shape(4, 4, ("i32",)),
    "u32": Shape(4, 4, ("i32",)),
    "s64": Shape(8, 8, ("i64",)),
    "u64": Shape(8, 8, ("i64",)),
    "f32": Shape(4, 4, ("f32",)),
    "f64": Shape(8, 8, ("f64",)),
    "char": Shape(4, 4, ("i32",)),
    "string": Shape(8, 4, ("i32", "i32")),
}

_EMPTY: Final = Shape(0, 1, (), height=0)
_HANDLE: Final = Shape(4, 4, ("i32",))
_DISCRIMINANTS: Final = {1: "B", 2: "H", 4: "I"}


Known: TypeAlias = dict[int, tuple[WitType, Shape]]
"""Shapes by the identity of their types: the types of a plan share parts."""


def shape_of(type_: WitType, depth: int = 0, known: Known | None = None) -> Shape:
    """Compute the layout of a type.

    Args:
        type_: the type.
        depth: its nesting level.
        known: shapes computed before; extended.

    Raises:
        UnsupportedType: it has no layout, or its tree is too deep.
    """
    if known is None:
        known = {}
    _, shape = known.get(id(type_), (None, None))
    if shape is None:
        if depth >= MAX_DEPTH:
            raise _too_deep()
        shape = _new_shape(type_, depth, known)
        known[id(type_)] = type_, shape
    elif depth + shape.height > MAX_DEPTH:
        raise _too_deep()
    return shape


def _new_shape(type_: WitType, depth: int, known: Known) -> Shape:
    match type_:
        case Primitive(name):
            return _PRIMITIVES[name]
        case Handle():
            return _HANDLE
        case ListOf(element):
            inner = shape_of(element, depth + 1, known)
            return Shape(8, 4, ("i32", "i32"), (inner,), height=1 + inner.height)
        case RecordOf(fields):
            return _fields([shape_of(field, depth + 1, known) for _, field in fields])
        case TupleOf(elements):
            return _fields([shape_of(element, depth + 1, known) for element in elements])
        case FlagsOf(names):
            return _flags(len(names))
        case _:
            payloads = [payload for _, payload in cases_of(type_)]
            return _cases([_EMPTY if p is None else shape_of(p, depth + 1, known) for p in payloads])


def _too_deep() -> UnsupportedType:
    return UnsupportedType(f"a type is nested over {MAX_DEPTH} deep: use a flatter one")


def cases_of(type_: VariantOf | EnumOf | OptionOf | ResultOf) -> Cases:
    """The cases of a type in the order of their discriminants."""
    match type_:
        case EnumOf(names):
            return tuple((name, None) for name in names)
        case OptionOf(some):
            return (("none", None), ("some", some))
        case ResultOf(ok, err):
            return (("ok", ok), ("err", err))
        case VariantOf(cases):
            return cases


def _align_up(offset: int, align: int) -> int:
    return -(-offset // align) * align


def _fields(parts: list[Shape]) -> Shape:
    if not parts:
        raise UnsupportedType("a record or tuple without fields cannot be passed: leave it out")
    align = max(part.align for part in parts)
    offset, offsets = 0, []
    for part in parts:
        offset = _align_up(offset, part.align)
        offsets.append(offset)
        offset += part.size
    flat = tuple(core for part in parts for core in part.flat)
    height = 1 + max(part.height for part in parts)
    return Shape(_align_up(offset, align), align, flat, tuple(parts), tuple(offsets), height=height)


def _flags(count: int) -> Shape:
    if not 0 < count <= MAX_FLAGS:
        raise UnsupportedType(f"flags have 1 to {MAX_FLAGS} names, not {count}: use several")
    size = 1 if count <= 8 else 2 if count <= 16 else 4
    return Shape(size, size, ("i32",), discriminant=_DISCRIMINANTS[size])


def _cases(parts: list[Shape]) -> Shape:
    if not parts:
        raise UnsupportedType("a variant or enum without cases cannot be passed: leave it out")
    size = 1 if len(parts) <= 2**8 else 2 if len(parts) <= 2**16 else 4
    payload_align = max(part.align for part in parts)
    offset = _align_up(size, payload_align)
    end = offset + max(part.size for part in parts)
    align = max(size, payload_align)
    flat = ("i32", *_joined(part.flat for part in parts))
    height = 1 + max(part.height for part in parts)
    return Shape(_align_up(end, align), align, flat, tuple(parts), (offset,), _DISCRIMINANTS[size], height)


def _joined(payloads: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(_join({core for core in column if core}) for column in zip_longest(*payloads))


def _join(cores: set[str | None]) -> str:
    """The core type that can carry all of these."""
    if len(cores) == 1:
        return str(*cores)
    return "i32" if cores == {"i32", "f32"} else "i64"


CoreSignature = tuple[tuple[str, ...], tuple[str, ...]]
"""Core types of a function's parameters and results."""


def core_signature(type_: FunctionType, known: Known | None = None) -> CoreSignature:
    """The core signature of a lowered import: a result that is not flat is returned through a last pointer parameter.

    Args:
        type_: the function's type.
        known: as for `shape_of`.
    """
    params, results = _params(type_, known), _results(type_, known)
    return (params, results) if len(results) <= MAX_FLAT_RESULTS else ((*params, "i32"), ())


def _params(type_: FunctionType, known: Known | None = None) -> tuple[str, ...]:
    flat = tuple(core for _, param in type_.params for core in shape_of(param, 0, known).flat)
    return flat if len(flat) <= MAX_FLAT_PARAMS else ("i32",)


def _results(type_: FunctionType, known: Known | None = None) -> tuple[str, ...]:
    return () if type_.result is None else shape_of(type_.result, 0, known).flat
