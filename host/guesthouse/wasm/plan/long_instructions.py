"""Makes long instructions of core modules interruptible.

The engine checks the epoch at function entries and loop headers. Filling or
copying a whole memory takes up to 150 ms in between. So a module gets functions that do the same in pieces, in a loop,
and calls these instead. Other instructions that run inside the engine are short, but not checked either,
and a function can have two million of them in a straight line: an empty loop is placed before each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from wasmtime import wat2wasm

from guesthouse.wasm.binary.byte_reader import MODULE, Reader, encoded_number, encoded_section, sections
from guesthouse.wasm.binary.core_module import CODE, CUSTOM, FUNCTIONS, TYPES, CoreModule, Kind, read_module
from guesthouse.wasm.binary.instructions import Found, Long, long_instructions

PIECE_BYTES: Final = 256 * 1024
"""Of a memory, between two checks: about 20 µs, 100 when touched first."""
PIECE_ELEMENTS: Final = 1024
"""Of a table: an element takes up to 0.4 µs."""

_TYPE: Final = b"\x60\x03\x7f\x7f\x7f\x00"
"""The type of the functions: three `i32`."""
_CALL: Final = b"\x10"
_LOOK: Final = b"\x03\x40\x0b"
"""An empty loop, at which the engine checks the epoch."""
_NAMES: Final = "name"

_IN_PIECES: Final = {
    Long.MEMORY_INIT: "memory.init",
    Long.MEMORY_COPY: "memory.copy",
    Long.MEMORY_FILL: "memory.fill",
    Long.TABLE_INIT: "table.init",
    Long.TABLE_COPY: "table.copy",
}
_Function = tuple[Long, tuple[int, ...]]


def interruptible(content: bytes) -> bytes:
    """The module with its long instructions split; itself if it has none.

    Custom sections other than names are then dropped, because they may contain positions.

    Raises:
        UnsupportedComponent: it is malformed, or has an instruction that is not known.
    """
    module = read_module(content)
    code = _Code(module)
    bodies = code.rewritten()
    if bodies is None:
        return content
    made = {CODE: bodies}
    if code.added:
        new_type = encoded_number(module.reader(TYPES).number())
        made[TYPES] = _with(module.reader(TYPES), [_TYPE])
        made[FUNCTIONS] = _with(module.reader(FUNCTIONS), [new_type] * len(code.added))
    return b"".join((MODULE, *_sections(content, made)))


def _sections(content: bytes, made: dict[int, bytes]) -> Iterator[bytes]:
    """The sections of a module, with these kinds replaced."""
    for section in sections(content, 0, len(content), MODULE):
        if section.kind in made:
            yield encoded_section(section.kind, made[section.kind])
        elif section.kind != CUSTOM or Reader(content, section.body, section.end).name() == _NAMES:
            yield content[section.start : section.end]


class _Code:
    """The code section of a module, and what is added for it."""

    def __init__(self, module: CoreModule) -> None:
        self._reader: Final = module.reader(CODE)
        self._content: Final = module.content
        imported = sum(1 for each in module.imports if each.kind is Kind.FUNCTION)
        self._functions: Final = imported + module.reader(FUNCTIONS).number()
        self.added: Final[dict[_Function, bytes]] = {}
        """The added functions, in the order of their numbers."""

    def rewritten(self) -> bytes | None:
        """The section's content; None if unchanged."""
        reader, content = self._reader, self._content
        count = reader.number()
        pieces, kept = [], reader.at
        for _ in range(count):
            start = reader.at
            size = reader.number()
            first = reader.at
            reader.skip(size)
            body = self._body(first, first + size)
            if body:
                pieces += [content[kept:start], encoded_number(sum(map(len, body))), *body]
                kept = first + size
        reader.finish()
        if not pieces:
            return None
        new = [_function(*each) for each in self.added]
        return b"".join((encoded_number(count + len(new)), *pieces, content[kept : reader.end], *new))

    def _body(self, first: int, end: int) -> list[bytes]:
        """The parts of a function's body; empty if unchanged."""
        pieces, kept = [], first
        for found in long_instructions(self._content, _after_locals(self._content, first, end), end):
            if found.length is not None and found.length <= _piece(found.what):
                continue
            pieces += [self._content[kept : found.start], self._instead(found)]
            kept = found.end
        return [*pieces, self._content[kept:end]] if pieces else []

    def _instead(self, found: Found) -> bytes:
        if found.what not in _IN_PIECES:
            return _LOOK + self._content[found.start : found.end]
        key = found.what, found.operands
        call = self.added.get(key)
        if call is None:
            call = self.added[key] = _CALL + encoded_number(self._functions + len(self.added))
        return call


