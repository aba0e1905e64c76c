"""What a component imports and exports, as plain values that travel from the compiler subprocess."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from guesthouse.core.config import ProcessLimits
from guesthouse.wasm.plan.needs import NO_NEEDS, Needs

MAX_IMPORTS: Final = 1024
"""Imports and their functions of one component; more is refused. A worker looks at each when it links it."""
MAX_NAMES: Final = 10_000
"""Imports, exports and their functions of one component; more is refused."""

MAX_PROBLEMS: Final = 20
MAX_PROBLEM: Final = 400
"""Characters of one."""


class Item(Struct, frozen=True):
    """One import or export.

    `kind` is `interface`, `function`, `component`, `module` or `type`.
    """

    name: str
    kind: str
    functions: tuple[str, ...] = ()
    """The functions of an interface, without its types."""


class Description(Struct, frozen=True):
    """What a component imports and exports, in its own order."""

    imports: tuple[Item, ...]
    exports: tuple[Item, ...]
    problems: tuple[str, ...] = ()
    """Why this host cannot run it, a line each. A worker looks for itself."""
    needs: Needs = NO_NEEDS
    """What it takes from the start, which the settings of processes may not give it."""

    def to_json(self) -> dict[str, object]:
        """The description as values that JSON has."""
        return {
            "imports": _plain(self.imports),
            "exports": _plain(self.exports),
            "problems": list(self.problems),
            "needs": [self.needs.memory_bytes, self.needs.table_elements, self.needs.other_bytes],
        }

    @classmethod
    def from_json(cls, value: object) -> Description:
        """Read what `to_json` gave.

        Raises:
            ValueError: it is something else.
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
