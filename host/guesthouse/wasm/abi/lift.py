"""Lifts values of the canonical ABI to Python values: generates one function for each place where a
type is read, as source.

A guest chooses every byte that is read here. So bounds are compared with the memory's size before a read, case
numbers are checked, and strings are decoded. A violation
of the ABI is a `GuestTrap`; nothing else is raised for what a guest passes.

The source consists of numbers and the words below only; names from a component are passed in `scope`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Any, Final, TypeAlias

import msgspec

from guesthouse.wasm.abi.handles import begin, lend, take
from guesthouse.wasm.abi.layout import Shape, cases_of
from guesthouse.wasm.abi.source_code import code_of
from guesthouse.wasm.abi.traps import misaligned, no_case, no_character, not_unicode, too_big, too_long
from guesthouse.wasm.abi.value_budget import BUDGET, values_in
from guesthouse.wasm.engine.host_functions import SMALL_BYTES, TEXT_BYTES, Beyond
from guesthouse.wasm.errors import UnsupportedType
from guesthouse.wasm.types import (
    BOOL,
    CHAR,
    STRING,
    U8,
    EnumOf,
    FlagsOf,
    Handle,
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
from guesthouse.wasm.values import INTEGERS, MAX_LIST, Err, Ok, Oversize, Some, check_utf8

Load: TypeAlias = Callable[[Any, int, Any], Any]
"""`(data, at, memory)`: the bytes to read from (guest memory or core arguments), the offset, and the guest's memory."""

ResourceNumber: TypeAlias = Callable[[tuple[str, str]], int]
"""Returns the host's number of a resource type, by interface and name."""

_CODES: Final = {"bool": "?", "f32": "f", "f64": "d", "char": "I"} | INTEGERS

_NESTING: Final = 12
"""Nesting of blocks before the rest becomes a function of its own; Python allows a hundred."""

_EAGER: Final = 8
"""Payload numbers that are read together with the discriminant, before it is known: cheaper than a second
`unpack`."""


class Place(msgspec.Struct, frozen=True):
    """The location of a value: in memory, or flat in core arguments."""

    offset: int
    """Of the value, or of the first core argument's."""
    stride: int = 0
    """Bytes between core arguments; 0 in memory."""

    def part(self, at: int, flat: int) -> Place:
        """The location of a part, that many bytes or core arguments further."""
        return Place(self.offset + (flat * self.stride if self.stride else at), self.stride)


class ArgumentLimit(msgspec.Struct, frozen=True):
    """Size limits of a call's strings and byte lists."""

    most: Callable[[], int]
    """Bytes, for the running guest."""
    beyond: Beyond = Beyond.TRAP

    def most_text(self) -> int:
        """Bytes of each string that is read as `str`."""
        return min(self.most(), TEXT_BYTES)


NO_LIMIT: Final = ArgumentLimit(lambda: 2**32)
"""For conversions without a guest."""


class _Segment:
    """Numbers near one address that one `unpack` reads."""

    def __init__(self) -> None:
        self.layout, self.end = "<", 0
        self.names: list[str] = []

    def take(self, name: str, code: str, offset: int) -> str:
        self.layout += f"{offset - self.end}x{code}"
        self.end = offset + Struct("<" + code).size
        self.names.append(name)
        return name


