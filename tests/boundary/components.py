"""Components as WAT, made for any WIT type: what the property tests send values through.

`in_memory` wraps the type with 17 integers in a tuple, which is over the 16 flat parameters of the
canonical ABI: the value then travels by address, and the guest's code is the same whatever its type.
`flat` passes it as core parameters, for types that fit in those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Final

from guesthouse.wasm.types import (
    U64,
    EnumOf,
    FlagsOf,
    FunctionType,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)

RUN: Final = ("test:types/guest", "run")
MAX_FLAT: Final = 16
"""Core parameters of a function before they move to memory."""
PADDING: Final = 17

NAMED: Final = (RecordOf, VariantOf, EnumOf, FlagsOf)
"""Types that WIT knows by name alone: a component must import them from the interface that has them."""


def padded(type_: WitType) -> TupleOf:
    """A type too wide for core parameters, with `type_` in front."""
    return TupleOf((type_,) + (U64,) * PADDING)


@dataclass
class TypeWriter:
    """Writes the definitions of types, inside the imported instance and once more outside of it."""

    prefix: str = ""
    """Of the names it makes up, where one component holds the work of several writers."""
    inside: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    numbers: count[int] = field(default_factory=count)

    def reference(self, type_: WitType) -> str:
        """Define a type; returns how WAT refers to it, alike in both places."""
        if isinstance(type_, Primitive):
            return type_.name
        body = self._body(type_)
        name = f"{self.prefix}t{next(self.numbers)}"
        if isinstance(type_, NAMED):
            self.inside.append(f'(type ${name}-raw {body}) (export "{name}" (type ${name} (eq ${name}-raw)))')
            self.outside.append(f'(alias export $host "{name}" (type ${name}))')
        else:
            self.inside.append(f"(type ${name} {body})")
            self.outside.append(f"(type ${name} {body})")
        return f"${name}"

    def signature(self, type_: FunctionType) -> str:
        """Define a function's types; returns its parameters and result."""
        params = " ".join(f"(param {_quoted(name)} {self.reference(param)})" for name, param in type_.params)
        result = "" if type_.result is None else f"(result {self.reference(type_.result)})"
        return f"{params} {result}"

    def _body(self, type_: WitType) -> str:
        match type_:
            case ListOf(element):
                return f"(list {self.reference(element)})"
            case OptionOf(some):
                return f"(option {self.reference(some)})"
            case TupleOf(elements):
                return f"(tuple {' '.join(map(self.reference, elements))})"
            case RecordOf(fields):
                return f"(record {' '.join(self._field(*pair) for pair in fields)})"
            case VariantOf(cases):
                return f"(variant {' '.join(self._case(*pair) for pair in cases)})"
            case EnumOf(names) | FlagsOf(names):
                word = "enum" if isinstance(type_, EnumOf) else "flags"
                return f"({word} {' '.join(map(_quoted, names))})"
            case ResultOf(ok, err):
                good = "" if ok is None else f" {self.reference(ok)}"
                bad = "" if err is None else f" (error {self.reference(err)})"
                return f"(result{good}{bad})"
        raise AssertionError(f"no WAT for {type_}")

    def _field(self, name: str, type_: WitType) -> str:
        return f"(field {_quoted(name)} {self.reference(type_)})"

    def _case(self, name: str, payload: WitType | None) -> str:
        carried = "" if payload is None else f" {self.reference(payload)}"
        return f"(case {_quoted(name)}{carried})"


def _quoted(name: str) -> str:
    return f'"{name}"'


MEMORY: Final = """
  (core module $libc
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 65536))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (local $start i32) (local $end i32)
      (local.set $start (i32.and
        (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
      (local.set $end (i32.add (local.get $start) (local.get 3)))
      (block $enough (loop $more
        (br_if $enough (i32.le_u (local.get $end) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (br $more)))
      (global.set $next (local.get $end))
      (local.get $start)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "cabi_realloc" (core func $realloc))
"""
"""A memory and an allocator that grows it and frees nothing."""

_ABI: Final = "(memory $memory) (realloc $realloc)"


