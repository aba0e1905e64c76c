"""Removes harmful function names from a core module before it is compiled.

wasmtime describes a trap with the names of the functions on the stack, which it reads from the module's
`name` section and demangles; this cannot be turned off. A mangled C++ name of 500 bytes can
expand to 100 MB, so describing the trap would take the worker seconds and gigabytes. In a module
with such a name the `name` section is disabled (by renaming it, so that nothing moves); its functions
are then described by number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from guesthouse.wasm.binary.byte_reader import MODULE, Reader, UnsupportedComponent, sections
from guesthouse.wasm.binary.core_module import CUSTOM

MAX_NAME: Final = 1024
"""Bytes of a function's or a module's name."""
MAX_MANGLED: Final = 160
"""Bytes of a mangled C++ name: one this short expands to some hundred kilobytes at most."""

_MODULE_NAME, _FUNCTION_NAMES = 0, 1
_TITLE: Final = b"name"
_OTHER_TITLE: Final = b"hide"
_RUST_V0: Final = re.compile(rb"_*R[A-Z]")
_RUST_GROWS: Final = re.compile(rb"[BG][0-9A-Za-z]*_")
"""A back reference, which may refer to what contains it, or a number of lifetimes: both expand to a megabyte."""
_CPP_GROWS: Final = re.compile(rb"[ST][0-9A-Za-z]*_")
"""What stands for an earlier part of a C++ name."""


def without_harmful_names(module: bytes) -> bytes:
    """Return the core module with each `name` section disabled that has a harmful name or is malformed.

    Raises:
        UnsupportedComponent: it is no core module, so that its names are not known.
    """
    changed = bytearray(module)
    for section in sections(module, 0, len(module), MODULE):
        if section.kind != CUSTOM:
            continue
        names = Reader(module, section.body, section.end)
        title = names.part()
        if title.rest() == _TITLE and _is_harmful(names):
            changed[title.end - len(_TITLE) : title.end] = _OTHER_TITLE
    return bytes(changed)


def _is_harmful(names: Reader) -> bool:
    try:
        return any(_is_harmful_name(name) for name in _names(names))
    except UnsupportedComponent:
        return True


def _names(reader: Reader) -> Iterator[bytes]:
    """The names of a module and its functions."""
    while reader.more():
        kind, section = reader.byte(), reader.part()
        if kind == _MODULE_NAME:
            yield section.part().rest()
        elif kind == _FUNCTION_NAMES:
            for _ in range(section.number()):
                section.number()
                yield section.part().rest()


def _is_harmful_name(name: bytes) -> bool:
    if _RUST_V0.match(name):
        return len(name) > MAX_MANGLED or _RUST_GROWS.search(name) is not None
    if len(name) <= MAX_MANGLED:
        return False
    if name.lstrip(b"_").startswith(b"Z"):
        return len(name) > MAX_NAME or not _is_rust(name)
    # Types are demangled without a prefix, too, and there are other prefixes, such as `_GLOBAL__I_`.
    return len(name) > MAX_NAME or _CPP_GROWS.search(name) is not None


def _is_rust(name: bytes) -> bool:
    """Whether it is mangled as by Rust, `_ZN` and parts with lengths, which do not expand."""
    at = 3
    if not name.startswith(b"_ZN"):
        return False
    while name[at : at + 1].isdigit():
        digits = at
        while name[at : at + 1].isdigit() and at - digits < 4:
            at += 1
        at += int(name[digits:at])
    return name[at:] == b"E" and name.isascii()
