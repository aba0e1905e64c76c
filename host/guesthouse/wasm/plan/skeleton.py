"""Skeletons of core modules and components, which the engine compiles for their types.

A module's skeleton has its types, imports, tables, memories, globals and exports. Of its functions it has only those
that are exported or the start function, with empty bodies; it has no elements and no data. The engine takes a
tenth of the time for it, and learns all that matters outside of the module. It validates the rest
when it compiles the module itself; but that is compiled without its start section, which the skeleton has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from guesthouse.wasm.binary.byte_reader import (
    COMPONENT,
    MODULE,
    Section,
    UnsupportedComponent,
    encoded_number,
    encoded_section,
    sections,
)
from guesthouse.wasm.binary.core_module import CODE, EXPORTS, FUNCTIONS, START, CoreModule, Kind

MAX_FUNCTIONS: Final = 1_000_000
"""Per module. A Python guest's largest has 11,000."""

_CORE_MODULE: Final = 1
_COMPONENT: Final = 4
_ORDER: Final = (1, 2, FUNCTIONS, 4, 5, 13, 6, EXPORTS, START, CODE)
"""Types, imports, functions, tables, memories, tags, globals and so on, in the order of a module."""
_BODY: Final = b"\x03\x00\x00\x0b"
"""A function's body: three bytes, no locals, `unreachable`, `end`."""


def component_skeleton(content: bytes, modules: Iterable[tuple[CoreModule, Section]]) -> bytes:
    """A component with its core modules, nested ones included, replaced by their skeletons."""
    places = {section.start: module for module, section in modules}
    return COMPONENT + _sections(content, 0, len(content), places)


def _sections(content: bytes, start: int, end: int, places: Mapping[int, CoreModule]) -> bytes:
    pieces = []
    for section in sections(content, start, end, COMPONENT):
        module = places.get(section.start)
        if module is not None:
            pieces.append(encoded_section(_CORE_MODULE, module_skeleton(module)))
        elif section.kind == _COMPONENT and any(section.body <= place < section.end for place in places):
            within = COMPONENT + _sections(content, section.body, section.end, places)
            pieces.append(encoded_section(_COMPONENT, within))
        else:
            pieces.append(content[section.start : section.end])
    return b"".join(pieces)


def module_skeleton(module: CoreModule) -> bytes:
    """The skeleton of a module. It is only invalid if the module is, or if a global refers to a function.

    Raises:
        UnsupportedComponent: the module is malformed.
    """
    functions = _Functions(module)
    made = {EXPORTS: functions.exports()} if EXPORTS in module.sections else {}
    if module.start is not None:
        made[START] = encoded_number(functions.kept(module.start))
    made |= {FUNCTIONS: functions.types(), CODE: functions.bodies()}
    parts = [MODULE]
    for kind in _ORDER:
        if kind in made:
            parts.append(encoded_section(kind, made[kind]))
        elif kind in module.sections:
            section = module.sections[kind]
            parts.append(module.content[section.start : section.end])
    return b"".join(parts)


class _Functions:
    """The functions of a skeleton, with new numbers."""

    def __init__(self, module: CoreModule) -> None:
        self._module: Final = module
        self._imported: Final = sum(1 for each in module.imports if each.kind is Kind.FUNCTION)
        self._kept: Final[dict[int, int]] = {}

    def kept(self, number: int) -> int:
        """Keep a function; returns its new number."""
        if number < self._imported:
            return number
        return self._imported + self._kept.setdefault(number - self._imported, len(self._kept))

    def exports(self) -> bytes:
        """The export section with the new numbers."""
        return _vector(list(self._exports()))

    def _exports(self) -> Iterator[bytes]:
        reader = self._module.reader(EXPORTS)
        for _ in range(reader.number()):
            start = reader.at
            reader.take(reader.number())
            kind, named = reader.byte(), reader.at
            number = reader.number()
            if kind == Kind.FUNCTION:
                number = self.kept(number)
            yield self._module.content[start:named] + encoded_number(number)

    def types(self) -> bytes:
        """The function section: the type of each function."""
        reader = self._module.reader(FUNCTIONS)
        types = [reader.number() for _ in range(reader.count(MAX_FUNCTIONS, "functions"))]
        if any(number >= len(types) for number in self._kept):
            raise UnsupportedComponent("a module exports or starts with a function that does not exist")
        return _vector([encoded_number(types[number]) for number in self._kept])

    def bodies(self) -> bytes:
        """The code section."""
        return _vector([_BODY] * len(self._kept))


def _vector(elements: list[bytes]) -> bytes:
    """A vector with its length."""
    return encoded_number(len(elements)) + b"".join(elements)
