"""Compiles the conversion of a call's arguments and results by the canonical ABI."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from struct import Struct
from typing import Any, Final, TypeAlias

import msgspec

from guesthouse.wasm.abi.layout import MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, Shape, cases_of, shape_of
from guesthouse.wasm.abi.lift import NO_LIMIT, ArgumentLimit, Place, ResourceNumber, Source, text
from guesthouse.wasm.abi.lower_flat import flatten
from guesthouse.wasm.abi.lower_memory import Fields, optional_bytes, room, store
from guesthouse.wasm.abi.lower_scalars import convert
from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.abi.source_code import code_of, indented
from guesthouse.wasm.abi.traps import misaligned
from guesthouse.wasm.abi.value_budget import has_handles, needs_meter
from guesthouse.wasm.engine.native import slots as views_of
from guesthouse.wasm.types import (
    F32,
    F64,
    S8,
    S16,
    S32,
    S64,
    STRING,
    U8,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)
from guesthouse.wasm.values import OK, Form


class Slots(Enum):
    """Layouts of core arguments: offset of the first value, and stride in bytes."""

    RAW = (0, 16)
    TAGGED = (8, 32)


ReadArguments: TypeAlias = Callable[[int, LinearMemory | None], tuple[Any, ...]]
"""`(address of the core arguments, memory)`; the memory may be None for functions that pass no pointer."""


def lift_arguments(
    types: tuple[WitType, ...],
    slots: Slots,
    resource_number: ResourceNumber,
    *,
    utf8: bool = False,
    limit: ArgumentLimit = NO_LIMIT,
    views_from: int | None = None,
) -> ReadArguments:
    """Compile the reader of a call's arguments.

    Args:
        types: of the arguments; at least one.
        slots: the layout of the core arguments.
        resource_number: returns the host's number of a resource type.
        utf8: whether string arguments are returned as UTF-8 bytes.
        limit: the size limits of strings and bytes.
        views_from: see `HostFunction`.

    Raises:
        UnsupportedType: one of the types cannot be passed.
    """
    lifting = Lifting(types, slots, resource_number, utf8=utf8, limit=limit, views_from=views_from)
    source = lifting.source
    view_of = source.constant(views_of(lifting.bytes))
    head = f"def load(address, memory):\n data, at = {view_of}(address), 0\n"
    read: ReadArguments = source.finish(f"({', '.join(lifting.values)},)", lifting.prelude, head)
    return read


class Lifting:
    """The source that reads a call's arguments; see `lift_arguments`. It reads `data`, a view of the core arguments,
    from offset `at` on, and `memory`, and assigns to these and to `view` and `size`.
    """

    def __init__(
        self,
        types: tuple[WitType, ...],
        slots: Slots,
        resource_number: ResourceNumber,
        *,
        utf8: bool,
        limit: ArgumentLimit,
        views_from: int | None = None,
    ) -> None:
        metered = needs_meter(types)
        source = self.source = Source(resource_number, limit, metered=metered, views_from=views_from)
        shape = shape_of(TupleOf(types))
        flat = len(shape.flat) <= MAX_FLAT_PARAMS
        place, at = (Place(*slots.value), 0) if flat else (Place(0), slots.value[0])
        values = self.values = list[str]()
        """The expressions of the arguments."""

        def emit() -> str:
            passed = 0
            for type_, part, offset in zip(types, shape.parts, shape.offsets, strict=True):
                where = place.part(offset, passed)
                values.append(
                    text(source, where, utf8=True)
                    if utf8 and type_ == STRING
                    else source.value(type_, part, where)
                )
                passed += len(part.flat)
            return ""

        source.segment(emit)
        self.prelude = " BUDGET.begin(most())\n" if metered else ""
        """What comes before the source."""
        if any(map(has_handles, types)):
            self.prelude += " begin()\n"
        if not flat:
            self.prelude += source.spilled(shape, at)
        first, stride = slots.value
        self.bytes = first + stride * (len(shape.flat) if flat else 1)
        """Of the core arguments that it reads."""

    def body(self) -> str:
        """The source, indented by a space."""
        return self.prelude + self.source.body()


class ResultWriter(msgspec.Struct, frozen=True):
    """Writes a host call's result into the guest."""

    by_address: bool
    """Whether the core function has a last parameter with the result's address."""
    write: Callable[..., None]
    """`(value, memory, where)`, unless its `Head` says otherwise: the guest's offset, unsigned and unchecked, or the
    native address of the core result's eight bytes.
    """


_put_bits: Final = Struct("<Q").pack_into
_result_slot: Final = views_of(8)


class Head(msgspec.Struct, frozen=True):
    """The beginning of the source of a result's writer, so that a call need not go through another function."""

    text: str
    """Defines `write` with an argument `value`, and `memory` and `where`, as those of `ResultWriter.write`."""
    scope: dict[str, Any]


_PLAIN_HEAD: Final = Head("def write(value, memory, where):", {})


def lower_result(
    type_: WitType, forms: tuple[Form, ...], resource_number: ResourceNumber, head: Head = _PLAIN_HEAD
) -> ResultWriter:
    """Compile the writer of a host call's result.

    Args:
        type_: the import's result type.
        forms: what the call may return besides values of the type.
        head: how the writer begins if it writes by address.
        resource_number: returns the host's number of a resource type.

    Raises:
        UnsupportedType: the type cannot be passed.
    """
    shape = shape_of(type_)
    if len(shape.flat) > MAX_FLAT_RESULTS:
        return ResultWriter(True, _in_memory(type_, shape, forms, resource_number, head))
    return ResultWriter(False, _in_slot(type_, shape, resource_number))


