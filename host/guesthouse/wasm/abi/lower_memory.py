"""Lowers Python values into a guest's memory: one writer per type, compiled once.

The guest's own allocator places what a value points to. That runs the guest, which may change and grow
its memory, so the view of the memory is fetched again after each allocation; offsets stay valid.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from guesthouse.wasm.abi import source_code
from guesthouse.wasm.abi.layout import Shape, cases_of
from guesthouse.wasm.abi.lift import ResourceNumber
from guesthouse.wasm.abi.lower_scalars import (
    CODES,
    Convert,
    bounds_of,
    bytes_of,
    case_of,
    code_of,
    convert,
    numbers_of,
    utf8_of,
    wrong,
)
from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.errors import OutOfRange, WrongType
from guesthouse.wasm.types import (
    BOOL,
    F32,
    F64,
    STRING,
    U8,
    EnumOf,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
    can_be_none,
)
from guesthouse.wasm.values import INTEGERS, Utf8

Store: TypeAlias = Callable[[Any, int, LinearMemory], None]
"""`(value, offset, memory)`."""

MAX_BYTES: Final = 2**31 - 1
"""Per string or list: the ABI's own limit."""

_put_pair: Final = Struct("<II").pack_into


def store(type_: WitType, shape: Shape, resource_number: ResourceNumber) -> Store:
    """Compile the writer of a type.

    It raises `WrongType`, `OutOfRange` or `NotUnicode` for a value that does not fit.
    """
    number = convert(type_, resource_number)
    if number is not None:
        return _number(number, code_of(type_, shape))
    return _COMPILERS[type(type_)](type_, shape, resource_number)


def _number(number: Convert, code: str) -> Store:
    put = Struct("<" + code).pack_into

    def write(value: Any, at: int, memory: LinearMemory) -> None:
        put(memory.view, at, number(value))

    return write


def room(memory: LinearMemory, align: int, size: int) -> int:
    """Allocate in the guest; returns the offset."""
    if size > MAX_BYTES:
        raise OutOfRange(f"{size} bytes do not fit a guest: pass fewer than 2 GiB")
    return memory.allocate(align, size)


def copied(data: bytes | memoryview, memory: LinearMemory) -> int:
    """Copy bytes into the guest; returns their offset. The allocator is called for empty ones too, as the
    canonical ABI demands: guests free what they get, whatever its size.
    """
    size = len(data)
    # `room` inlined: every payload passes here.
    address = memory.allocate(1, size) if size <= MAX_BYTES else room(memory, 1, size)
    memory.view[address : address + size] = data
    return address


def _string(value: Any, at: int, memory: LinearMemory) -> None:
    data = utf8_of(value)
    start = copied(data, memory)
    _put_pair(memory.view, at, start, len(data))


def _bytes(value: Any, at: int, memory: LinearMemory) -> None:
    data = bytes_of(value)
    start = copied(data, memory)
    _put_pair(memory.view, at, start, len(data))


def elements(
    type_: ListOf, shape: Shape, resource_number: ResourceNumber
) -> Callable[[Any, LinearMemory], int]:
    """Compile a function that writes the elements of a list, other than bytes, and returns their offset."""
    element = shape.parts[0]
    size, align = element.size, element.align
    write = store(type_.element, element, resource_number)
    together = _together(type_.element)

    def put(value: Any, memory: LinearMemory) -> int:
        if type(value) is not list:
            raise wrong("list", value)
        total = len(value) * size
        data = None if together is None else together(value)
        start = room(memory, align, total)
        if data is not None:
            memory.view[start : start + total] = data
            return start
        for at, each in zip(range(start, start + total, size), value, strict=True):
            write(each, at, memory)
        return start

    return put


def _together(type_: WitType) -> Callable[[list[Any]], bytes | None] | None:
    """A function that packs many numbers at once; None leaves errors to their writer."""
    if not isinstance(type_, Primitive) or type_.name in ("char", "string"):
        return None
    code, expected = CODES[type_.name], {bool if type_ == BOOL else float if type_ in (F32, F64) else int}

    def pack(values: list[Any]) -> bytes | None:
        if set(map(type, values)) != expected:
            return None
        try:
            return struct.pack(f"<{len(values)}{code}", *values)
        except (struct.error, OverflowError):
            return None

    return pack


