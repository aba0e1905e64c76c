"""Function names that would do harm when a trap is described, taken out of a component before it is compiled.

Wasmtime describes a trap with the names of the functions on the stack, which it reads from each core
module's `name` section and demangles. It has no setting for that, and a mangled C++ name of 500 bytes can
stand for a name of 100 MB: describing the trap then takes the worker seconds and gigabytes. A module
with such a name loses its `name` section (by giving it another title, so that nothing moves); its functions
are then described by number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MAX_NAME: Final = 1024
"""Bytes of a function's or a module's name."""
MAX_MANGLED: Final = 160
"""Bytes of a mangled C++ name: so short a one stands for at most some hundred kilobytes."""

_MODULE: Final = b"\0asm\x01\0\0\0"
_COMPONENT: Final = b"\0asm\x0d\0\x01\0"
_PREAMBLE: Final = 8
_CUSTOM, _CORE_MODULE, _NESTED_COMPONENT = 0, 1, 4
_MODULE_NAME, _FUNCTION_NAMES = 0, 1
_TITLE: Final = b"name"
_OTHER_TITLE: Final = b"hide"
_MAX_DEPTH: Final = 100


class _Malformed(Exception):
    """The bytes are no sections; what compiles them says so in its own words."""


def without_harmful_names(component: bytes) -> bytes:
    """Return the component with each `name` section disabled that holds a harmful name or is malformed.

    Bytes that are no component are returned as they are.
    """
    content = bytearray(component)
    try:
        titles = list(_name_sections(component, 0, len(component), _MAX_DEPTH))
    except _Malformed:
        return component
    for title, start, end in titles:
        if _is_harmful(component, start, end):
            content[title : title + len(_TITLE)] = _OTHER_TITLE
    return bytes(content)


def _name_sections(content: bytes, start: int, end: int, depth: int) -> Iterator[tuple[int, int, int]]:
    """Where each core module's `name` section has its title, its content and its end."""
    preamble = content[start : start + _PREAMBLE]
    if preamble not in (_MODULE, _COMPONENT) or not depth:
        raise _Malformed
    at = start + _PREAMBLE
    while at < end:
        kind = content[at]
        at, after = _sized(content, at + 1, end)
        if preamble == _COMPONENT and kind in (_CORE_MODULE, _NESTED_COMPONENT):
            yield from _name_sections(content, at, after, depth - 1)
        elif preamble == _MODULE and kind == _CUSTOM:
            title, body = _sized(content, at, after)
            if content[title:body] == _TITLE:
                yield title, body, after
        at = after


def _is_harmful(content: bytes, at: int, end: int) -> bool:
    try:
        return any(_is_harmful_name(name) for name in _names(content, at, end))
    except _Malformed:
        return True


def _names(content: bytes, at: int, end: int) -> Iterator[bytes]:
    """The names of a module and its functions."""
    while at < end:
        kind = content[at]
        at, after = _sized(content, at + 1, end)
        if kind == _MODULE_NAME:
            start, stop = _sized(content, at, after)
            yield content[start:stop]
        elif kind == _FUNCTION_NAMES:
            count, at = _number(content, at, after)
            for _ in range(count):
                _, at = _number(content, at, after)
                start, at = _sized(content, at, after)
                yield content[start:at]
        at = after


def _is_harmful_name(name: bytes) -> bool:
    if len(name) > MAX_NAME:
        return True
    mangled = name.lstrip(b"_").startswith(b"Z")
    return mangled and len(name) > MAX_MANGLED and not _is_rust(name)


def _is_rust(name: bytes) -> bool:
    """Whether it is mangled as Rust does it, `_ZN` and parts of a stated length: those grow no longer."""
    at = 3
    if not name.startswith(b"_ZN"):
        return False
    while name[at : at + 1].isdigit():
        digits = at
        while name[at : at + 1].isdigit() and at - digits < 4:
            at += 1
        at += int(name[digits:at])
    return name[at:] == b"E" and name.isascii()


def _sized(content: bytes, at: int, end: int) -> tuple[int, int]:
    """Where something that begins with its size starts and ends."""
    size, start = _number(content, at, end)
    if size > end - start:
        raise _Malformed
    return start, start + size


def _number(content: bytes, at: int, end: int) -> tuple[int, int]:
    """An unsigned LEB128 number of at most 32 bits, and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= end:
            raise _Malformed
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Malformed
