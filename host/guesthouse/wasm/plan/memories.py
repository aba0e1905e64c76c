"""The memories of a component's instances: one that can grow, through which values cross, and fixed ones.

Even a nested component without code has a memory, of no pages. Limits on a guest's memory apply to
each memory separately, so at compile time the fixed ones get their initial size as maximum: growing may
always fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from guesthouse.wasm.binary.byte_reader import (
    MODULE,
    UnsupportedComponent,
    encoded_number,
    encoded_section,
    sections,
)
from guesthouse.wasm.binary.core_module import CoreModule, Kind
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.wasm.plan.plan import MAX_MEMORIES, MAX_WITH_PAGES, Export, Instantiation

_MEMORIES: Final = 5
_Place = tuple[int, int]
"""An instance, and the number of a memory that it defines."""


class Memories(Struct, frozen=True):
    """The memories of a component."""

    count: int
    growing_bytes: int
    """Initial bytes of the one that can grow."""
    pinned: dict[int, frozenset[int]]
    """The fixed memories, by module and number among those that it defines."""

    def pin(self, number: int, module: bytes) -> bytes:
        """The module of that number, with its fixed memories."""
        which = self.pinned.get(number)
        return _with_maximum(module, which) if which else module

    def pinned_bytes(self, number: int, module: CoreModule) -> int:
        """Bytes of the fixed memories in an instance of that module."""
        which = self.pinned.get(number, frozenset())
        return sum(WASM_PAGE * pages for at, (pages, _) in enumerate(_limits(module)) if at in which)


NO_MEMORIES: Final = Memories(1, 0, {})


def memories_of(
    modules: Sequence[CoreModule], instantiations: Sequence[Instantiation], main: Export | None
) -> Memories:
    """Determine which memory can grow.

    Args:
        modules: of the component.
        instantiations: of the modules.
        main: the memory through which values cross, if any.

    Raises:
        UnsupportedComponent: there are too many, or a module has several instances with such a memory.
    """
    counts = [len(_limits(module)) for module in modules]
    total = sum(counts[each.module] for each in instantiations)
    if total > MAX_MEMORIES:
        raise UnsupportedComponent(f"it has {total} memories, over {MAX_MEMORIES}: use one")
    with_pages = sum(pages > 0 for each in instantiations for pages, _ in _limits(modules[each.module]))
    if with_pages > MAX_WITH_PAGES:
        raise UnsupportedComponent(f"it has {with_pages} memories with pages, over {MAX_WITH_PAGES}: use one")
    if not total:
        return NO_MEMORIES
    growing = (
        next(_defined(counts, instantiations)) if main is None else _where(modules, instantiations, main)
    )
    kept = instantiations[growing[0]].module, growing[1]
    pinned: dict[int, set[int]] = {}
    for instance, at in _defined(counts, instantiations):
        place = instantiations[instance].module, at
        if place != kept:
            pinned.setdefault(place[0], set()).add(at)
        elif (instance, at) != growing:
            raise UnsupportedComponent(
                "it instantiates the module with its memory several times: instantiate it once"
            )
    pages, _ = _limits(modules[kept[0]])[kept[1]]
    return Memories(total, WASM_PAGE * pages, {number: frozenset(which) for number, which in pinned.items()})


def _defined(counts: Sequence[int], instantiations: Iterable[Instantiation]) -> Iterator[_Place]:
    return ((number, at) for number, each in enumerate(instantiations) for at in range(counts[each.module]))


def _where(modules: Sequence[CoreModule], instantiations: Sequence[Instantiation], export: Export) -> _Place:
    """The definition of an exported memory, which may be an import of its exporter."""
    while True:
        instantiation = instantiations[export.instance]
        module = modules[instantiation.module]
        imported = [at for at, each in enumerate(module.imports) if each.kind is Kind.MEMORY]
        number = module.numbers[export.name]
        if number >= len(imported):
            return export.instance, number - len(imported)
        source = instantiation.imports[imported[number]]
        if not isinstance(source, Export):
            raise UnsupportedComponent("a module gets a function as its memory")
        export = source


def _limits(module: CoreModule) -> list[tuple[int, int | None]]:
    """Initial and maximum pages of each memory that a module defines."""
    reader = module.reader(_MEMORIES)
    limits = []
    for _ in range(reader.count(MAX_MEMORIES, "memories in one module")):
        with_maximum = reader.byte()
        if with_maximum not in (0, 1):
            raise UnsupportedComponent("a module has a memory with unknown limits")
        limits.append((reader.number(), reader.number() if with_maximum else None))
    return limits


def _with_maximum(content: bytes, which: frozenset[int]) -> bytes:
    """The module with these of its memories fixed."""
    pieces = [MODULE]
    for section in sections(content, 0, len(content), MODULE):
        if section.kind == _MEMORIES:
            module = CoreModule(content, (), {}, None, {_MEMORIES: section})
            limits = [
                (pages, pages if at in which else most) for at, (pages, most) in enumerate(_limits(module))
            ]
            body = encoded_number(len(limits)) + b"".join(_encoded(*each) for each in limits)
            pieces.append(encoded_section(_MEMORIES, body))
        else:
            pieces.append(content[section.start : section.end])
    return b"".join(pieces)


def _encoded(pages: int, most: int | None) -> bytes:
    if most is None:
        return b"\x00" + encoded_number(pages)
    return b"\x01" + encoded_number(pages) + encoded_number(most)