def _in_slot(
    type_: WitType, shape: Shape, resource_number: ResourceNumber
) -> Callable[[Any, LinearMemory, int], None]:
    number = convert(type_, resource_number)
    if number is not None and type_ not in (S8, S16, S32, S64, F32, F64):

        def write_number(value: Any, memory: LinearMemory, where: int) -> None:
            _put_bits(_result_slot(where), 0, number(value))

        return write_number
    flat = flatten(type_, shape, resource_number)

    def write(value: Any, memory: LinearMemory, where: int) -> None:
        _put_bits(_result_slot(where), 0, flat(value, memory)[0])

    return write


def _in_memory(
    type_: WitType, shape: Shape, forms: tuple[Form, ...], resource_number: ResourceNumber, head: Head
) -> Callable[..., None]:
    body, scope = _lowering(type_, shape, forms, resource_number)
    scope |= head.scope
    exec(code_of(f"{head.text}\n{body}", "<lowering>"), scope)  # noqa: S102 - no names from a component
    write: Callable[..., None] = scope["write"]
    return write


def lowering(
    type_: WitType, forms: tuple[Form, ...], resource_number: ResourceNumber
) -> tuple[str, dict[str, Any]] | None:
    """The source of `lower_result` for a type whose result has an address, indented by a space, and what it refers to;
    None for another type. It writes `value` to `memory` at `where`.
    """
    shape = shape_of(type_)
    if len(shape.flat) <= MAX_FLAT_RESULTS:
        return None
    return _lowering(type_, shape, forms, resource_number)


def _lowering(
    type_: WitType, shape: Shape, forms: tuple[Form, ...], resource_number: ResourceNumber
) -> tuple[str, dict[str, Any]]:
    size, outside = shape.size, ~0xFFFF_FFFF | (shape.align - 1)
    scope: dict[str, Any] = {
        "constant": _constant(type_),  # what most calls return; it takes a single byte
        "write_value": store(type_, shape, resource_number),
        "misaligned": misaligned,
        "expand": lambda value: value[0].expand(value[1:]),
    }
    form = _of_forms(type_, shape, forms, resource_number, scope) if forms else ""
    write = " else: write_value(value, where, memory)\n"
    if isinstance(type_, OptionOf) and type_.some in (STRING, ListOf(U8)):
        source, names = optional_bytes(type_, shape)
        write, scope = f" else:\n  at = where\n{indented(source, ' ')}", scope | names
    body = f""" if where & {outside}: misaligned(where, {shape.align})
 if where + {size} > memory.size: memory.check(where, {size})
 if value is constant: memory.view[where] = 0
{form}{write}"""
    return body, scope


def _of_forms(
    type_: WitType,
    shape: Shape,
    forms: tuple[Form, ...],
    resource_number: ResourceNumber,
    scope: dict[str, Any],
) -> str:
    """The source for what has one of these forms. Adds to the scope."""
    source, word = " elif type(value) is tuple:\n  at = where\n", "if"
    for number, form in enumerate(forms):
        filler = _filler(type_, shape, form, resource_number, scope)
        if filler is not None:
            scope[f"form{number}"] = form
            source += f"  {word} value[0] is form{number}:\n{indented(filler, '  ')}"
            word = "elif"
    rest = "write_value(expand(value), where, memory)\n"
    return source + (f"  {rest}" if word == "if" else f"  else: {rest}")


def _constant(type_: WitType) -> object:
    """The value whose representation is the single byte 0, if the type has one."""
    if isinstance(type_, OptionOf):
        return None
    return OK if isinstance(type_, ResultOf) and type_.ok is None else _NO_CONSTANT


_NO_CONSTANT: Final = object()


def _filler(
    type_: WitType | None,
    shape: Shape,
    form: Form,
    resource_number: ResourceNumber,
    scope: dict[str, Any],
) -> str | None:
    """The source that writes a form of a type, all numbers at once. Adds to the scope. None if the type has another
    shape.
    """
    fields, offset = Fields(resource_number, scope), 0
    for step in form.path:
        if not isinstance(type_, ResultOf | VariantOf):
            return None
        names = [name for name, _ in cases_of(type_)]
        if step not in names:
            return None
        index = names.index(step)
        fields.number(shape.discriminant, offset, str(index))
        offset += shape.offsets[0]
        type_, shape = cases_of(type_)[index][1], shape.parts[index]
    if not isinstance(type_, RecordOf) or tuple(name for name, _ in type_.fields) != form.fields:
        return None
    variables = fields.all(tuple(field for _, field in type_.fields), shape, offset)
    return fields.source(f" _, {', '.join(variables)} = value\n")


def lower_parameters(
    types: tuple[WitType, ...], resource_number: ResourceNumber
) -> Callable[[tuple[Any, ...], LinearMemory], list[tuple[str, int]]]:
    """Compile the conversion of an export's parameters to core types and bits.

    Args:
        types: of the parameters.
        resource_number: returns the host's number of a resource type.

    Raises:
        UnsupportedType: one of the types cannot be passed.
    """
    if not types:
        return lambda values, memory: []
    together = TupleOf(types)
    shape = shape_of(together)
    if len(shape.flat) <= MAX_FLAT_PARAMS:
        flat = flatten(together, shape, resource_number)
        return lambda values, memory: list(zip(shape.flat, flat(values, memory), strict=True))
    write_all = store(together, shape, resource_number)

    def spill(values: tuple[Any, ...], memory: LinearMemory) -> list[tuple[str, int]]:
        start = room(memory, shape.align, shape.size)
        write_all(values, start, memory)
        return [("i32", start)]

    return spill
