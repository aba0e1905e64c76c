"""Imports, exports and start function of a component's core module.

The host calls the start function itself, so the module is compiled *without start*: it exports the function instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from guesthouse.wasm.binary.byte_reader import (
    MODULE,
    Reader,
    Section,
    UnsupportedComponent,
    encoded_number,
    encoded_section,
)
from guesthouse.wasm.binary.byte_reader import sections as sections_of

MAX_MODULE_IMPORTS: Final = 10_000
"""Per module, and for all instances of a component together. A Python guest has 2,500. Linking so many takes a worker
50 ms, in which no guest runs.
"""
MAX_MODULE_EXPORTS: Final = 20_000
"""The same. A Python guest has 4,200; a worker takes 1 µs to load each."""
MAX_TYPE_BYTES: Final = 65_536
"""Of the function types of all modules of a component. A Python guest's have 7,100; a worker takes up to 1 µs to load
each.
"""
MAX_PARTS: Final = 100_000
"""Globals and segments of all modules of a component. A guest in JavaScript has 10,000; a worker takes up to
0.2 µs to load each, instantiated or not.
"""

CUSTOM: Final = 0
TYPES: Final = 1
IMPORTS: Final = 2
FUNCTIONS: Final = 3
EXPORTS: Final = 7
GLOBALS: Final = 6
START: Final = 8
ELEMENTS: Final = 9
CODE: Final = 10
DATA: Final = 11
"""Sections."""

_LAST_SECTION: Final = 13
_MAX_TYPES: Final = 100_000
_ONLY_UNREACHABLE: Final = b"\x00\x00\x0b"
"""A function's body: no locals, `unreachable`, `end`."""
_NUMBERS: Final = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64"}
_VALUE_TYPES: Final = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F))
_REFERENCE_TYPES: Final = frozenset((0x70, 0x6F))


class Kind(IntEnum):
    """What a module imports or exports, numbered as in the binary format."""

    FUNCTION = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3


class Wanted(Struct, frozen=True):
    """One import."""

    module: str
    name: str
    kind: Kind
    type: int = 0
    """The type index of a function."""


class CoreModule(Struct, frozen=True):
    """One core module of a component, as needed for linking."""

    content: bytes
    imports: tuple[Wanted, ...]
    exports: Mapping[str, Kind]
    start: int | None
    """The index of its start function."""
    sections: Mapping[int, Section]
    """All sections except custom ones, by kind."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Indices of its exports in their index spaces."""

    def reader(self, kind: int) -> Reader:
        """A reader of a section's content; a missing section is an empty vector."""
        section = self.sections.get(kind)
        if section is None:
            return Reader(b"\0", 0, 1)
        return Reader(self.content, section.body, section.end)


def read_module(content: bytes) -> CoreModule:
    """Read a module's imports and exports.

    Raises:
        UnsupportedComponent: it is malformed, or has something unknown.
    """
    sections: dict[int, Section] = {}
    for section in sections_of(content, 0, len(content), MODULE):
        if section.kind > _LAST_SECTION:
            raise UnsupportedComponent(f"a module has a section of the unknown kind {section.kind}")
        if section.kind in sections:
            raise UnsupportedComponent("a module has two sections of one kind")
        if section.kind != CUSTOM:
            sections[section.kind] = section
    module = CoreModule(content, (), {}, None, sections)
    exports, numbers = _exports(module.reader(EXPORTS))
    return replace(
        module,
        imports=_imports(module.reader(IMPORTS)),
        exports=exports,
        numbers=numbers,
        start=_start(module.reader(START)) if START in sections else None,
    )


def _start(reader: Reader) -> int:
    number = reader.number()
    reader.finish()
    return number


def without_start(module: CoreModule) -> tuple[bytes, str | None]:
    """The module without its start section, and the name under which it exports that function.

    A module without a start section is returned unchanged, with None.
    """
    name = start_name(module)
    if name is None or module.start is None:
        return module.content, None
    encoded = name.encode()
    entry = encoded_number(len(encoded)) + encoded + bytes((Kind.FUNCTION,)) + encoded_number(module.start)
    exports = encoded_section(EXPORTS, _with(entry, module.reader(EXPORTS)))
    start = module.sections[START]
    # Without an export section, it replaces the start section, which would follow it.
    old = module.sections.get(EXPORTS, start)
    pieces = module.content[: old.start], exports, module.content[old.end : start.start]
    return b"".join((*pieces, module.content[max(old.end, start.end) :])), name


