"""Values that a guest hands to the host: a real guest points at memory that holds anything."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from tests.boundary.whole.component import Component

from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.types import (
    EnumOf,
    FlagsOf,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
)

from ..boundary.components import TypeWriter, _component, padded
from ..boundary.harness import Recorder, load, run
from .catalogue import target

STRING, U8, U32, U64, CHAR, F64, BOOL = map(Primitive, ("string", "u8", "u32", "u64", "char", "f64", "bool"))
KIND: Final = VariantOf((("text", STRING), ("bytes", ListOf(U8)), ("maybe", OptionOf(U64)), ("none", None)))
VALUE: Final = TupleOf(
    (
        RecordOf((("name", STRING), ("kinds", ListOf(KIND)), ("sign", CHAR), ("size", F64))),
        ResultOf(STRING, U32),
        EnumOf(("one", "two", "three")),
        FlagsOf(tuple(f"f{n}" for n in range(11))),
        ListOf(TupleOf((STRING, BOOL))),
    )
)


@cache
def guest() -> tuple[Component | LinkedComponent, Recorder]:
    """A guest whose `run(memory)` calls `take` with a value that lies where its argument was copied to."""
    writer = TypeWriter()
    wide = writer.reference(padded(VALUE))
    core = """
  (core module $main
    (import "host" "take" (func $take (param i32)))
    (import "libc" "memory" (memory 0))
    (import "libc" "cabi_realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (func (export "run") (param $at i32) (param $size i32) (local $value i32)
      (local.set $value (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 4096)))
      (memory.copy (local.get $value) (local.get $at) (local.get $size))
      (call $take (local.get $value))))"""
    recorder = Recorder()
    wat = _component(writer, {"take": f'(param "value" {wide})'}, core, '(param "memory" (list u8))')
    return load(wat, recorder.calls), recorder


@target(200)
def lifted_value(data: bytes) -> None:
    """The guest traps, or the host has a value of the type: text that is Unicode, cases that there are."""
    component, recorder = guest()
    recorder.taken.clear()
    try:
        run(component, data[:4096])
    except GuestTrap as trap:
        died_of_it(trap)
        return
    (((record, result, case, flags, pairs), *_),) = recorder.taken
    check(record, result, case, flags, pairs)


def died_of_it(trap: GuestTrap) -> None:
    """It is the guest's own fault: no fault of the host's is behind it."""
    assert trap.cause in ("trap", "out-of-memory"), trap.cause


def check(record: Any, result: Any, case: Any, flags: Any, pairs: Any) -> None:
    name, kinds, sign, size = record["name"], record["kinds"], record["sign"], record["size"]
    texts = [name, *(text for text, _ in pairs)]
    assert all(text.encode().decode() == text for text in texts)
    assert len(sign) == 1
    assert not 0xD800 <= ord(sign) < 0xE000
    assert all(kind is not None for kind in kinds)
    assert isinstance(size, float)
    assert case in ("one", "two", "three")
    assert result is not None
    assert flags is not None
    assert all(type(flag) is bool for _, flag in pairs)