def _list(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Store:
    if type_.element == U8:
        return _bytes
    put = elements(type_, shape, resource_number)

    def write(value: Any, at: int, memory: LinearMemory) -> None:
        start = put(value, memory)
        _put_pair(memory.view, at, start, len(value))

    return write


def misses(missing: KeyError) -> WrongType:
    """The error for a record without a field."""
    return WrongType(f"the record misses the field {missing.args[0]!r}")


class Fields:
    """Adjacent values: generates the source of a function `(value, at, memory)`.

    One `pack` writes all numbers, pointers and lengths:
    a loop over closures takes twice the time. The source consists of numbers and the words below
    only.
    """

    def __init__(self, resource_number: ResourceNumber, scope: dict[str, Any] | None = None) -> None:
        """Begin a function, or a part of one that has this scope."""
        self._resource_number = resource_number
        self._scope: dict[str, Any] = {} if scope is None else scope
        self._scope |= _SCOPE
        self._layout, self._end = "<", 0
        self._packed: list[str] = []
        self._before, self._copies, self._after = "", "", ""

    def number(self, code: str, offset: int, expression: str) -> None:
        """Add a number, in the order of offsets."""
        self._layout += f"{offset - self._end}x{code}"
        self._end = offset + Struct("<" + code).size
        self._packed.append(expression)

    def constant(self, value: Any) -> str:
        """The name of a constant."""
        name = f"k{len(self._scope)}"
        self._scope[name] = value
        return name

    def all(self, types: tuple[WitType, ...], shape: Shape, start: int = 0) -> list[str]:
        """Add the fields of a record or tuple; returns the names of the variables with their values."""
        names = [f"v{index}" for index in range(len(types))]
        for name, type_, part, offset in zip(names, types, shape.parts, shape.offsets, strict=True):
            self._add(name, type_, part, start + offset)
        return names

    def _add(self, name: str, type_: WitType, shape: Shape, offset: int) -> None:
        number = convert(type_, self._resource_number)
        if number is not None:
            self.number(code_of(type_, shape), offset, self._checked(name, type_, number))
        elif type_ in (STRING, ListOf(U8)):
            check = "utf8_of" if type_ == STRING else "bytes_of"
            self._before += f" {name} = {check}({name})\n"
            self._point(name, f"copied({name}, memory)", offset)
        elif isinstance(type_, OptionOf) and type_.some in (STRING, ListOf(U8)):
            self._point_if_some(name, type_.some, offset, offset + shape.offsets[0])
        elif isinstance(type_, ListOf):
            put = self.constant(elements(type_, shape, self._resource_number))
            self._point(name, f"{put}({name}, memory)", offset)
        else:
            write = self.constant(store(type_, shape, self._resource_number))
            self._after += f" {write}({name}, at + {offset}, memory)\n"

    def _checked(self, name: str, type_: WitType, number: Convert) -> str:
        """The expression of a number: without a call for the value that most have."""
        slow = f"{self.constant(number)}({name})"
        if isinstance(type_, Primitive) and type_.name in INTEGERS:
            low, high = bounds_of(type_.name)
            return f"{name} if type({name}) is int and {low} <= {name} <= {high} else {slow}"
        if isinstance(type_, EnumOf):
            numbers = self.constant(numbers_of(type_.names))
            return f"{numbers}[{name}] if type({name}) is str and {name} in {numbers} else {slow}"
        return slow

    def _point(self, name: str, placing: str, offset: int) -> None:
        """Add a pointer and a length. Allocation comes before the view is fetched that is packed into."""
        self._copies += f" {name}_at = {placing}\n"
        self.number("I", offset, f"{name}_at")
        self.number("I", offset + 4, f"len({name})")

    def _point_if_some(self, name: str, some: WitType, flag: int, offset: int) -> None:
        """Add an optional string or `list<u8>`, with zeros for none."""
        check = "utf8_of" if some == STRING else "bytes_of"
        self._copies += f""" {name}_is = {name}_at = {name}_size = 0
 if {name} is not None:
  {name} = {check}({name})
  {name}_is, {name}_at, {name}_size = 1, copied({name}, memory), len({name})
"""
        self.number("B", flag, f"{name}_is")
        self.number("I", offset, f"{name}_at")
        self.number("I", offset + 4, f"{name}_size")

    def source(self, head: str) -> str:
        """The body of the function, indented by a space. `head` unpacks the value into its variables."""
        pack = ""
        if self._packed:
            packer = self.constant(Struct(self._layout).pack_into)
            pack = f" {packer}(memory.view, at, {', '.join(self._packed)})\n"
        return f"{head}{self._before}{self._copies}{pack}{self._after}"

    def finish(self, head: str) -> Store:
        """Compile it: see `source`."""
        return _compiled(self.source(head), self._scope)


def _record(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Store:
    fields = Fields(resource_number)
    return fields.finish(_opened_record(type_, shape, fields))


def _opened_record(type_: RecordOf, shape: Shape, fields: Fields, start: int = 0) -> str:
    """Add its fields; returns the source that assigns them to their variables."""
    variables = fields.all(tuple(field for _, field in type_.fields), shape, start)
    lines = [
        f"  {variable} = value[{fields.constant(name)}]\n"
        for variable, (name, _) in zip(variables, type_.fields, strict=True)
    ]
    return (
        f" if type(value) is not dict: raise wrong('dict for a record', value)\n try:\n{''.join(lines)}"
        " except KeyError as missing: raise misses(missing) from None\n"
    )


def _tuple(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Store:
    fields = Fields(resource_number)
    return fields.finish(_opened_tuple(type_, shape, fields))


def _opened_tuple(type_: TupleOf, shape: Shape, fields: Fields, start: int = 0) -> str:
    """Add its elements; returns the source that assigns them to their variables."""
    count = len(type_.elements)
    variables = fields.all(type_.elements, shape, start)
    return (
        f" if type(value) is not tuple or len(value) != {count}: raise wrong('tuple of {count}', value)\n"
        f" {', '.join(variables)}, = value\n"
    )


def _option(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Store:
    if can_be_none(type_.some):
        return _cases(type_, shape, resource_number)
    if type_.some in (STRING, ListOf(U8)):
        source, scope = optional_bytes(type_, shape)
        return _compiled(f" if value is None:\n  memory.view[at] = 0\n  return\n{source}", scope)
    if isinstance(type_.some, RecordOf | TupleOf):
        fields = Fields(resource_number)
        fields.number(shape.discriminant, 0, "1")
        opened: Any = _opened_tuple if isinstance(type_.some, TupleOf) else _opened_record
        head = opened(type_.some, shape.parts[1], fields, shape.offsets[0])
        return fields.finish(f" if value is None:\n  memory.view[at] = 0\n  return\n{head}")
    write_some, offset = store(type_.some, shape.parts[1], resource_number), shape.offsets[0]

    def write(value: Any, at: int, memory: LinearMemory) -> None:
        if value is None:
            memory.view[at] = 0
            return
        memory.view[at] = 1
        write_some(value, at + offset, memory)

    return write


def optional_bytes(type_: OptionOf, shape: Shape) -> tuple[str, dict[str, Any]]:
    """The source of the writer of an optional string or `list<u8>` that is there, indented by a space, and what it
    refers to: how most messages reach a guest.
    """
    data = (
        "value.data if type(value) is Utf8 else utf8_of(value)" if type_.some == STRING else "bytes_of(value)"
    )
    source = f""" data = {data}
 length = len(data)
 start = memory.allocate(1, length) if length <= MAX_BYTES else room(memory, 1, length)
 view = memory.view
 view[start : start + length] = data
 put_optional(view, at, 1, start, length)
"""
    put = Struct(f"<B{shape.offsets[0] - 1}xII").pack_into
    return source, _SCOPE | {"Utf8": Utf8, "MAX_BYTES": MAX_BYTES, "room": room, "put_optional": put}


def _compiled(body: str, scope: dict[str, Any]) -> Store:
    exec(source_code.code_of(f"def write(value, at, memory):\n{body}", "<lowering>"), scope)  # noqa: S102 - no names from a component
    write: Store = scope["write"]
    return write


def _cases(type_: Any, shape: Shape, resource_number: ResourceNumber) -> Store:
    case, offset = case_of(type_), shape.offsets[0]
    payloads = [
        None if payload is None else store(payload, part, resource_number)
        for (_, payload), part in zip(cases_of(type_), shape.parts, strict=True)
    ]
    put = Struct("<" + shape.discriminant).pack_into

    def write(value: Any, at: int, memory: LinearMemory) -> None:
        number, carried = case(value)
        put(memory.view, at, number)
        write_payload = payloads[number]
        if write_payload is not None:
            write_payload(carried, at + offset, memory)

    return write


_SCOPE: Final[dict[str, Any]] = {
    "bytes_of": bytes_of,
    "copied": copied,
    "misses": misses,
    "utf8_of": utf8_of,
    "wrong": wrong,
}

_COMPILERS: Final[dict[type, Callable[[Any, Shape, ResourceNumber], Store]]] = {
    Primitive: lambda type_, shape, resource_number: _string,
    ListOf: _list,
    RecordOf: _record,
    TupleOf: _tuple,
    VariantOf: _cases,
    OptionOf: _option,
    ResultOf: _cases,
}
