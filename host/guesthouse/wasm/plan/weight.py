"""Estimates the memory of a core module's instance besides the guest's memory, and the time to create it.

The engine creates an instance without interruption, and limits nothing of it: globals, function
references, elements and copied data are bounded only by the module's size, and a component may have hundreds of
instances of one module. So each module is weighed when the component is compiled. The estimates are mostly high
(measured: 6 ns a global, 430 ns an element of an imported table, 1 ns a copied byte, 1 µs an import, which the worker
looks up by name).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from guesthouse.wasm.binary.byte_reader import Reader
from guesthouse.wasm.binary.core_module import CoreModule, Kind

MAX_BYTES: Final = 16 * 1024 * 1024
"""All instances of a component together. A Python guest has 0.6 MB, a small one some KiB."""
MAX_MICROSECONDS: Final = 10_000
"""Per instance: other guests of the worker wait for it."""
MAX_TOTAL_MICROSECONDS: Final = 1_000_000

_GLOBALS, _TABLES, _ELEMENTS, _DATA = 6, 4, 9, 11
_I32_CONST, _I64_CONST, _GLOBAL_GET, _REF_NULL, _REF_FUNC, _END = 0x41, 0x42, 0x23, 0xD0, 0xD2, 0x0B
_DENSE: Final = 16 * 1024 * 1024
"""A memory image up to that size is mapped, whatever its content; a larger one if at least half of it is data."""
_IMPORT_BYTES: Final = 200
"""What a worker keeps of an import, and looks it up by, most of it once for all guests of a component."""
_LONG: Final = 1 << 20
"""An element section larger than this is not parsed: it is too much in any case."""


class Weight(Struct, frozen=True):
    """The weight of one instance."""

    bytes: int
    microseconds: int


class _Complex(Exception):
    """An expression other than a single value."""


def weigh(module: CoreModule, *, small: bool) -> Weight:
    """Weigh a module.

    Args:
        module: the module.
        small: whether it is for the engine of small components, which also copies data of its own memory.

    Raises:
        UnsupportedComponent: it is malformed.
    """
    globals_ = module.reader(_GLOBALS)
    global_bytes = globals_.end - globals_.at
    references, eager = _elements(module)
    references += sum(1 for kind in module.exports.values() if kind is Kind.FUNCTION)
    size = (
        1024
        + 16 * globals_.number()
        + _IMPORT_BYTES * len(module.imports)
        + 32 * references
        + 16 * eager
        + 8 * sum(table_sizes(module))
    )
    nanoseconds = 10_000 + 1000 * len(module.imports) + 20 * global_bytes + 430 * eager + references
    return Weight(size, (nanoseconds + _data_nanoseconds(module, small=small)) // 1000)


def problem(weights: Sequence[Weight]) -> str | None:
    """Why a component of instances of these weights is refused, or None."""
    size, longest = (
        sum(each.bytes for each in weights),
        max((each.microseconds for each in weights), default=0),
    )
    total = sum(each.microseconds for each in weights)
    if size > MAX_BYTES:
        return (
            f"has globals, functions and elements of {size} bytes in its {len(weights)} instances, over {MAX_BYTES}: "
            "instantiate less"
        )
    if longest > MAX_MICROSECONDS or total > MAX_TOTAL_MICROSECONDS:
        return (
            f"takes {longest} µs to create one of its instances and {total} µs for all, over {MAX_MICROSECONDS} or "
            f"{MAX_TOTAL_MICROSECONDS}: have less data, elements and globals in its modules"
        )
    return None


def table_sizes(module: CoreModule) -> list[int]:
    """Initial elements of each table that a module defines; those of unknown forms count as many."""
    reader = module.reader(_TABLES)
    sizes = []
    for _ in range(reader.count(100_000, "tables")):
        if reader.byte() not in (0x70, 0x6F):
            return [MAX_BYTES]
        with_maximum = reader.byte()
        sizes.append(reader.number())
        if with_maximum & 1:
            reader.number()
    return sizes


def _elements(module: CoreModule) -> tuple[int, int]:
    """All elements, and those that are created with the instance, not on first use."""
    reader = module.reader(_ELEMENTS)
    if reader.end - reader.at > _LONG:
        return reader.end - reader.at, reader.end - reader.at
    imported = sum(1 for each in module.imports if each.kind is Kind.TABLE)
    total = eager = 0
    try:
        for _ in range(reader.number()):
            count, lazily = _element_segment(reader, imported)
            total += count
            eager += 0 if lazily else count
    except _Complex:
        return total + reader.end - reader.at, eager + reader.end - reader.at
    return total, eager


def _element_segment(reader: Reader, imported: int) -> tuple[int, bool]:
    """The number of elements in a segment, and whether they go to a fixed place in a table of the module's own."""
    flags = reader.number()
    table = reader.number() if flags & 0b011 == 0b010 else 0
    fixed = False
    if not flags & 0b001:
        fixed = _expression(reader) is not None
    if flags & 0b011:
        reader.byte()  # kind or type of the elements
    count = reader.number()
    for _ in range(count):
        if flags & 0b100:
            _expression(reader)
        else:
            reader.number()
    declared = flags & 0b011 == 0b011
    return count, declared or (fixed and table >= imported and not flags & 0b100)


def _data_nanoseconds(module: CoreModule, *, small: bool) -> int:
    """The time to copy data, which the engine does with all segments of a module or none: it maps an image of each
    memory only if each can have one.
    """
    reader = module.reader(_DATA)
    size = reader.end - reader.at
    segments, fixed = reader.number(), True
    spans: dict[int, _Span] = {}
    try:
        for _ in range(segments):
            flags = reader.number()
            memory = reader.number() if flags == 2 else 0
            place = None if flags == 1 else _expression(reader)
            length = reader.number()
            reader.take(length)
            if flags == 1:
                continue
            if place is None:
                fixed = False
            spans.setdefault(memory, _Span()).add(place or 0, length)
    except _Complex:
        return 20 * size
    own = not any(each.kind is Kind.MEMORY for each in module.imports)
    mapped = own and fixed and not small and all(each.is_mapped() for each in spans.values())
    return 0 if mapped else sum(each.copied for each in spans.values()) + 50 * segments


class _Span(Struct):
    """The data of one memory."""

    first: int = 1 << 64
    last: int = 0
    copied: int = 0

    def add(self, place: int, length: int) -> None:
        self.first, self.last = min(self.first, place), max(self.last, place + length)
        self.copied += length

    def is_mapped(self) -> bool:
        extent = self.last - self.first
        return extent < _DENSE or extent < 2 * self.copied


def _expression(reader: Reader) -> int | None:
    """Read a constant expression of one value; returns it if it is a number.

    Raises:
        _Complex: it is longer.
    """
    opcode = reader.byte()
    value = None
    if opcode in (_I32_CONST, _I64_CONST):
        value = reader.signed() & 0xFFFFFFFF
    elif opcode in (_GLOBAL_GET, _REF_FUNC, _REF_NULL):
        reader.number()
    else:
        raise _Complex
    if reader.byte() != _END:
        raise _Complex
    return value
