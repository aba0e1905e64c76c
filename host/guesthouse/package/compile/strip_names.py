"""Removes harmful function names from a component before it is compiled.

wasmtime describes a trap with the names of the functions on the stack, which it reads from each core
module's `name` section and demangles; this cannot be turned off. A mangled C++ name of 500 bytes can
expand to 100 MB, so describing the trap would take the worker seconds and gigabytes. In a module
with such a name the `name` section is disabled (by renaming it, so that nothing moves); its functions
are then described by number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from guesthouse.wasm.binary.byte_reader import COMPONENT, MODULE, PREAMBLE_BYTES, Reader, UnsupportedComponent

MAX_NAME: Final = 1024
"""Bytes of a function's or a module's name."""
MAX_MANGLED: Final = 160
"""Bytes of a mangled C++ name: one this short expands to some hundred kilobytes at most."""

_CUSTOM, _CORE_MODULE, _NESTED_COMPONENT = 0, 1, 4
_MODULE_NAME, _FUNCTION_NAMES = 0, 1
_TITLE: Final = b"name"
_OTHER_TITLE: Final = b"hide"
_MAX_DEPTH: Final = 100


def without_harmful_names(component: bytes) -> bytes:
    """Return the component with each `name` section disabled that has a harmful name or is malformed.

    Anything else is returned unchanged.
    """
    content = bytearray(component)
    try:
        found = list(_name_sections(Reader(component, 0, len(component)), _MAX_DEPTH))
    except UnsupportedComponent:
        return component  # what compiles it says why in its own words
    for title, names in found:
        if _is_harmful(names):
            content[title : title + len(_TITLE)] = _OTHER_TITLE
    return bytes(content)


def _name_sections(reader: Reader, depth: int) -> Iterator[tuple[int, Reader]]:
    """Where the title of each core module's `name` section stands, and its content."""
    preamble = reader.take(PREAMBLE_BYTES)
    if preamble not in (MODULE, COMPONENT) or not depth:
        raise UnsupportedComponent("it is no component")
    while reader.more():
        kind, section = reader.byte(), reader.part()
        if preamble == COMPONENT and kind in (_CORE_MODULE, _NESTED_COMPONENT):
            yield from _name_sections(section, depth - 1)
        elif preamble == MODULE and kind == _CUSTOM:
            title = section.part()
            if title.rest() == _TITLE:
                yield title.end - len(_TITLE), section


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
    if len(name) > MAX_NAME:
        return True
    mangled = name.lstrip(b"_").startswith(b"Z")
    return mangled and len(name) > MAX_MANGLED and not _is_rust(name)


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