def _piece(what: Long) -> int:
    """How much of it runs without interruption."""
    name = _IN_PIECES.get(what)
    if name is None:
        return 0
    return PIECE_BYTES if name.startswith("memory") else PIECE_ELEMENTS


def _after_locals(content: bytes, first: int, end: int) -> int:
    reader = Reader(content, first, end)
    for _ in range(reader.number()):
        reader.number()
        if reader.byte() in (0x63, 0x64):  # a reference to a declared type
            reader.number()
    return reader.at


def _with(vector: Reader, elements: list[bytes]) -> bytes:
    """A vector with additional elements."""
    count = vector.number()
    return encoded_number(count + len(elements)) + vector.content[vector.at : vector.end] + b"".join(elements)


@cache
def _function(what: Long, operands: tuple[int, ...]) -> bytes:
    """The body of a function that does what an instruction does, prefixed with its size.

    Nothing is written if any of it is out of bounds: the instruction itself finds that out, of the whole or, for a
    segment whose size is not known here, of its last piece, which comes first. Overlapping ranges are copied in an
    order that reads before it writes.
    """
    code = read_module(
        bytes(wat2wasm(f"(module (func (param i32 i32 i32) {_text(what, operands)}))"))
    ).reader(CODE)
    code.number()
    return code.content[code.at : code.end]


def _text(what: Long, operands: tuple[int, ...]) -> str:
    name = _IN_PIECES[what]
    of_memory = name.startswith("memory")
    if name.endswith("init"):
        operands = operands[::-1]  # in the text format the segment comes last
    piece = f"(i32.const {_piece(what)})"

    def do(to: str, with_: str, count: str) -> str:
        return f"({name} {' '.join(map(str, operands))} {to} {with_} {count})"

    def size(number: int) -> str:
        pages = f"(i64.extend_i32_u ({'memory' if of_memory else 'table'}.size {number}))"
        return f"(i64.shl {pages} (i64.const 16))" if of_memory else pages

    # Whether it is out of bounds. An unused place is within the other.
    outside = [_beyond(_TO, size(operands[0]))]
    if name.endswith("copy"):
        outside.append(_beyond(_FROM, size(operands[1])))
    elif name.endswith("init"):
        outside.append(_beyond(_FROM, "(i64.const 0xffffffff)"))  # no segment is that large
    last = _FROM if name.endswith("fill") else _plus(_FROM, _COUNT)
    more = f"(br_if 0 (i32.gt_u {_COUNT} {piece}))"
    less = f"(local.set 2 (i32.sub {_COUNT} {piece}))"
    backwards = f"(loop {less} {do(_plus(_TO, _COUNT), last, piece)} {more})"
    on = f"(local.set 0 {_plus(_TO, piece)}) (local.set 1 {_plus(_FROM, piece)})"
    forwards = f"(loop {do(_TO, _FROM, piece)} {on} {less} {more})"
    in_pieces = (
        f"(if (i32.gt_u {_TO} {_FROM}) (then {backwards}) (else {forwards}))"
        if name.endswith("copy")
        else backwards
    )
    all_of_it = do(_TO, _FROM, _COUNT)
    checks = "".join(f"(if {each} (then {all_of_it}))" for each in outside)
    return f"(if (i32.gt_u {_COUNT} {piece}) (then {checks} {in_pieces})) {all_of_it}"


_TO: Final = "(local.get 0)"
_FROM: Final = "(local.get 1)"
"""Or the value to fill with."""
_COUNT: Final = "(local.get 2)"


def _plus(one: str, other: str) -> str:
    return f"(i32.add {one} {other})"


def _beyond(start: str, size: str) -> str:
    return f"(i64.gt_u (i64.add (i64.extend_i32_u {start}) (i64.extend_i32_u {_COUNT})) {size})"