def in_memory(type_: WitType, rounds: int = 1) -> str:
    """A guest whose `run(padded)` gives its argument to `echo`, and what that returns to `take`.

    With `rounds` over 1 it does so again and again, with its own argument each time.
    """
    writer = TypeWriter()
    wide = writer.reference(padded(type_))
    functions = {
        "echo": f'(param "value" {wide}) (result {wide})',
        "take": f'(param "value" {wide})',
    }
    core = f"""
  (core module $main
    (import "host" "echo" (func $echo (param i32 i32)))
    (import "host" "take" (func $take (param i32)))
    (import "libc" "memory" (memory 0))
    (import "libc" "cabi_realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (func (export "run") (param $argument i32)
      (local $left i32) (local $result i32)
      (local.set $left (i32.const {rounds}))
      (local.set $result (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 60000)))
      (loop $again
        (call $echo (local.get $argument) (local.get $result))
        (call $take (local.get $result))
        (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"""
    return _component(writer, functions, core, f'(param "value" {wide})')


def flat(type_: WitType) -> str:
    """A guest whose `run(value)` gives its argument to `take`, through core parameters alone."""
    writer = TypeWriter()
    name = writer.reference(type_)
    functions = {"take": f'(param "value" {name})'}
    parameters = core_types(type_)
    signature = f"(param {' '.join(parameters)})"
    arguments = " ".join(f"(local.get {index})" for index in range(len(parameters)))
    core = f"""
  (core module $main
    (import "host" "take" (func $take {signature}))
    (func (export "run") {signature} (call $take {arguments})))"""
    return _component(writer, functions, core, f'(param "value" {name})')


def flat_echo(type_: WitType) -> str:
    """A guest whose `run(value)` takes the result of `echo` as one core value and gives it to `take`."""
    writer = TypeWriter()
    name = writer.reference(type_)
    functions = {
        "echo": f'(param "value" {name}) (result {name})',
        "take": f'(param "value" {name})',
    }
    (core_type,) = core_types(type_)
    core = f"""
  (core module $main
    (import "host" "echo" (func $echo (param {core_type}) (result {core_type})))
    (import "host" "take" (func $take (param {core_type})))
    (func (export "run") (param {core_type}) (call $take (call $echo (local.get 0)))))"""
    return _component(writer, functions, core, f'(param "value" {name})')


def _component(writer: TypeWriter, functions: dict[str, str], core: str, run: str) -> str:
    exports = "\n    ".join(f'(export "{name}" (func {type_}))' for name, type_ in functions.items())
    lowered = "\n  ".join(
        f'(core func ${name} (canon lower (func $host "{name}") {_ABI}))' for name in functions
    )
    offered = " ".join(f'(export "{name}" (func ${name}))' for name in functions)
    inside, outside = "\n    ".join(writer.inside), "\n  ".join(writer.outside)
    return f"""(component
  (import "test:types/host" (instance $host
    {inside}
    {exports}))
  {outside}{MEMORY}
  {lowered}{core}
  (core instance $main (instantiate $main
    (with "libc" (instance $libc)) (with "host" (instance {offered}))))
  (func $run {run} (canon lift (core func $main "run") {_ABI}))
  (instance $guest (export "run" (func $run)))
  (export "{RUN[0]}" (instance $guest)))"""


_CORE: Final = {"s64": "i64", "u64": "i64", "f32": "f32", "f64": "f64"}


def core_types(type_: WitType) -> list[str]:
    """The core parameters that a type becomes (the canonical ABI's `flatten_type`)."""
    match type_:
        case Primitive("string") | ListOf():
            return ["i32", "i32"]
        case Primitive(name):
            return [_CORE.get(name, "i32")]
        case EnumOf() | FlagsOf():
            return ["i32"]
        case TupleOf(elements):
            return [part for element in elements for part in core_types(element)]
        case RecordOf(fields):
            return [part for _, field_type in fields for part in core_types(field_type)]
        case OptionOf(some):
            return ["i32", *core_types(some)]
        case ResultOf(ok, err):
            return ["i32", *_joined([ok, err])]
        case VariantOf(cases):
            return ["i32", *_joined([payload for _, payload in cases])]
    raise AssertionError(f"no core types for {type_}")


def _joined(payloads: list[WitType | None]) -> list[str]:
    """The parameters that all cases share: each wide enough for every case."""
    joined: list[str] = []
    for payload in payloads:
        for index, core in enumerate([] if payload is None else core_types(payload)):
            if index == len(joined):
                joined.append(core)
            elif joined[index] != core:
                joined[index] = "i32" if {joined[index], core} == {"i32", "f32"} else "i64"
    return joined
