"""Makes a component built by componentize-py 0.25.1 free the bytes that it sends.

Its runtime copies each `list<u8>` that is passed to the host, and never frees the copy; strings and other lists are
freed when the call has returned. The core module with the runtime exports two functions to the bindings:

    wit_dylib_pop_list(call, type, &pointer) -> length    takes the next list; a null pointer: it is not bytes
    wit_dylib_dealloc_bytes(call, pointer, size, align, later)    frees, after the call if `later`

One function is added to that module and exported as `wit_dylib_pop_list`: it calls the original, and has bytes
freed later. Nothing else of the component changes.

`python -m guesthouse_sdk.freeing FILE.wasm…` does this to components that componentize-py built by itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POP: Final = "wit_dylib_pop_list"
FREE: Final = "wit_dylib_dealloc_bytes"
_MARK: Final = b"guesthouse:frees-bytes"
"""A custom section that marks a changed module: freeing twice would be worse than not at all."""

COMPONENT: Final = b"\0asm\x0d\0\x01\0"
MODULE: Final = b"\0asm\x01\0\0\0"
CORE_MODULE: Final = 1
"""The kind of a component's section."""
_CUSTOM, _TYPES, _IMPORTS, _FUNCTIONS, _EXPORTS, _CODE = 0, 1, 2, 3, 7, 10
"""Kinds of a core module's sections."""
_FUNCTION, _TABLE, _MEMORY, _GLOBAL = range(4)
"""What is imported or exported."""

_I32: Final = 0x7F
_POP_TYPE: Final = bytes((0x60, 3, _I32, _I32, _I32, 1, _I32))
_FREE_TYPE: Final = bytes((0x60, 5, _I32, _I32, _I32, _I32, _I32, 0))


class UnknownRuntimeError(Exception):
    """A component is not like those of componentize-py 0.25.1; the message says how."""


def with_bytes_freed(component: bytes) -> bytes:
    """Return the component, changed to free the bytes that it sends.

    An already changed one is returned unchanged.

    Raises:
        UnknownRuntimeError: it was not built by componentize-py 0.25.1.
    """
    for section in sections(component, COMPONENT):
        content = component[section.body : section.end]
        if section.kind == CORE_MODULE and POP.encode() in content:
            module = _Module(content)
            if POP in module.exports and FREE in module.exports:
                changed = _encoded_section(CORE_MODULE, _changed(module))
                return b"".join((component[: section.start], changed, component[section.end :]))
    raise UnknownRuntimeError(f"no core module of it exports {POP} and {FREE}")


def _changed(module: _Module) -> bytes:
    if _MARK in module.custom:
        return module.content
    pop, free = module.exports[POP], module.exports[FREE]
    if (module.type_of(pop), module.type_of(free)) != (_POP_TYPE, _FREE_TYPE):
        raise UnknownRuntimeError(f"{POP} or {FREE} is of another type")
    added = module.imported + len(module.functions)
    replaced = {
        _FUNCTIONS: module.vector_with(_FUNCTIONS, _encoded(module.functions[pop - module.imported])),
        _EXPORTS: module.exports_with(POP, added),
        _CODE: module.vector_with(_CODE, _body(pop, free)),
    }
    mark = _encoded_section(_CUSTOM, _encoded(len(_MARK)) + _MARK)
    return module.with_sections(replaced) + mark


def _body(pop: int, free: int) -> bytes:
    """The code of the function that is added."""
    code = (
        (b"\x01\x01\x7f"),  # one local: the length
        (b"\x20\x00\x20\x01\x20\x02\x10" + _encoded(pop) + b"\x21\x03"),  # length = pop(call, type, pointer)
        (b"\x20\x02\x28\x02\x00\x04\x40"),  # if (*pointer)
        (b"\x20\x00\x20\x02\x28\x02\x00\x20\x03\x41\x01\x41\x01"),
        (b"\x10" + _encoded(free) + b"\x0b"),  # free(call, *pointer, length, 1, true)
        (b"\x20\x03\x0b"),  # return length
    )
    body = b"".join(code)
    return _encoded(len(body)) + body


@dataclass(frozen=True, slots=True)
class Section:
    kind: int
    start: int
    body: int
    end: int


class Reader:
    """Reads a component or module that the build has just made."""

    def __init__(self, content: bytes, at: int = 0) -> None:
        self.content: Final = content
        self.at = at

    def byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def number(self) -> int:
        value = shift = 0
        while (byte := self.byte()) >= 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def take(self, size: int) -> bytes:
        self.at += size
        return self.content[self.at - size : self.at]


