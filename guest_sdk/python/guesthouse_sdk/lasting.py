"""Makes what a component's interpreter has loaded when it is built immortal, so that processes share its memory.

A process begins with the memory that the interpreter had at the end of the build. All processes of a component
share its pages until they write to them. Every use of an object writes to it, because the interpreter counts
references. It counts none of an immortal object, which in CPython is one whose count is as below. The objects are
those that `_lasting_note.py` noted. Others may have taken the place of some since, so a count is changed only where
an object of the noted type is, with a plausible count.

An object that is immortal is never freed, nor what it refers to at the end: of a process that replaces the
code that it was built with, the old code stays.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final

from guesthouse_sdk._lasting_note import BEGINNING
from guesthouse_sdk.freeing import COMPONENT, CORE_MODULE, MODULE, Reader, UnknownRuntimeError, sections

IMMORTAL: Final = 5 << 28
"""`_Py_IMMORTAL_INITIAL_REFCNT` of CPython 3.14, where pointers have 32 bits."""
_MOST: Final = 1 << 16
"""References to an object, at most: more may be the address of freed memory that follows."""
_DATA: Final = 11
_HEAD: Final = struct.Struct("<II")
_OBJECT: Final = struct.Struct("<II")
"""The head of an object: its count and the address of its type."""
_I32_CONST, _END = 0x41, 0x0B
_PASSIVE, _ACTIVE = 1, 0


def with_lasting_objects(component: bytes) -> bytes:
    """Return the component with the counts of its lasting objects changed; one without a note is returned unchanged.

    Raises:
        UnknownRuntimeError: its memory cannot be read.
    """
    where, types = _note(component)
    if not types:
        return component
    changed = bytearray(component)
    segments = sorted(_segments(component))
    starts = [address for address, _, _ in segments]
    for address, type_ in types.items():
        number = bisect_right(starts, address) - 1
        if number < 0:
            continue
        start, at, size = segments[number]
        if address + _OBJECT.size > start + size:
            continue
        place = at + address - start
        count, found = _OBJECT.unpack_from(component, place)
        if found == type_ and 0 < count < _MOST:
            _OBJECT.pack_into(changed, place, IMMORTAL, found)
    changed[where] = bytes(where.stop - where.start)  # the note has done its work
    return bytes(changed)


def _note(component: bytes) -> tuple[slice, Mapping[int, int]]:
    """Where the note is, and the addresses of types by those of objects."""
    beginning = b"".join(BEGINNING)
    at = component.find(beginning)
    while at >= 0:
        start = at + len(beginning) + _HEAD.size
        if start <= len(component):
            count, total = _HEAD.unpack_from(component, start - _HEAD.size)
            end = start + 4 * count
            if count % 2 == 0 and end <= len(component):
                found = struct.unpack_from(f"<{count}I", component, start)
                if sum(found) & 0xFFFF_FFFF == total:
                    return slice(at, end), dict(zip(found[::2], found[1::2], strict=True))
        at = component.find(beginning, at + 1)
    return slice(0, 0), {}


def _segments(component: bytes) -> Iterator[tuple[int, int, int]]:
    """The parts of memory with content: address, offset in the component, and bytes."""
    for outer in sections(component, COMPONENT):
        if outer.kind != CORE_MODULE:
            continue
        module = component[outer.body : outer.end]
        for section in sections(module, MODULE):
            if section.kind != _DATA:
                continue
            reader = Reader(module, section.body)
            for _ in range(reader.number()):
                address = _address(reader)
                size = reader.number()
                if address is not None:
                    yield address, outer.body + reader.at, size
                reader.at += size


def _address(reader: Reader) -> int | None:
    """Where a segment goes; None for one that code copies."""
    kind = reader.number()
    if kind == _PASSIVE:
        return None
    if kind != _ACTIVE or reader.byte() != _I32_CONST:
        return _unknown_segment()
    address = shift = 0
    while True:
        byte = reader.byte()
        address |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if reader.byte() != _END:
        return _unknown_segment()
    signed = address - (1 << shift) if byte & 0x40 else address
    return signed % 2**32


def _unknown_segment() -> int:
    raise UnknownRuntimeError("a part of its memory is placed in an unknown way")
