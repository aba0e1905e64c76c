"""Reads WIT types from what the engine says of a component. For the compiler alone: the package's component types take
as long to load as most of a worker's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from wasmtime.component import ResourceType
from wasmtime.component import _types as wt

from guesthouse.wasm.errors import UnsupportedType
from guesthouse.wasm.types import (
    BOOL,
    CHAR,
    F32,
    F64,
    MAX_COMPONENT_NODES,
    MAX_TYPE_NODES,
    NAMES_IN_NODE,
    S8,
    S16,
    S32,
    S64,
    STRING,
    U8,
    U16,
    U32,
    U64,
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