class _Module:
    """A core module: what its functions are, and its sections to be replaced."""

    def __init__(self, content: bytes) -> None:
        self.content: Final = content
        self.sections: Final = list(sections(content, MODULE))
        self._by_kind: Final = {section.kind: section for section in self.sections}
        self.imported: Final = sum(kind == _FUNCTION for kind in self._imports())
        self.functions: Final = [reader.number() for reader in self._vector(_FUNCTIONS)]
        """The types of those that are not imported, by their number."""
        self.exports: Final = {name: number for name, kind, number in self._exports() if kind == _FUNCTION}
        """The functions that it exports."""

    @property
    def custom(self) -> set[bytes]:
        """The names of its custom sections."""
        readers = [Reader(self.content, section.body) for section in self.sections if section.kind == _CUSTOM]
        return {reader.take(reader.number()) for reader in readers}

    def type_of(self, function: int) -> bytes:
        """The type of one of its own functions, as it is written; empty for one that it imports."""
        if function < self.imported:
            return b""
        return self._types()[self.functions[function - self.imported]]

    def vector_with(self, kind: int, element: bytes) -> bytes:
        """The content of a section with one more element."""
        section = self._by_kind[kind]
        reader = Reader(self.content, section.body)
        return _encoded(reader.number() + 1) + self.content[reader.at : section.end] + element

    def exports_with(self, name: str, function: int) -> bytes:
        """The content of the section of exports with another function under a name."""
        entries = [
            _encoded(len(key.encode()))
            + key.encode()
            + bytes((kind,))
            + _encoded(function if key == name else number)
            for key, kind, number in self._exports()
        ]
        return _encoded(len(entries)) + b"".join(entries)

    def with_sections(self, replaced: Mapping[int, bytes]) -> bytes:
        """The module with other contents of some sections."""
        return MODULE + b"".join(
            _encoded_section(section.kind, replaced[section.kind])
            if section.kind in replaced
            else self.content[section.start : section.end]
            for section in self.sections
        )

    def _vector(self, kind: int) -> Iterator[Reader]:
        """A reader that stands at each element of a section in turn."""
        section = self._by_kind.get(kind)
        if section is not None:
            reader = Reader(self.content, section.body)
            for _ in range(reader.number()):
                yield reader

    def _types(self) -> list[bytes]:
        types = []
        for reader in self._vector(_TYPES):
            start = reader.at
            if reader.byte() != 0x60:
                raise UnknownRuntimeError("a core module has types that are no functions")
            for _ in ("parameters", "results"):
                reader.take(reader.number())
            types.append(self.content[start : reader.at])
        return types

    def _imports(self) -> Iterator[int]:
        for reader in self._vector(_IMPORTS):
            for _ in ("module", "name"):
                reader.take(reader.number())
            kind = reader.byte()
            if kind == _GLOBAL:
                reader.take(2)
            elif kind == _FUNCTION:
                reader.number()
            elif kind in (_TABLE, _MEMORY):
                reader.take(kind == _TABLE)
                for _ in range(1 + (reader.byte() & 1)):
                    reader.number()
            else:
                raise UnknownRuntimeError("a core module imports something unknown")
            yield kind

    def _exports(self) -> Iterator[tuple[str, int, int]]:
        for reader in self._vector(_EXPORTS):
            name = reader.take(reader.number()).decode()
            yield name, reader.byte(), reader.number()


def sections(content: bytes, preamble: bytes) -> Iterator[Section]:
    if not content.startswith(preamble):
        raise UnknownRuntimeError(
            "it is no component" if preamble == COMPONENT else "a core module is of another format"
        )
    reader = Reader(content, len(preamble))
    while reader.at < len(content):
        start = reader.at
        kind, size = reader.byte(), reader.number()
        yield Section(kind, start, reader.at, reader.at + size)
        reader.at += size


def _encoded(value: int) -> bytes:
    """A number as unsigned LEB128."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _encoded_section(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + _encoded(len(body)) + body


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m guesthouse_sdk.freeing",
        description="Have components of componentize-py 0.25.1 free the bytes that they send.",
    )
    parser.add_argument("components", type=Path, nargs="+", metavar="FILE.wasm", help="changed in place")
    for path in parser.parse_args(arguments).components:
        try:
            changed = with_bytes_freed(path.read_bytes())
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_bytes(changed)
            partial.replace(path)
        except (OSError, UnknownRuntimeError) as error:
            print(f"{path} was not changed: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
