"""WIT types as plain values, read from a component and compiled to converters.

The `wasmtime` package describes types by handles into the library; these trees have no handles,
compare by value and can be built by tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from msgspec import Struct
from wasmtime.component import ResourceType
from wasmtime.component import _types as wt

from guesthouse.wasm.errors import UnsupportedType

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


_PRIMITIVES: Final[dict[type, Primitive]] = {
    wt.Bool: BOOL,
    wt.S8: S8,
    wt.U8: U8,
    wt.S16: S16,
    wt.U16: U16,
    wt.S32: S32,
    wt.U32: U32,
    wt.S64: S64,
    wt.U64: U64,
    wt.F32: F32,
    wt.F64: F64,
    wt.Char: CHAR,
    wt.String: STRING,
}


class TypeReader:
    """Reads the types of one component's functions, and counts nodes as it expands them.

    Args:
        resource: returns the interface and name of a resource; without it no `Handle` has them.
    """

    def __init__(self, resource: Callable[[ResourceType], tuple[str, str] | None] | None = None) -> None:
        self._resource = resource
        self._left = MAX_COMPONENT_NODES
        self._function_left = 0

    def function(self, source: wt.FuncType) -> FunctionType:
        """Read a function's type.

        Raises:
            UnsupportedType: it uses an unsupported type, or its tree or that of all
                functions read so far is too big.
        """
        self._function_left = MAX_TYPE_NODES
        params = tuple((name, self.read(type_)) for name, type_ in source.params)
        result = source.result
        return FunctionType(params, None if result is None else self.read(result))

    def read(self, source: wt.ValType) -> WitType:
        """Read one type."""
        self._count()
        primitive = _PRIMITIVES.get(type(source))
        if primitive is not None:
            return primitive
        compound = _COMPOUNDS.get(type(source))
        if compound is None:
            raise UnsupportedType(
                f"the WIT type {type(source).__name__} cannot be passed by this host: use another"
            )
        return compound(self, source)

    def _count(self, nodes: int = 1) -> None:
        self._left -= nodes
        self._function_left -= nodes
        if self._function_left < 0:
            raise UnsupportedType(f"a function's types have over {MAX_TYPE_NODES} parts: use smaller ones")
        if self._left < 0:
            raise UnsupportedType(
                f"the types of all imported functions have over {MAX_COMPONENT_NODES} parts: "
                "import fewer functions or use smaller types"
            )

    def optional(self, source: wt.ValType | None) -> WitType | None:
        """Read an optional type."""
        return None if source is None else self.read(source)

    def handle(self, source: wt.OwnType | wt.BorrowType, *, owned: bool) -> Handle:
        """Read the type of a handle."""
        return Handle(owned, None if self._resource is None else self._resource(source.ty))

    def pairs(self, source: list[tuple[str, wt.ValType]]) -> Iterator[tuple[str, WitType]]:
        """Read the types of fields."""
        return ((name, self.read(type_)) for name, type_ in source)

    def names(self, source: Sequence[str]) -> tuple[str, ...]:
        """Read the names of an enum or of flags."""
        self._count(len(source) // NAMES_IN_NODE)
        return tuple(source)

    def cases(
        self, source: Sequence[tuple[str, wt.ValType | None]]
    ) -> tuple[tuple[str, WitType | None], ...]:
        """Read the cases of a variant."""
        self._count(len(source) // NAMES_IN_NODE)
        return tuple((name, self.optional(payload)) for name, payload in source)


_COMPOUNDS: Final[dict[type, Callable[[TypeReader, wt.ValType], WitType]]] = {
    wt.ListType: lambda r, t: ListOf(r.read(t.element)),  # type: ignore[attr-defined]
    wt.RecordType: lambda r, t: RecordOf(tuple(r.pairs(t.fields))),  # type: ignore[attr-defined]
    wt.TupleType: lambda r, t: TupleOf(tuple(r.read(e) for e in t.elements)),  # type: ignore[attr-defined]
    wt.VariantType: lambda r, t: VariantOf(r.cases(t.cases)),  # type: ignore[attr-defined]
    wt.EnumType: lambda r, t: EnumOf(r.names(t.names)),  # type: ignore[attr-defined]
    wt.OptionType: lambda r, t: OptionOf(r.read(t.payload)),  # type: ignore[attr-defined]
    wt.ResultType: lambda r, t: ResultOf(r.optional(t.ok), r.optional(t.err)),  # type: ignore[attr-defined]
    wt.FlagsType: lambda r, t: FlagsOf(r.names(t.names)),  # type: ignore[attr-defined]
    wt.OwnType: lambda r, t: r.handle(t, owned=True),  # type: ignore[arg-type]
    wt.BorrowType: lambda r, t: r.handle(t, owned=False),  # type: ignore[arg-type]
}
