"""What a component imports and exports, as plain values that travel from the compiler subprocess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import wasmtime
from wasmtime.component import _types as wt

MAX_IMPORTS: Final = 1024
"""Imports and their functions of one component; more is refused. A worker looks at each when it links it."""
MAX_NAMES: Final = 10_000
"""Imports, exports and their functions of one component; more is refused."""

_KINDS: Final[Mapping[type, str]] = {
    wt.FuncType: "function",
    wt.ComponentInstanceType: "interface",
    wt.ComponentType: "component",
    wt.ModuleType: "module",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One import or export.

    `kind` is `interface`, `function`, `component`, `module` or `type`.
    """

    name: str
    kind: str
    functions: tuple[str, ...] = ()
    """The functions of an interface, without its types."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a component imports and exports, in its own order."""

    imports: tuple[Item, ...]
    exports: tuple[Item, ...]

    def to_json(self) -> dict[str, object]:
        """The description as values that JSON has."""
        return {"imports": _plain(self.imports), "exports": _plain(self.exports)}

    @classmethod
    def from_json(cls, value: object) -> Description:
        """Read what `to_json` gave.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(value, dict):
            raise ValueError("a description is an object")
        return cls(_items(value.get("imports")), _items(value.get("exports")))


def describe(type_: wt.ComponentType, engine: wasmtime.Engine) -> Description:
    """Describe a compiled component.

    Raises:
        ValueError: it has more names than any process needs.
    """
    description = Description(
        tuple(_item(name, extern, engine) for name, extern in type_.imports(engine).items()),
        tuple(_item(name, extern, engine) for name, extern in type_.exports(engine).items()),
    )
    if _names(description.imports) > MAX_IMPORTS:
        raise ValueError(f"it imports over {MAX_IMPORTS} names")
    items = (*description.imports, *description.exports)
    if _names(items) > MAX_NAMES:
        raise ValueError(f"it imports and exports over {MAX_NAMES} names")
    return description


def _names(items: tuple[Item, ...]) -> int:
    return len(items) + sum(len(item.functions) for item in items)


def _item(name: str, extern: Any, engine: wasmtime.Engine) -> Item:
    kind = extern.ty
    functions: tuple[str, ...] = ()
    if isinstance(kind, wt.ComponentInstanceType):
        inner = kind.exports(engine)
        functions = tuple(inside for inside, what in inner.items() if isinstance(what.ty, wt.FuncType))
    return Item(name, _KINDS.get(type(kind), "type"), functions)


def _plain(items: tuple[Item, ...]) -> list[list[object]]:
    return [[item.name, item.kind, list(item.functions)] for item in items]


def _items(value: object) -> tuple[Item, ...]:
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise ValueError("imports and exports are lists")
    return tuple(_read(item) for item in value)


def _read(value: object) -> Item:
    match value:
        case [str(name), str(kind), list(functions)] if all(isinstance(text, str) for text in functions):
            return Item(name, kind, tuple(functions))
    raise ValueError("an item is a name, a kind and functions")
