from __future__ import annotations

from typing import Any

import pytest
from tests.boundary.whole.arena import Arena
from tests.boundary.whole.capi import VAL_SIZE
from tests.boundary.whole.lower import lower

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.errors import ConversionError, NotUnicode, OutOfRange, WrongType
from guesthouse.wasm.types import (
    BOOL,
    CHAR,
    F32,
    F64,
    STRING,
    U8,
    U16,
    U32,
    EnumOf,
    FlagsOf,
    ListOf,
    OptionOf,
    Primitive,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)
from guesthouse.wasm.values import Err, Ok, Some

from .components import PADDING, in_memory
from .harness import Recorder, death_of, load, run
from .values import INTEGERS, in_order

PADS = (0,) * PADDING
ENUM = EnumOf(("red", "green"))
FLAGS = FlagsOf(("read", "write"))
VARIANT = VariantOf((("none", None), ("some", U8)))
RECORD = RecordOf((("age", U8), ("name", STRING)))


def write(type_: WitType, value: Any, arena: Arena | None = None) -> None:
    arena = Arena() if arena is None else arena
    lower(type_)(value, arena.take(VAL_SIZE), arena)


@pytest.mark.parametrize("type_", INTEGERS, ids=lambda type_: type_.name)
def test_an_integer_outside_its_width_is_out_of_range(type_: Primitive) -> None:
    low, high = INTEGERS[type_]
    for fits in (low, high):
        write(type_, fits)
    for over in (low - 1, high + 1, -(2**64), 2**64, 10**30):
        with pytest.raises(OutOfRange, match=f"{over} does not fit {type_.name}"):
            write(type_, over)


def test_a_float_too_large_for_f32_is_out_of_range() -> None:
    with pytest.raises(OutOfRange, match="does not fit f32"):
        write(F32, 1e39)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (U8, True),
        (U8, 1.0),
        (U8, "1"),
        (U8, None),
        (BOOL, 1),
        (BOOL, None),
        (F32, 1),
        (F64, "1"),
        (CHAR, "ab"),
        (CHAR, ""),
        (CHAR, 65),
        (STRING, b"text"),
        (STRING, None),
        (ListOf(U8), [1, 2]),
        (ListOf(U8), bytearray(b"x")),
        (ListOf(U8), "x"),
        (ListOf(U16), (1, 2)),
        (ListOf(U16), b"ab"),
        (ListOf(U16), [1, "2"]),
        (TupleOf((U8, U8)), (1,)),
        (TupleOf((U8, U8)), (1, 2, 3)),
        (TupleOf((U8, U8)), [1, 2]),
        (RECORD, {"age": 1}),
        (RECORD, {"age": 1, "name": 2}),
        (RECORD, (1, "x")),
        (RECORD, {}),
        (ENUM, "blue"),
        (ENUM, 0),
        (ENUM, None),
        (FLAGS, {"read", "execute"}),
        (FLAGS, {1}),
        (FLAGS, ["read"]),
        (FLAGS, "read"),
        (VARIANT, "other"),
        (VARIANT, ("none", 1)),
        (VARIANT, ("some", None)),
        (VARIANT, "some"),
        (VARIANT, ("some", 1, 2)),
        (VARIANT, (["some"], 1)),
        (VARIANT, 1),
        (OptionOf(U8), "x"),
        (OptionOf(U8), Some(1)),
        (OptionOf(OptionOf(U8)), 1),
        (ResultOf(U8, None), 1),
        (ResultOf(U8, None), Ok()),
        (ResultOf(U8, None), Err(1)),
        (ResultOf(None, U8), Ok(1)),
        (ResultOf(None, None), None),
    ],
    ids=in_order,
)
def test_a_value_of_another_kind_is_the_wrong_type(type_: WitType, value: Any) -> None:
    arena = Arena()
    with pytest.raises(WrongType):
        write(type_, value, arena)


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", "\udc80\ud800"])
def test_a_lone_surrogate_is_not_unicode(text: str) -> None:
    with pytest.raises(NotUnicode, match="surrogate"):
        write(STRING, text)
    with pytest.raises(NotUnicode, match="surrogate"):
        write(CHAR, text.strip("ok ")[0])


def test_an_error_names_the_record_field_that_is_missing() -> None:
    with pytest.raises(WrongType, match="misses the field 'name'"):
        write(RECORD, {"age": 1})


def test_further_keys_of_a_record_are_ignored() -> None:
    recorder = Recorder()
    run(load(in_memory(RECORD), recorder.calls), ({"age": 1, "name": "x", "newer": object()}, *PADS))
    assert recorder.taken == [({"age": 1, "name": "x"}, *PADS)]


@pytest.mark.parametrize(
    ("type_", "good", "bad", "error"),
    [
        (U8, 1, 256, OutOfRange),
        (STRING, "x", "\ud800", NotUnicode),
        (ENUM, "red", "blue", WrongType),
        (FLAGS, frozenset(), {"execute"}, WrongType),
        (VARIANT, "none", "never", WrongType),
        (RECORD, {"age": 1, "name": "x"}, {"age": 1}, WrongType),
        (ListOf(U32), [1, 2], [1, 2**32], OutOfRange),
        (ListOf(RECORD), [], [{"age": 1, "name": "x"}, {"age": 1}], WrongType),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_result_of_a_host_call_traps_its_caller_alone(
    type_: WitType, good: Any, bad: Any, error: type[ConversionError]
) -> None:
    recorder = Recorder()
    component = load(in_memory(type_), recorder.calls)
    returned = iter([bad])
    calls = recorder.calls
    lying = load(
        in_memory(type_), type(calls)({"echo": lambda owner, value: (next(returned), *PADS), "take": print})
    )
    trap = death_of(lying, (good, *PADS))
    assert trap.cause == ExitCause.HOST_FAULT
    assert trap.detail.startswith(f"{error.__name__}: ")
    run(component, (good, *PADS))
    assert recorder.taken == [(good, *PADS)]


def test_a_conversion_that_fails_half_way_leaves_nothing_in_the_arena_for_the_next() -> None:
    wide = TupleOf((ListOf(U8), ListOf(ListOf(U8)), U8))
    results = iter([(b"a" * 9000, [b"b" * 100] * 50, 256), (b"c" * 10, [b"d"], 1)])
    recorder = Recorder()
    calls = type(recorder.calls)(
        {
            "echo": lambda owner, value: (next(results), *PADS),
            "take": lambda owner, value: taken.append(value[0]),
        }
    )
    taken: list[Any] = []
    component = load(in_memory(wide), calls)
    argument: Any = ((b"", [], 0), *PADS)
    assert death_of(component, argument).cause == ExitCause.HOST_FAULT
    run(component, argument)
    assert taken == [(b"c" * 10, [b"d"], 1)]