def start_name(module: CoreModule) -> str | None:
    """The name under which the module without start exports its start function; None if it has none."""
    if module.start is None:
        return None
    name = "start"
    while name in module.exports:
        name += "'"
    return name


def function_type(module: CoreModule, number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parameters and results of a function type.

    Raises:
        UnsupportedComponent: it does not exist, or has types other than numbers.
    """
    reader = module.reader(TYPES)
    if number >= reader.count(_MAX_TYPES, "types"):
        raise UnsupportedComponent("a module imports a function of a type that does not exist")
    for _ in range(number):
        _function_type(reader)
    params, results = _function_type(reader)
    if not {*params, *results} <= _NUMBERS.keys():
        raise UnsupportedComponent(
            "a module imports a function of a nested component with types other than numbers"
        )
    return tuple(_NUMBERS[each] for each in params), tuple(_NUMBERS[each] for each in results)


def _function_type(reader: Reader) -> tuple[bytes, bytes]:
    if reader.byte() != 0x60:
        raise UnsupportedComponent("a module has types other than functions")
    params = reader.take(reader.number())
    return params, reader.take(reader.number())


def trapping_exports(module: CoreModule) -> frozenset[str]:
    """The exported functions whose code is only `unreachable`."""
    reader = module.reader(CODE)
    first = sum(1 for each in module.imports if each.kind is Kind.FUNCTION)
    numbers = set()
    for number in range(reader.number()):
        size = reader.number()
        if size != len(_ONLY_UNREACHABLE):
            reader.skip(size)
        elif reader.take(size) == _ONLY_UNREACHABLE:
            numbers.add(first + number)
    return frozenset(
        name
        for name, kind in module.exports.items()
        if kind is Kind.FUNCTION and module.numbers[name] in numbers
    )


def _with(entry: bytes, vector: Reader) -> bytes:
    """A vector with one more element."""
    count = vector.number()
    return encoded_number(count + 1) + vector.content[vector.at : vector.end] + entry


def _imports(reader: Reader) -> tuple[Wanted, ...]:
    count = reader.count(MAX_MODULE_IMPORTS, "imports of a module")
    wanted = tuple(_import(reader) for _ in range(count))
    reader.finish()
    return wanted


def _import(reader: Reader) -> Wanted:
    wanted = Wanted(reader.name(), reader.name(), _kind(reader))
    match wanted.kind:
        case Kind.FUNCTION:
            return replace(wanted, type=reader.number())
        case Kind.TABLE:
            _one_of(_REFERENCE_TYPES, reader)
            _limits(reader)
        case Kind.MEMORY:
            _limits(reader)
        case Kind.GLOBAL:
            _one_of(_VALUE_TYPES, reader)
            _one_of((0, 1), reader)
    return wanted


def _exports(reader: Reader) -> tuple[dict[str, Kind], dict[str, int]]:
    count = reader.count(MAX_MODULE_EXPORTS, "exports of a module")
    exports, numbers = {}, {}
    for _ in range(count):
        name = reader.name()
        exports[name] = _kind(reader)
        numbers[name] = reader.number()
    reader.finish()
    return exports, numbers


def _kind(reader: Reader) -> Kind:
    value = reader.byte()
    if value not in (0, 1, 2, 3):
        raise UnsupportedComponent(f"a module imports or exports something of the unknown kind {value}")
    return Kind(value)


def _limits(reader: Reader) -> None:
    with_maximum = reader.byte()
    if with_maximum not in (0, 1):
        raise UnsupportedComponent("a module imports a memory or a table with unknown limits")
    reader.number()
    if with_maximum:
        reader.number()


def _one_of(known: frozenset[int] | tuple[int, ...], reader: Reader) -> None:
    value = reader.byte()
    if value not in known:
        raise UnsupportedComponent(f"a module imports something of the unknown type {value:#x}")