class Source:
    """Generates the source of one function `(data, at, memory)`."""

    def __init__(
        self,
        resource_number: ResourceNumber,
        limit: ArgumentLimit,
        *,
        metered: bool,
        views_from: int | None = None,
    ) -> None:
        self.resource_number = resource_number
        self.limit = limit
        self.metered = metered
        self.views_from = views_from
        self.scope: dict[str, Any] = _SCOPE | {"most": limit.most, "most_text": limit.most_text}
        self.lines: list[str] = []
        self.touches_memory = False
        self._segment = _Segment()
        self._indent = 1
        self._count = 0

    def say(self, line: str) -> None:
        """Add a line."""
        self.lines.append(" " * self._indent + line)

    def name(self) -> str:
        """An unused name."""
        self._count += 1
        return f"v{self._count}"

    def constant(self, value: Any) -> str:
        """The name of a constant."""
        name = "k" + self.name()
        self.scope[name] = value
        return name

    def number(self, code: str, offset: int) -> str:
        """The name of a number at an offset from `at`."""
        return self._segment.take(self.name(), code, offset)

    def value(self, type_: WitType, shape: Shape, place: Place) -> str:
        """Add code that reads a value; returns its expression."""
        if self._indent > _NESTING:
            return f"{self.constant(self.function(type_, shape, place))}(data, at, memory)"
        return _EMITTERS[type(type_)](self, type_, shape, place)

    def function(self, type_: WitType, shape: Shape, place: Place) -> Load:
        """A separate function for a value."""
        other = Source(self.resource_number, self.limit, metered=self.metered, views_from=self.views_from)
        load: Load = other.finish(other.segment(lambda: other.value(type_, shape, place)))
        return load

    def block(self, head: str, emit: Callable[[], str], into: str) -> None:
        """Add a block that assigns a value to a variable."""
        self.say(head)
        self.deeper(lambda: self.say(f"{into} = {emit()}"))

    def deeper(self, emit: Callable[[], None]) -> None:
        """Add what `emit` adds inside of the current block."""
        self._indent += 1
        emit()
        self._indent -= 1

    def segment(self, emit: Callable[[], str]) -> str:
        """Add what `emit` adds, preceded by an `unpack` of the numbers that it reads."""
        outer, self._segment = self._segment, _Segment()
        before = len(self.lines)
        self.lines.append("")
        expression = emit()
        if self._segment.names:
            unpack = self.constant(Struct(self._segment.layout).unpack_from)
            self.lines[before] = f"{' ' * self._indent}{', '.join(self._segment.names)}, = {unpack}(data, at)"
        self._segment = outer
        return expression

    def finish(self, expression: str, prelude: str = "", head: str = "def load(data, at, memory):\n") -> Any:
        """Compile it: a `Load`, unless `head` says otherwise."""
        text = f"{head}{prelude}{self.body()} return {expression}\n"
        exec(code_of(text, "<lifting>"), self.scope)  # noqa: S102 - no names from a component
        return self.scope["load"]

    def body(self) -> str:
        """What was added, as source that is indented by a space."""
        bounds = " view, size = memory.view, memory.size\n" if self.touches_memory else ""
        return bounds + "".join(f"{line}\n" for line in self.lines)

    def bounds(self, start: str, size: str) -> None:
        """Add a bounds check."""
        self.touches_memory = True
        self.say(f"if {start} + {size} > size: view, size = memory.check({start}, {size})")

    def spilled(self, shape: Shape, at: int) -> str:
        """Code that replaces `at`, the address of the one core argument, by that of the arguments in memory."""
        pointer = self.constant(Struct("<I").unpack_from)
        return (
            f" start, = {pointer}(data, at + {at})\n"
            f" if start & {shape.align - 1}: misaligned(start, {shape.align})\n"
            f" if start + {shape.size} > memory.size: memory.check(start, {shape.size})\n"
            " data, at = memory.view, start\n"
        )

    def pair(self, place: Place) -> tuple[str, str]:
        """The names of an address and a length."""
        start = self.number("I", place.offset)
        return start, self.number("I", place.part(4, 1).offset)


def _primitive(source: Source, type_: Any, shape: Shape, place: Place) -> str:
    if type_.name == "string":
        return text(source, place)
    if type_.name == "bool" and place.stride:
        return f"{source.number('I', place.offset)} != 0"
    number = source.number(_CODES[type_.name], place.offset)
    if type_.name != "char":
        return number
    source.say(f"if {number} > 0x10FFFF or 0xD800 <= {number} <= 0xDFFF: no_character({number})")
    return f"chr({number})"


def _bytes(source: Source, place: Place) -> str:
    data, size, value = _limited(
        source, place, "Oversize({size})" if source.limit.beyond is Beyond.MARK else None
    )
    if source.views_from is not None:
        source.say(f"elif {size} >= {source.views_from}: {value} = {data}")
    source.say(f"else: {value} = {data}.tobytes()")
    return value


