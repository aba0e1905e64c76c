"""WIT types as plain values, read from a component (`plan/type_reader.py`) and compiled to converters.

The `wasmtime` package describes types by handles into the library; these trees have no handles,
compare by value and can be built by tests.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

MAX_TYPE_NODES: Final = 4096
"""Nodes in the tree of one function's types. A type is a graph, which can expand without bound."""

MAX_COMPONENT_NODES: Final = 16_384
"""Nodes in the types of all functions that a component imports: each costs the worker about 50 µs and
1 KiB. A Python process has about 1,200.
"""

NAMES_IN_NODE: Final = 16
"""Names of cases or flags that count as one more node."""


class Primitive(Struct, frozen=True):
    """`bool`, an integer, a float, `char` or `string`."""

    name: str


class ListOf(Struct, frozen=True):
    """`list<element>`."""

    element: WitType


class RecordOf(Struct, frozen=True):
    """`record`, fields in order."""

    fields: tuple[tuple[str, WitType], ...]


class TupleOf(Struct, frozen=True):
    """`tuple`."""

    elements: tuple[WitType, ...]


class VariantOf(Struct, frozen=True):
    """`variant`, cases in order, each with a payload or none."""

    cases: tuple[tuple[str, WitType | None], ...]


class EnumOf(Struct, frozen=True):
    """`enum`."""

    names: tuple[str, ...]


class OptionOf(Struct, frozen=True):
    """`option<some>`."""

    some: WitType


class ResultOf(Struct, frozen=True):
    """`result<ok, err>`, either of which may be missing."""

    ok: WitType | None
    err: WitType | None


class FlagsOf(Struct, frozen=True):
    """`flags`."""

    names: tuple[str, ...]


class Handle(Struct, frozen=True):
    """`own<resource>` or `borrow<resource>`."""

    owned: bool
    resource: tuple[str, str] | None = None
    """The interface and name by which the component imports the resource, if known."""


WitType: TypeAlias = (
    Primitive | ListOf | RecordOf | TupleOf | VariantOf | EnumOf | OptionOf | ResultOf | FlagsOf | Handle
)

BOOL: Final = Primitive("bool")
S8, U8 = Primitive("s8"), Primitive("u8")
S16, U16 = Primitive("s16"), Primitive("u16")
S32, U32 = Primitive("s32"), Primitive("u32")
S64, U64 = Primitive("s64"), Primitive("u64")
F32, F64 = Primitive("f32"), Primitive("f64")
CHAR, STRING = Primitive("char"), Primitive("string")


def can_be_none(type_: WitType) -> bool:
    """Whether None is a value of the type, so that an option of it needs `Some`."""
    return isinstance(type_, OptionOf)


class FunctionType(Struct, frozen=True):
    """Parameters in order, and the result if there is one."""

    params: tuple[tuple[str, WitType], ...]
    result: WitType | None
