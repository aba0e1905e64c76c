"""Reads the import and export names of a core WebAssembly module (core specification, section 5.5)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Final

from msgspec import Struct

from guesthouse.package.errors import BuildError

MAGIC: Final = b"\x00asm\x01\x00\x00\x00"
_TYPES, _IMPORTS, _EXPORTS = 1, 2, 7
_VALUE_TYPES: Final = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64"}
_KINDS: Final = ("func", "table", "memory", "global", "tag")


class Signature(Struct, frozen=True):
    """The parameters and results of a core function, as `i32`, `i64`, `f32`, `f64`."""

    parameters: tuple[str, ...]
    results: tuple[str, ...]


class CoreModule(Struct, frozen=True):
    """What a core module imports (all functions) and exports."""

    imports: tuple[tuple[str, str, Signature], ...]
    """Module, name and signature, in the module's order."""
    exports: tuple[tuple[str, str], ...]
    """Name and kind: `func`, `memory`, …"""


def read_core_module(content: bytes, where: str) -> CoreModule:
    """Read a linker's output.

    Raises:
        BuildError: it is no core module, is cut off, or imports something that is not a function.
    """
    if not content.startswith(MAGIC):
        raise BuildError(f"{where} is not a core WebAssembly module: build it for wasm32-freestanding")
    sections: dict[int, _Reader] = {}
    reader = _Reader(content, len(MAGIC), where)
    while not reader.done:
        kind = reader.byte()
        body = reader.bytes()
        sections.setdefault(kind, _Reader(body, 0, where))
    types = [_signature(part) for part in _vector(sections.get(_TYPES))]
    return CoreModule(
        imports=tuple(_import(part, types) for part in _vector(sections.get(_IMPORTS))),
        exports=tuple(_export(part) for part in _vector(sections.get(_EXPORTS))),
    )


class _Reader:
    """Bytes with a position; every read is bounded by their end."""

    def __init__(self, content: bytes, at: int, where: str) -> None:
        self._content = content
        self._at = at
        self.where = where

    @property
    def done(self) -> bool:
        return self._at >= len(self._content)

    def byte(self) -> int:
        if self.done:
            raise BuildError(f"{self.where} is cut off: build it again")
        self._at += 1
        return self._content[self._at - 1]

    def number(self) -> int:
        """An unsigned LEB128 number of at most 32 bits."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise BuildError(f"{self.where} has a number of over 32 bits: build it again")

    def bytes(self) -> bytes:
        size = self.number()
        if size > len(self._content) - self._at:
            raise BuildError(f"{self.where} is cut off: build it again")
        self._at += size
        return self._content[self._at - size : self._at]

    def name(self) -> str:
        return self.bytes().decode("utf-8", "replace")


def _vector(reader: _Reader | None) -> Iterator[_Reader]:
    """The reader once for each element: whoever takes an element reads exactly it. How many there are is what the
    module says, so nothing is made for all of them at once.
    """
    return iter(()) if reader is None else repeat(reader, reader.number())


def _signature(reader: _Reader) -> Signature:
    if reader.byte() != 0x60:
        raise BuildError(f"{reader.where} uses types beyond functions: build it without that extension")
    parameters = tuple(_value_type(reader) for _ in range(reader.number()))
    return Signature(parameters, tuple(_value_type(reader) for _ in range(reader.number())))


def _value_type(reader: _Reader) -> str:
    # A type that no component function lowers to can still occur inside the module.
    return _VALUE_TYPES.get(reader.byte(), "other")


def _import(reader: _Reader, types: list[Signature]) -> tuple[str, str, Signature]:
    module, name = reader.name(), reader.name()
    if reader.byte() != 0:
        raise BuildError(f"{reader.where} imports {module} {name}, which is not a function: do not import it")
    number = reader.number()
    if number >= len(types):
        raise BuildError(
            f"{reader.where} imports {module} {name} as a type that it does not have: build it again"
        )
    return module, name, types[number]


def _export(reader: _Reader) -> tuple[str, str]:
    name, kind = reader.name(), reader.byte()
    reader.number()
    return name, _KINDS[kind] if kind < len(_KINDS) else "other"
