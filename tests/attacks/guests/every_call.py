"""Each call of the contract with each of its texts and lists as long as it likes, made from the contract.

A component of one interface has a function for each of these attempts; the message that it gets says which is made.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from guesthouse.wasm.engine.host_functions import TEXT_BYTES, HostFunction
from guesthouse.wasm.types import (
    STRING,
    U8,
    EnumOf,
    FunctionType,
    ListOf,
    OptionOf,
    RecordOf,
    TupleOf,
    VariantOf,
    WitType,
)
from guesthouse.wasm.values import MAX_LIST
from guesthouse.worker.calls import capabilities, http_server, messaging, spawning, system, tracing
from guesthouse.worker.served import contract

from ...boundary.abi_model import Model, flat_of, flat_params
from ...unit.worker.contract import INCOMING_REQUEST, REQUEST, field_offset
from ...unit.worker.guests import EVENT_AT, RECEIVE, process

CALLS: Final[dict[str, dict[str, HostFunction]]] = {
    "capabilities": capabilities.CALLS,
    "http-server": http_server.CALLS,
    "messaging": messaging.CALLS,
    "spawning": spawning.CALLS,
    "system": system.CALLS,
    "tracing": tracing.CALLS,
}
BYTES: Final = ListOf(U8)
LIMITS: Final = SimpleNamespace(message_bytes=65_536, blob_bytes=65_536)
"""Of the guests that make these calls; those of the others are higher, whatever the settings."""
AT: Final = 4 * 2**20
"""Where what is so long begins: zeros up to the end of a memory of `PAGES`, each of which was written."""
PAGES: Final = 1024
VALUES_AT: Final = 8192
"""Where the other parts of arguments are that are not on the stack."""
RESULT: Final = 2048
BODY_AT: Final = EVENT_AT + field_offset(INCOMING_REQUEST, "request") + field_offset(REQUEST, "body")
ANSWER: Final = "messaging.send-response"
FIRST_DIGIT, DIGITS = 48, 64

SECONDS: Final = 1
"""In which requests expect a response; nobody has the name that they go to."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Long:
    """A text or list of so many bytes or elements."""

    length: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call."""

    call: str
    what: str
    length: int
    code: str


class Arguments(Model):
    """Lowers arguments, `Long` ones by their length alone."""

    def store_list(self, type_: WitType, value: Any) -> tuple[int, int]:
        return (AT, value.length) if isinstance(value, Long) else super().store_list(type_, value)


def signature(call: str) -> FunctionType:
    """The type of a call such as `system.print`."""
    interface, _, name = call.partition(".")
    return contract.FUNCTIONS[f"guesthouse:process/{interface}"][name]


def all_calls(interface: str) -> list[str]:
    """Those of an interface, as this host has them."""
    return [f"{interface}.{name}" for name in CALLS[interface]]


def places(type_: WitType | None) -> Iterator[tuple[Path, WitType]]:
    """The texts and lists in a value of a type, and how to get there."""
    match type_:
        case ListOf(element):
            yield (), type_
            for path, found in places(element):
                yield ("[]", *path), found
        case RecordOf(fields):
            for name, field in fields:
                for path, found in places(field):
                    yield (name, *path), found
        case TupleOf(elements):
            for number, element in enumerate(elements):
                for path, found in places(element):
                    yield (str(number), *path), found
        case OptionOf(some):
            for path, found in places(some):
                yield ("some", *path), found
        case VariantOf(cases):
            for name, payload in cases:
                for path, found in places(payload):
                    yield (name, *path), found
        case _:
            if type_ == STRING:
                yield (), STRING


def value(type_: WitType, path: Path | None = None, long: Long | None = None) -> Any:
    """A plain value of a type, but for what is at the path."""
    if path == ():
        return long
    first, rest = (path[0], path[1:]) if path else ("", None)
    match type_:
        case ListOf(element):
            if type_ == BYTES:
                return b""
            return [value(element, rest, long)] if path else []
        case RecordOf(fields):
            return {
                name: SECONDS
                if name == "expects-response"
                else value(field, rest if name == first else None, long)
                for name, field in fields
            }
        case TupleOf(elements):
            return tuple(
                value(element, rest if str(number) == first else None, long)
                for number, element in enumerate(elements)
            )
        case OptionOf(some):
            return value(some, rest, long) if path else None
        case VariantOf(cases):
            name = first or cases[0][0]
            payload = dict(cases)[name]
            return name if payload is None else (name, value(payload, rest, long))
        case EnumOf(names):
            return names[0]
        case _:
            return "" if type_ == STRING else 0


def lengths(call: str, type_: WitType, limits: Any) -> list[int]:
    """None, around the limit, and what is negative to who forgets that it has no sign."""
    interface, _, name = call.partition(".")
    limit = CALLS[interface][name].most(SimpleNamespace(limits=limits))
    if type_ == STRING and not CALLS[interface][name].utf8:
        limit = min(limit, TEXT_BYTES)
    if isinstance(type_, ListOf) and type_ != BYTES:
        limit = MAX_LIST
    return [0, limit - 1, limit, limit + 1, 2**31, 2**32 - 1]


def attempts(call: str, limits: Any = LIMITS) -> Iterator[Attempt]:
    """A call with each of its texts and lists of each length around what guests with such limits may pass."""
    type_ = signature(call)
    for number, (name, param) in enumerate(type_.params):
        for path, found in places(param):
            for length in lengths(call, found, limits):
                values = [
                    value(each, path if at == number else None, Long(length))
                    for at, (_, each) in enumerate(type_.params)
                ]
                what = f"{call} with {'.'.join((name, *path))} of {length}"
                yield Attempt(call, what, length, calling(call, values))


def plain(call: str) -> str:
    """A call with the shortest arguments."""
    return calling(call, [value(type_) for _, type_ in signature(call).params])


def in_a_line(code: str, times: int) -> str:
    """The same so often, with something in it that an archive cannot make small."""
    numbers = random.Random(1).sample(range(2**31), times)
    return "".join(f"{code} (i32.store (i32.const {RESULT - 8}) (i32.const {number}))" for number in numbers)


def calling(call: str, values: list[Any]) -> str:
    """The instructions of a call."""
    type_ = signature(call)
    types = [each for _, each in type_.params]
    model = Arguments(bytearray(AT), VALUES_AT)
    if flat_params(types) == [core for each in types for core in flat_of(each)]:
        core = [part for each, of in zip(types, values, strict=True) for part in model.lower_flat(each, of)]
        arguments = [f"({kind}.const {bits})" for kind, bits in core]
    else:
        all_of_them = TupleOf(tuple(types))
        at = model.room(8, 512)
        model.store(all_of_them, tuple(values), at)
        arguments = [f"(i32.const {at})"]
    stores = "".join(
        f"(i32.store8 (i32.const {at}) (i32.const {byte}))"
        for at, byte in enumerate(model.memory[VALUES_AT : model.top], VALUES_AT)
        if byte
    )
    result = [] if type_.result is None else flat_of(type_.result)
    if len(result) > 1:
        arguments.append(f"(i32.const {RESULT})")
    made = f"(call ${call.partition('.')[2]} {' '.join(arguments)})"
    room = f"(memory.fill (i32.const {VALUES_AT}) (i32.const 0) (i32.const {model.top - VALUES_AT}))"
    return f"{room if stores else ''}{stores}{f'(drop {made})' if len(result) == 1 else made}"


def body_of(number: int) -> str:
    """The message by which that attempt is made."""
    return chr(FIRST_DIGIT + number // DIGITS) + chr(FIRST_DIGIT + number % DIGITS)


def component(codes: list[str], calls: list[str]) -> str:
    """A process that does what the message says, by its number, and answers."""
    functions = "\n".join(f"(func $do{number} {code})" for number, code in enumerate(codes))
    choose = "".join(
        f"(if (i32.eq (local.get $which) (i32.const {number})) (then (call $do{number})))"
        for number in range(len(codes))
    )

    def digit(offset: int) -> str:
        at = f"(i32.load8_u (i32.add (i32.load (i32.const {BODY_AT})) (i32.const {offset})))"
        return f"(i32.sub {at} (i32.const {FIRST_DIGIT}))"

    which = f"(i32.add (i32.mul {digit(0)} (i32.const {DIGITS})) {digit(1)})"
    imported = tuple(dict.fromkeys(("messaging.receive", ANSWER, *calls)))
    return process(
        imported,
        f"""(local $which i32)
      (if (i32.lt_u (memory.size) (i32.const {PAGES}))
        (then
          (drop (memory.grow (i32.sub (i32.const {PAGES}) (memory.size))))
          (memory.fill (i32.const {AT}) (i32.const 0) (i32.const {PAGES * 65536 - AT}))))
      (loop $next {RECEIVE} (local.set $which {which}) {choose}
        {plain(ANSWER)} (br $next))""",
        functions,
        types={call.partition(".")[2]: signature(call) for call in imported},
    )
