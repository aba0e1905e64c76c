"""What a component imports and exports, as plain values from the compiler subprocess."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from guesthouse.core.config import ProcessLimits
from guesthouse.wasm.plan.needs import NO_NEEDS, Needs

MAX_IMPORTS: Final = 1024
"""Limit on imports and their functions. A worker looks at each when it links a component."""
MAX_NAMES: Final = 10_000
"""Limit on imports, exports and their functions."""

MAX_PROBLEMS: Final = 20
MAX_PROBLEM: Final = 400
"""Characters per name."""


class Item(Struct, frozen=True):
    """One import or export.

    `kind` is `interface`, `function`, `component`, `module` or `type`.
    """

    name: str
    kind: str
    functions: tuple[str, ...] = ()
    """The functions of an interface, without its types."""


class Description(Struct, frozen=True):
    """What a component imports and exports, in its order."""

    imports: tuple[Item, ...]
    exports: tuple[Item, ...]
    problems: tuple[str, ...] = ()
    """Why this host cannot run it, a line each. A worker checks for itself."""
    needs: Needs = NO_NEEDS
    """Its initial memory and tables, which may exceed the settings of processes."""

    def to_json(self) -> dict[str, object]:
        """The description as JSON values."""
        return {
            "imports": _plain(self.imports),
            "exports": _plain(self.exports),
            "problems": list(self.problems),
            "needs": [self.needs.memory_bytes, self.needs.table_elements, self.needs.other_bytes],
        }

    @classmethod
    def from_json(cls, value: object) -> Description:
        """Decode `to_json`'s result.

        Raises:
            ValueError: it is invalid.
        """
        if not isinstance(value, dict):
            raise ValueError("a description is an object")
        return cls(
            _items(value.get("imports")),
            _items(value.get("exports")),
            _lines(value.get("problems")),
            _needs(value.get("needs")),
        )

    def all_problems(self, limits: ProcessLimits) -> tuple[str, ...]:
        """Why no worker starts it under these limits, a line each."""
        unmet = self.needs.unmet(limits.memory_bytes, limits.table_elements)
        return self.problems if unmet is None else (*self.problems, unmet)


def _plain(items: tuple[Item, ...]) -> list[list[object]]:
    return [[item.name, item.kind, list(item.functions)] for item in items]


def _items(value: object) -> tuple[Item, ...]:
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise ValueError("imports and exports are lists")
    return tuple(_read(item) for item in value)


def _lines(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_PROBLEMS:
        raise ValueError("problems are a list")
    for line in value:
        if not isinstance(line, str) or len(line) > MAX_PROBLEM or not line.isprintable():
            raise ValueError("a problem is a line")
    return tuple(value)


def _needs(value: object) -> Needs:
    match value:
        case [int(memory), int(table), int(others)] if min(memory, table, others) >= 0:
            return Needs(memory, table, others)
    raise ValueError("needs are three numbers")


def _read(value: object) -> Item:
    match value:
        case [str(name), str(kind), list(functions)] if all(isinstance(text, str) for text in functions):
            return Item(name, kind, tuple(functions))
    raise ValueError("an item is a name, a kind and functions")