def _limited(source: Source, place: Place, instead: str | None, most: str = "most()") -> tuple[str, str, str]:
    """Add a check of the length of a string or byte list before it is read, and the start of an `if` whose `else` is to
    read it.

    Args:
        source: the function being generated.
        place: its location.
        instead: the value if it is too long; None to trap.
        most: the expression of the limit.

    Returns:
        The expression of a view of it, the variable of its size, and the variable for the value.
    """
    start, size = source.pair(place)
    value = source.name()
    source.bounds(start, size)
    if source.metered:
        source.say(f"BUDGET.bytes(min({size}, {SMALL_BYTES}))" if instead else f"BUDGET.bytes({size})")
    begin = f"view[{start} : {start} + {SMALL_BYTES}]"
    too_much = (
        f"{value} = {instead.format(size=size, begin=begin)}" if instead else f"too_big({size}, {most})"
    )
    source.say(f"if {size} > {SMALL_BYTES} and {size} > {most}: {too_much}")
    return f"view[{start} : {start} + {size}]", size, value


def text(source: Source, place: Place, *, utf8: bool = False) -> str:
    """Add code that reads a string, or its UTF-8; returns its expression."""
    instead = None
    if source.limit.beyond is Beyond.CUT:
        instead = "str({begin}, 'utf-8', 'ignore')"
    elif source.limit.beyond is Beyond.MARK and utf8:
        instead = "Oversize({size})"
    data, size, value = _limited(source, place, instead, "most()" if utf8 else "most_text()")
    if utf8 and source.views_from is not None:
        source.say(f"elif {size} >= {source.views_from}:")
        source.deeper(lambda: _decode(source, f"{value} = {data}", f"check_utf8({value})"))
    source.say("else:")
    if utf8:
        check = f"if not {value}.isascii(): check_utf8({value})"
        source.deeper(lambda: _decode(source, f"{value} = {data}.tobytes()", check))
    else:
        source.deeper(lambda: _decode(source, f"{value} = str({data}, 'utf-8')"))
    return value


def _decode(source: Source, *lines: str) -> None:
    source.say("try:")
    for line in lines:
        source.say(f" {line}")
    source.say("except UnicodeDecodeError as error: not_unicode(error)")


def _list(source: Source, type_: Any, shape: Shape, place: Place) -> str:
    if type_.element == U8:
        return _bytes(source, place)
    element = shape.parts[0]
    start, count = source.pair(place)
    if element.align > 1:
        source.say(f"if {start} & {element.align - 1}: misaligned({start}, {element.align})")
    source.say(f"if {count} > {MAX_LIST}: too_long({count})")
    if source.metered:
        source.say(f"BUDGET.values({count} * {values_in(type_.element)})")
    end = source.name()
    source.say(f"{end} = {count} * {element.size}")
    source.bounds(start, end)
    last = f"{start} + {end}"
    if type_.element == BOOL:
        return f"[byte != 0 for byte in view[{start} : {last}]]"
    if isinstance(type_.element, Primitive) and type_.element not in (CHAR, STRING):
        # An empty view cannot be cast.
        return f'view[{start} : {last}].cast("{_CODES[type_.element.name]}").tolist() if {count} else []'
    load = source.constant(source.function(type_.element, element, Place(0)))
    return f"[{load}(view, at, memory) for at in range({start}, {last}, {element.size})]"


def _record(source: Source, type_: Any, shape: Shape, place: Place) -> str:
    values = _parts(source, tuple(field for _, field in type_.fields), shape, place)
    names = [source.constant(name) for name, _ in type_.fields]
    return f"{{{', '.join(f'{name}: {value}' for name, value in zip(names, values, strict=True))}}}"


def _tuple(source: Source, type_: Any, shape: Shape, place: Place) -> str:
    return f"({', '.join(_parts(source, type_.elements, shape, place))},)"


