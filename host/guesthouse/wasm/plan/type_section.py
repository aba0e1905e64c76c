"""Finds the resources and their destructors among the types that a component defines.

The engine validates types; here only their length is decoded, and a section is read when a
resource in it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from guesthouse.wasm.binary.byte_reader import Reader, UnsupportedComponent

MAX_DEPTH: Final = 32
"""Nesting of component and instance types."""
_MANY: Final = 100_000
"""Parts per type."""

_RESOURCE, _I32 = 0x3F, 0x7F


def resources_in(reader: Reader) -> dict[int, int | None]:
    """The resources in a type section: index in the section, and index of the destructor's core function,
    if any.

    Raises:
        UnsupportedComponent: a type is malformed, or unknown.
    """
    found: dict[int, int | None] = {}
    for number in range(reader.count(_MANY * 2, "types at once")):
        if reader.content[reader.at : reader.at + 1] == bytes((_RESOURCE,)):
            found[number] = _resource(reader)
        else:
            _type(reader, MAX_DEPTH)
    reader.finish()
    return found


def _resource(reader: Reader) -> int | None:
    reader.byte()
    if reader.byte() != _I32:
        raise UnsupportedComponent("it has a resource that is not represented by an i32")
    return reader.number() if _flag(reader) else None


def _type(reader: Reader, depth: int) -> None:
    kind = reader.byte()
    if kind in _PRIMITIVES:
        return
    if kind in (0x41, 0x42):
        if not depth:
            raise UnsupportedComponent(f"it nests component types over {MAX_DEPTH} deep")
        for _ in range(reader.count(_MANY, "declarations")):
            _declaration(reader, depth - 1)
        return
    skip = _TYPES.get(kind)
    if skip is None:
        raise UnsupportedComponent(f"it has a type of the unknown kind {kind:#x}")
    skip(reader)


def _declaration(reader: Reader, depth: int) -> None:
    match reader.byte():
        case 0x01:
            _type(reader, depth)
        case 0x02:
            _alias(reader)
        case 0x03 | 0x04:
            _flag(reader)
            _label(reader)
            _description(reader)
        case other:
            raise UnsupportedComponent(
                f"the type of a component has a declaration of the unknown kind {other:#x}"
            )


def _alias(reader: Reader) -> None:
    if not reader.byte():
        reader.byte()
    match reader.byte():
        case 0x00 | 0x01:
            reader.number()
            _label(reader)
        case 0x02:
            reader.number()
            reader.number()
        case other:
            raise UnsupportedComponent(f"it has an alias of the unknown kind {other}")


def _description(reader: Reader) -> None:
    match reader.byte():
        case 0x01 | 0x04 | 0x05:
            reader.number()
        case 0x03:
            if not _flag(reader):
                reader.number()
        case other:
            raise UnsupportedComponent(f"it imports or exports something of the kind {other:#x}")


def _flag(reader: Reader) -> bool:
    value = reader.byte()
    if value > 1:
        raise UnsupportedComponent(f"it has {value:#x} in place of 0 or 1")
    return value == 1


def _label(reader: Reader) -> None:
    reader.skip(reader.number())


def _many(*parts: Callable[[Reader], object]) -> Callable[[Reader], None]:
    def skip(reader: Reader) -> None:
        for _ in range(reader.count(_MANY, "parts of a type")):
            for part in parts:
                part(reader)

    return skip


def _all(*parts: Callable[[Reader], object]) -> Callable[[Reader], None]:
    def skip(reader: Reader) -> None:
        for part in parts:
            part(reader)

    return skip


def _optional(reader: Reader) -> None:
    if _flag(reader):
        Reader.number(reader)


def _result(reader: Reader) -> None:
    if _flag(reader):
        _flag(reader)
    else:
        reader.number()


_VALUE: Final = Reader.number
"""A primitive type is one byte, an index a LEB128 number: both are skipped alike."""

_PRIMITIVES: Final = frozenset(range(0x73, 0x80))
_TYPES: Final[Mapping[int, Callable[[Reader], None]]] = {
    0x40: _all(_many(_label, _VALUE), _result),
    0x68: _all(_VALUE),
    0x69: _all(_VALUE),
    0x6A: _all(_optional, _optional),
    0x6B: _all(_VALUE),
    0x6D: _many(_label),
    0x6E: _many(_label),
    0x6F: _many(_VALUE),
    0x70: _all(_VALUE),
    0x71: _many(_label, _optional, Reader.byte),
    0x72: _many(_label, _VALUE),
}
"""Functions, handles, results, options, enums, flags, tuples, lists, variants and records."""
