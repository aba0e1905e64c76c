"""WIT types in a plan's JSON: a table of distinct types, which refer to each other by number.

A Python guest's functions have 1,200 types, 150 of them distinct. An entry only refers to earlier ones,
so reading takes no recursion, and equal types are the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from guesthouse.wasm.plan.json_values import Json, below, flat, numbers_below, texts
from guesthouse.wasm.types import (
    MAX_COMPONENT_NODES,
    NAMES_IN_NODE,
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

_MAX_DEPTH: Final = 200
"""Nesting of types."""

_Entry = str | tuple[Any, ...]


class WrittenTypes:
    """The table while a plan is encoded."""

    def __init__(self) -> None:
        self._numbers: dict[_Entry, int] = {}

    def to_json(self) -> Json:
        """All entries so far."""
        return list(self._numbers)

    def functions(self, types: Iterable[FunctionType]) -> list[Json]:
        """The types of functions, as columns: parameter names, parameter types, and result type.

        Raises:
            ValueError: types are nested too deeply.
        """
        columns: list[Json] = [[], [], []]
        for each in types:
            names, numbers = self._pairs(each.params, _MAX_DEPTH)
            for column, value in zip(
                columns, (names, numbers, self._number(each.result, _MAX_DEPTH)), strict=True
            ):
                column.append(value)
        return columns

    def _number(self, type_: WitType | None, depth: int) -> int | None:
        if type_ is None:
            return None
        if not depth:
            raise ValueError(f"types are nested over {_MAX_DEPTH} deep")
        return self._numbers.setdefault(self._entry(type_, depth - 1), len(self._numbers))

    def _entry(self, type_: WitType, depth: int) -> _Entry:
        match type_:
            case Primitive(name):
                return name
            case ListOf(inner) | OptionOf(inner):
                return _WORDS[type(type_)], self._number(inner, depth)
            case RecordOf(pairs) | VariantOf(pairs):
                return _WORDS[type(type_)], *self._pairs(pairs, depth)
            case TupleOf(elements):
                return "tuple", tuple(self._number(each, depth) for each in elements)
            case EnumOf(names) | FlagsOf(names):
                return _WORDS[type(type_)], names
            case ResultOf(ok, err):
                return "result", self._number(ok, depth), self._number(err, depth)
            case Handle(owned, resource):
                return "own" if owned else "borrow", resource

    def _pairs(
        self, pairs: tuple[tuple[str, WitType | None], ...], depth: int
    ) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
        return tuple(name for name, _ in pairs), tuple(self._number(type_, depth) for _, type_ in pairs)


_WORDS: Final[Mapping[type, str]] = {
    ListOf: "list",
    OptionOf: "option",
    RecordOf: "record",
    VariantOf: "variant",
    EnumOf: "enum",
    FlagsOf: "flags",
}


class ReadTypes:
    """A decoded table.

    A short table can represent types that expand without bound (each entry using the last one twice). So
    types are counted as expanded, with the limits of `TypeReader`, and their depth
    is limited as when encoding.
    """

    def __init__(self, entries: Json) -> None:
        """Raises:
        ValueError, KeyError, TypeError: this is not a table.
        """
        self._types: list[WitType] = []
        self._inside: list[int] = []
        """The expanded size of each type."""
        self._depths: list[int] = []
        self._left = MAX_COMPONENT_NODES
        for entry in entries:
            self._count, self._depth = 1, 0
            read = self._entry(entry)
            if self._count > MAX_COMPONENT_NODES or self._depth >= _MAX_DEPTH:
                raise ValueError("a plan's types are too large")
            self._types.append(read)
            self._inside.append(self._count)
            self._depths.append(self._depth + 1)

    def functions(self, names: Json, numbers: Json, results: Json) -> list[FunctionType]:
        """The types of functions, from columns.

        Raises:
            ValueError, TypeError: they are invalid, or too large together with those before.
        """
        texts(flat(names))
        used = [*flat(numbers), *(result for result in results if result is not None)]
        self._left -= sum(map(self._inside.__getitem__, numbers_below(len(self._types), used)))
        if self._left < 0:
            raise ValueError(f"a plan's functions have over {MAX_COMPONENT_NODES} types")
        get = self._types.__getitem__
        return [
            FunctionType(
                tuple(zip(names, map(get, numbers), strict=True)), None if result is None else get(result)
            )
            for names, numbers, result in zip(names, numbers, results, strict=True)
        ]

    def inner(self, number: Json) -> WitType:
        """A type by number."""
        self._count += self._inside[below(len(self._types), number)]
        if self._depth < self._depths[number]:
            self._depth = self._depths[number]
        return self._types[number]

    def optional(self, number: Json) -> WitType | None:
        """A type by number; None for None."""
        return None if number is None else self.inner(number)

    def fields(self, names: Json, numbers: Json) -> tuple[tuple[str, WitType], ...]:
        """Names with types."""
        return tuple(zip(texts(names), map(self.inner, numbers), strict=True))

    def cases(self, names: Json, numbers: Json) -> tuple[tuple[str, WitType | None], ...]:
        """Names with optional types."""
        return tuple(zip(self.names(names), map(self.optional, numbers), strict=True))

    def names(self, names: Json) -> tuple[str, ...]:
        """Names of cases or flags."""
        self._count += len(names) // NAMES_IN_NODE
        return texts(names)

    def _entry(self, value: Json) -> WitType:
        if isinstance(value, str):
            return _PRIMITIVES[value]
        word, *rest = value
        return _READERS[word](self, *rest)


_INTEGERS: Final = ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64")
_PRIMITIVES: Final[Mapping[str, Primitive]] = {
    name: Primitive(name) for name in ("bool", *_INTEGERS, "f32", "f64", "char", "string")
}
_READERS: Final[Mapping[str, Callable[..., WitType]]] = {
    "list": lambda types, element: ListOf(types.inner(element)),
    "option": lambda types, some: OptionOf(types.inner(some)),
    "record": lambda types, names, numbers: RecordOf(types.fields(names, numbers)),
    "variant": lambda types, names, numbers: VariantOf(types.cases(names, numbers)),
    "tuple": lambda types, numbers: TupleOf(tuple(map(types.inner, numbers))),
    "enum": lambda types, names: EnumOf(types.names(names)),
    "flags": lambda types, names: FlagsOf(types.names(names)),
    "result": lambda types, ok, err: ResultOf(types.optional(ok), types.optional(err)),
    "own": lambda types, resource: Handle(True, _resource(resource)),
    "borrow": lambda types, resource: Handle(False, _resource(resource)),
}


def _resource(value: Json) -> tuple[str, str] | None:
    if value is None:
        return None
    interface, name = texts(value)
    return interface, name
