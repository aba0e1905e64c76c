"""What a compiled component imports and exports. Separate from `description`, which does not need wasmtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import wasmtime
from wasmtime.component import _types as wt

from guesthouse.package.compile.description import MAX_IMPORTS, MAX_NAMES, Description, Item

_KINDS: Final[Mapping[type, str]] = {
    wt.FuncType: "function",
    wt.ComponentInstanceType: "interface",
    wt.ComponentType: "component",
    wt.ModuleType: "module",
}


def describe(type_: wt.ComponentType, engine: wasmtime.Engine) -> Description:
    """Describe a compiled component.

    Raises:
        ValueError: it has too many names.
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
