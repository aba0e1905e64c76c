"""Removes exports of core modules that nothing uses.

A dynamic library exports all its symbols, of which a component uses fewer than half: of a Python guest's 4,200
exports 1,800. Each takes a worker time to load, and each exported function 32 bytes of every guest, among those that
are used.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from wasmtime import Engine, Module, WasmtimeError

from guesthouse.wasm.binary.byte_reader import encoded_number, encoded_section
from guesthouse.wasm.binary.core_module import EXPORTS, Kind, read_module

LEAST_UNUSED: Final = 100
"""Exports: a module with fewer unused ones stays as it is."""


def without_unused_exports(module: bytes, used: Set[str], engine: Engine) -> bytes:
    """A module with some of its exports; as it is if it has few others.

    It also stays as it is where it would be invalid without them: `ref.func` may name a function only because it is
    exported.

    Args:
        module: the module.
        used: the names of the exports to keep.
        engine: that will compile it.

    Raises:
        UnsupportedComponent: the module is malformed, or has something unknown.
    """
    read = read_module(module)
    kept = [name for name in read.exports if name in used]
    if len(read.exports) - len(kept) < LEAST_UNUSED:
        return module
    entries = b"".join(_entry(name, read.exports[name], read.numbers[name]) for name in kept)
    old = read.sections[EXPORTS]
    exports = encoded_section(EXPORTS, encoded_number(len(kept)) + entries)
    changed = module[: old.start] + exports + module[old.end :]
    try:
        Module.validate(engine, changed)
    except WasmtimeError:
        return module
    return changed


def _entry(name: str, kind: Kind, number: int) -> bytes:
    text = name.encode()
    return encoded_number(len(text)) + text + bytes((kind,)) + encoded_number(number)
