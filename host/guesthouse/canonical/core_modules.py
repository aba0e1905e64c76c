"""What a core module imports and exports, and two forms of it that the planner makes.

Its *skeleton* has the same types, imports and exports, but neither code nor data: the engine compiles that at
once, and tells from it all that concerns the component around. The form *without start* exports the function
that its start section names, as the host calls that itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from guesthouse.canonical.reading import MODULE, Reader, Section, Unplanned, encoded_number, encoded_section
from guesthouse.canonical.reading import sections as sections_of

MAX_MODULE_IMPORTS: Final = 50_000
"""Of one module, and of all modules of a component together."""
MAX_MODULE_EXPORTS: Final = 200_000

_IMPORT, _EXPORT, _START, _CODE = 2, 7, 8, 10
_DROPPED: Final = (0, 11, 12)
"""Custom sections, data and its count: the skeleton does without."""
_KEPT: Final = (1, 2, 3, 4, 5, 6, 7, 8, 9, 13)
"""Types, imports, functions, tables, memories, globals, exports, start, elements, tags: as they are."""

_NO_BODY: Final = b"\x03\x00\x00\x0b"
"""A function's body: three bytes, no locals, `unreachable`, `end`."""
_MAX_FUNCTIONS: Final = 1_000_000
_VALUE_TYPES: Final = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F))
_REFERENCE_TYPES: Final = frozenset((0x70, 0x6F))


class Kind(IntEnum):
    """What a module imports or exports, numbered as in the binary format."""

    FUNCTION = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """One import."""

    module: str
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class CoreModule:
    """One core module of a component, as far as linking is concerned."""

    content: bytes
    imports: tuple[Wanted, ...]
    exports: Mapping[str, Kind]
    start: int | None
    """The number of the function in its start section."""
    sections: tuple[Section, ...]


def read_module(content: bytes) -> CoreModule:
    """Read what a module imports and exports.

    Raises:
        Unplanned: it is malformed, or does something unknown.
    """
    sections = tuple(sections_of(content, 0, len(content), MODULE))
    for section in sections:
        if section.kind not in (*_DROPPED, *_KEPT, _CODE):
            raise Unplanned(f"a module has a section of the unknown kind {section.kind}")
    found = {section.kind: Reader(content, section.body, section.end) for section in sections if section.kind}
    if len(found) != sum(1 for section in sections if section.kind):
        raise Unplanned("a module has two sections of one kind")
    start = found.get(_START)
    return CoreModule(
        content,
        _imports(found[_IMPORT]) if _IMPORT in found else (),
        _exports(found[_EXPORT]) if _EXPORT in found else {},
        None if start is None else start.number(),
        sections,
    )


def skeleton(module: CoreModule) -> bytes:
    """The module without code and data. Validates just if all of the module but those does."""
    parts = [MODULE]
    for section in module.sections:
        if section.kind in _KEPT:
            parts.append(module.content[section.start : section.end])
        elif section.kind == _CODE:
            parts.append(encoded_section(_CODE, _bodies(Reader(module.content, section.body, section.end))))
    return b"".join(parts)


def without_start(module: CoreModule) -> tuple[bytes, str | None]:
    """The module without its start section, and the name under which it exports that function instead.

    A module without one is returned as it is, with None.
    """
    if module.start is None:
        return module.content, None
    name = "start"
    while name in module.exports:
        name += "'"
    encoded = name.encode()
    entry = encoded_number(len(encoded)) + encoded + b"\0" + encoded_number(module.start)
    parts, without_exports = [MODULE], all(section.kind != _EXPORT for section in module.sections)
    for section in module.sections:
        if section.kind == _EXPORT:
            parts.append(_with_entry(module.content, section, entry))
        elif section.kind != _START:
            parts.append(module.content[section.start : section.end])
        elif without_exports:  # their place is right before the start section's
            parts.append(encoded_section(_EXPORT, encoded_number(1) + entry))
    return b"".join(parts), name


def _with_entry(content: bytes, section: Section, entry: bytes) -> bytes:
    reader = Reader(content, section.body, section.end)
    count = reader.number()
    return encoded_section(_EXPORT, encoded_number(count + 1) + content[reader.at : section.end] + entry)


def _bodies(code: Reader) -> bytes:
    count = code.count(_MAX_FUNCTIONS, "functions")
    return encoded_number(count) + _NO_BODY * count


def _imports(reader: Reader) -> tuple[Wanted, ...]:
    count = reader.count(MAX_MODULE_IMPORTS, "imports of a module")
    wanted = tuple(_import(reader) for _ in range(count))
    reader.finish()
    return wanted


def _import(reader: Reader) -> Wanted:
    wanted = Wanted(reader.name(), reader.name(), _kind(reader))
    match wanted.kind:
        case Kind.FUNCTION:
            reader.number()
        case Kind.TABLE:
            _one_of(_REFERENCE_TYPES, reader)
            _limits(reader)
        case Kind.MEMORY:
            _limits(reader)
        case Kind.GLOBAL:
            _one_of(_VALUE_TYPES, reader)
            _one_of((0, 1), reader)
    return wanted


def _exports(reader: Reader) -> dict[str, Kind]:
    count = reader.count(MAX_MODULE_EXPORTS, "exports of a module")
    exports = {}
    for _ in range(count):
        name = reader.name()
        exports[name] = _kind(reader)
        reader.number()
    reader.finish()
    return exports


def _kind(reader: Reader) -> Kind:
    value = reader.byte()
    if value not in (0, 1, 2, 3):
        raise Unplanned(f"a module imports or exports something of the unknown kind {value}")
    return Kind(value)


def _limits(reader: Reader) -> None:
    with_maximum = reader.byte()
    if with_maximum not in (0, 1):
        raise Unplanned("a module imports a memory or a table with unknown limits")
    reader.number()
    if with_maximum:
        reader.number()


def _one_of(known: frozenset[int] | tuple[int, ...], reader: Reader) -> None:
    value = reader.byte()
    if value not in known:
        raise Unplanned(f"a module imports something of the unknown type {value:#x}")