def _parts(source: Source, types: tuple[WitType, ...], shape: Shape, place: Place) -> list[str]:
    values, flat = [], 0
    for type_, part, offset in zip(types, shape.parts, shape.offsets, strict=True):
        values.append(source.value(type_, part, place.part(offset, flat)))
        flat += len(part.flat)
    return values


def _discriminant(source: Source, shape: Shape, place: Place) -> str:
    return source.number("I" if place.stride else shape.discriminant, place.offset)


def _enum(source: Source, type_: Any, shape: Shape, place: Place) -> str:
    number, count = _discriminant(source, shape, place), len(type_.names)
    source.say(f"if {number} >= {count}: no_case({number}, {count})")
    return f"{source.constant(type_.names)}[{number}]"


def _option(source: Source, type_: Any, shape: Shape, place: Place) -> str:
    number, value = _discriminant(source, shape, place), source.name()
    payload, at = shape.parts[1], place.part(shape.offsets[0], 1)

    def emit() -> str:
        source.say(f"if {number} != 1: no_case({number}, 2)")
        some = source.value(type_.some, payload, at)
        return f"Some({some})" if can_be_none(type_.some) else some

    source.say(f"{value} = None")
    eager = len(payload.flat) <= _EAGER
    source.block(f"if {number}:", emit if eager else lambda: source.segment(emit), value)
    return value


def _variant(source: Source, type_: Any, shape: Shape, place: Place) -> str:
    number, value = _discriminant(source, shape, place), source.name()
    cases, at = cases_of(type_), place.part(shape.offsets[0], 1)
    source.say(f"if {number} >= {len(cases)}: no_case({number}, {len(cases)})")
    source.say(f"{value} = {source.constant(_plain_cases(type_, cases))}[{number}]")
    word = "if"
    for index, (name, payload) in enumerate(cases):
        if payload is None:
            continue
        part = shape.parts[index]

        def emit(name: str = name, payload: WitType = payload, part: Shape = part) -> str:
            carried = source.segment(lambda: source.value(payload, part, at))
            if isinstance(type_, ResultOf):
                return f"{name.capitalize()}({carried})"
            return f"({source.constant(name)}, {carried})"

        source.block(f"{word} {number} == {index}:", emit, value)
        word = "elif"
    return value


def _plain_cases(type_: VariantOf | ResultOf, cases: tuple[tuple[str, Any], ...]) -> tuple[Any, ...]:
    """The value of each case without payload."""
    return (Ok(), Err()) if isinstance(type_, ResultOf) else tuple(name for name, _ in cases)


def _flags(source: Source, type_: Any, shape: Shape, place: Place) -> str:
    bits = [(1 << index, name) for index, name in enumerate(type_.names)]

    def known(number: int) -> frozenset[str]:
        return frozenset([name for bit, name in bits if number & bit])

    return f"{source.constant(known)}({_discriminant(source, shape, place)})"


def _handle(source: Source, type_: Any, shape: Shape, place: Place) -> str:
    if type_.resource is None:
        raise UnsupportedType("a handle of an unknown resource cannot be passed: import its interface")
    lift = partial(take if type_.owned else lend, source.resource_number(type_.resource))
    return f"{source.constant(lift)}({source.number('I', place.offset)})"


_SCOPE: Final[dict[str, Any]] = {
    "BUDGET": BUDGET,
    "Ok": Ok,
    "Err": Err,
    "Some": Some,
    "misaligned": misaligned,
    "no_case": no_case,
    "no_character": no_character,
    "not_unicode": not_unicode,
    "too_long": too_long,
    "too_big": too_big,
    "Oversize": Oversize,
    "begin": begin,
    "check_utf8": check_utf8,
}

_EMITTERS: Final[dict[type, Callable[[Source, Any, Shape, Place], str]]] = {
    Primitive: _primitive,
    ListOf: _list,
    RecordOf: _record,
    TupleOf: _tuple,
    VariantOf: _variant,
    EnumOf: _enum,
    OptionOf: _option,
    ResultOf: _variant,
    FlagsOf: _flags,
    Handle: _handle,
}
