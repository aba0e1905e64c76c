"""Finds instructions in a function's body that take long, alone or many in a row, by decoding all instructions.

The length of an instruction depends on its opcode. Known are those
of all WebAssembly extensions that the engine validates, and some more. Unknown ones are
refused, because their length is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from guesthouse.wasm.binary.byte_reader import Reader, UnsupportedComponent


class Long(IntEnum):
    """Instructions that run inside the engine, by opcode; some have a prefix."""

    MEMORY_GROW = 0x40
    REF_FUNC = 0xD2
    MEMORY_INIT = 0xFC08
    DATA_DROP = 0xFC09
    MEMORY_COPY = 0xFC0A
    MEMORY_FILL = 0xFC0B
    TABLE_INIT = 0xFC0C
    ELEM_DROP = 0xFC0D
    TABLE_COPY = 0xFC0E
    TABLE_GROW = 0xFC0F


class Found(NamedTuple):
    """One of them, and its position."""

    what: Long
    start: int
    end: int
    operands: tuple[int, ...]
    """Its memory, table and segment indices, in order."""
    length: int | None
    """Of bytes or elements, if the previous instruction is a constant."""


_TWO_OPERANDS: Final = frozenset((Long.MEMORY_INIT, Long.MEMORY_COPY, Long.TABLE_INIT, Long.TABLE_COPY))
_PREFIX: Final = 0xFC

_NUMBER: Final = rb"[\x80-\xff]*[\x00-\x7f]"
_TYPE: Final = rb"(?:[\x63\x64]" + _NUMBER + rb"|[\x00-\x62\x65-\x7f]|[\x80-\xff]+[\x00-\x7f])"
"""Of a value or a block; references to declared types take two numbers."""
_PLACE: Final = (
    rb"(?:(?:[\x00-\x3f]|[\x80-\xbf]\x80*\x00)"
    + _NUMBER
    + rb"|(?:[\x40-\x7f]|[\xc0-\xff]\x80*\x00)"
    + _NUMBER * 2
    + rb")"
)
"""Of memory accesses: alignment, memory index if a bit of that says so, and offset."""
_OTHERS: Final = (
    rb"[\x0c\x0d\x10\x12\x14\x15\x20-\x26\x3f\x42\xd0\xd5\xd6]" + _NUMBER,
    rb"\x41" + _NUMBER + rb"(?!\xfc[\x08\x0a-\x0c\x0e])",
    rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1\xd4]",
    rb"[\x28-\x3e]" + _PLACE,
    rb"[\x02-\x04]" + _TYPE,
    rb"[\x11\x13]" + _NUMBER * 2,
    rb"\x43.{4}",
    rb"\x44.{8}",
    rb"\x1c\x01" + _TYPE,
    rb"\xfc(?:[\x00-\x07\x13-\x16]|[\x10\x11]" + _NUMBER + rb")",
    # Vectors
    rb"\xfd[\x00-\x0b\x5c\x5d]" + _PLACE,
    rb"\xfd[\x54-\x5b]" + _PLACE + rb".",
    rb"\xfd[\x0c\x0d].{16}",
    rb"\xfd[\x15-\x22].",
    rb"\xfd(?:[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01|[\x80-\x93]\x02)",
)
_RUN: Final = re.compile(rb"(?:" + rb"|".join(_OTHERS) + rb"){0,4096}", re.DOTALL)
"""The alternatives are disjoint, so there is no backtracking. An unbounded match would take memory for each
instruction.
"""


def long_instructions(content: bytes, start: int, end: int) -> Iterator[Found]:
    """Find the instructions that take long.

    Args:
        content: a module.
        start: where a function's instructions start, after its locals.
        end: where they end.

    Raises:
        UnsupportedComponent: it has an unknown instruction, or is truncated.
    """
    reader = Reader(content, start, end)
    count = None
    while reader.more():
        before = reader.at
        reader.at = _end_of_run(content, before, end)
        if not reader.more():
            return
        match content[reader.at]:
            case _ if reader.at > before:
                pass  # the run may continue
            case 0x41:
                count = _constant(reader)
                continue
            case 0x0E:
                _skip_targets(reader)
            case _:
                yield _found(reader, count)
        count = None


def _end_of_run(content: bytes, at: int, end: int) -> int:
    """The end of a run of other instructions, at most 4,096 of them."""
    match = _RUN.match(content, at, end)
    return at if match is None else match.end()


def _constant(reader: Reader) -> int | None:
    """The value of the `i32.const` here, if not negative."""
    reader.at += 1
    value = reader.signed()
    return None if value < 0 else value


def _found(reader: Reader, count: int | None) -> Found:
    start = reader.at
    opcode = reader.byte()
    if opcode == _PREFIX:
        opcode = _PREFIX << 8 | min(reader.number(), 0xFF)
    try:
        what = Long(opcode)
    except ValueError:
        raise UnsupportedComponent(
            f"a function has the instruction {opcode:#x}, which is unknown here: build it without that extension"
        ) from None
    operands = (reader.number(), reader.number()) if what in _TWO_OPERANDS else (reader.number(),)
    return Found(what, start, reader.at, operands, count)


def _skip_targets(reader: Reader) -> None:
    """Skip a `br_table`."""
    reader.at += 1
    count = reader.number() + 1
    if count > reader.end - reader.at:
        raise UnsupportedComponent("it is truncated")
    if reader.content[reader.at : reader.at + count].isascii():  # a byte each
        reader.at += count
        return
    for _ in range(count):
        reader.number()
