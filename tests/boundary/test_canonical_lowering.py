from __future__ import annotations

import struct
from typing import Any

import pytest

from guesthouse.wasm.abi import lower_memory
from guesthouse.wasm.abi.lower_memory import MAX_BYTES, room
from guesthouse.wasm.abi.signatures import ResultWriter, lower_parameters, lower_result
from guesthouse.wasm.errors import ConversionError, NotUnicode, OutOfRange, WrongType
from guesthouse.wasm.types import (
    BOOL,
    CHAR,
    F32,
    F64,
    S16,
    STRING,
    U8,
    U16,
    U32,
    U64,
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
)
from guesthouse.wasm.values import OK, Err, FirstOf, Form, Ok, Some, Utf8

from . import abi_model as model
from .fake_memory import CoreArguments, FakeMemory
from .values import INTEGERS, comparable, in_order

ROOM = 4096
ENUM = EnumOf(("red", "green"))
FLAGS = FlagsOf(("read", "write"))
VARIANT = VariantOf((("none", None), ("some", U8)))
RECORD = RecordOf((("age", U8), ("name", STRING)))
RESOURCE = ("wasi:io/poll@0.2.0", "pollable")


def number(resource: tuple[str, str]) -> int:
    return model.RESOURCE


def written(type_: WitType, value: Any, forms: tuple[Form, ...] = ()) -> Any:
    """What the guest finds of a host call's result."""
    writer = lower_result(type_, forms, number)
    if not writer.by_address:
        slot = CoreArguments([("i64", 2**64 - 1)], 0, 16)
        writer.write(value, FakeMemory(b"").linear, slot.address)
        return model.Model(bytearray()).lift_flat(type_, [int.from_bytes(slot.bytes_of(0, 8), "little")])
    memory = FakeMemory(bytes([0xCC]) * ROOM, top=1024)
    writer.write(value, memory.linear, 16)
    memory.check_guards()
    return model.Model(memory.content).load(type_, 16)


def every_way(type_: WitType, value: Any) -> list[Any]:
    """As a result in memory, as one that may be flat, as an element and as a parameter."""
    memory = FakeMemory(bytes(ROOM))
    [found] = written(TupleOf((TupleOf((type_,)), STRING)), ((value,), ""))[0]
    core = lower_parameters((type_,), number)((value,), memory.linear)
    flat = model.Model(memory.content).lift_flat(type_, [bits for _, bits in core])
    return [found, written(type_, value), written(ListOf(type_), [value])[0], flat]


@pytest.mark.parametrize("type_", INTEGERS, ids=lambda type_: type_.name)
def test_an_integer_outside_its_width_is_out_of_range(type_: Primitive) -> None:
    low, high = INTEGERS[type_]
    for fits in (low, high):
        if type_ != U8:
            assert every_way(type_, fits) == [fits] * 4
    for over in (low - 1, high + 1, -(2**64), 2**64, 10**30):
        outers: list[tuple[WitType, Any]] = [
            (type_, over),
            (OptionOf(type_), over),
            (ListOf(TupleOf((type_,))), [(over,)]),
            (RecordOf((("a", type_), ("b", STRING))), {"a": over, "b": ""}),
        ]
        for outer, value in outers:
            with pytest.raises(OutOfRange, match=f"{over} does not fit {type_.name}"):
                written(outer, value)


def test_a_list_of_numbers_names_the_one_that_does_not_fit() -> None:
    for values in ([1, 2, 65_536], [-1], [0] * 50 + [70_000]):
        with pytest.raises(OutOfRange, match=f"{values[-1]} does not fit u16"):
            written(ListOf(U16), values)
    with pytest.raises(OutOfRange, match="does not fit f32"):
        written(ListOf(F32), [1.0, 1e39])
    for type_, wrong in [(U16, True), (F64, 1), (BOOL, 1), (S16, 1.0), (U16, None)]:
        with pytest.raises(WrongType):
            written(ListOf(type_), [wrong])


def test_a_float_too_large_for_f32_is_out_of_range() -> None:
    with pytest.raises(OutOfRange, match="does not fit f32"):
        every_way(F32, 1e39)


WRONG: list[tuple[WitType, Any]] = [
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
    (ENUM, FirstOf((("blue", None), ("red", 1)))),
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
    (VARIANT, FirstOf((("none", 1), ("some", None)))),
    (OptionOf(U8), "x"),
    (OptionOf(U8), Some(1)),
    (OptionOf(OptionOf(U8)), 1),
    (ResultOf(U8, None), 1),
    (ResultOf(U8, None), Ok()),
    (ResultOf(U8, None), Err(1)),
    (ResultOf(None, U8), Ok(1)),
    (ResultOf(None, None), None),
    (Handle(True, RESOURCE), 1),
    (Handle(True, RESOURCE), (model.RESOURCE + 1, 1)),
    (Handle(True, RESOURCE), (model.RESOURCE, 1, 1)),
    (Handle(True, RESOURCE), (model.RESOURCE, "1")),
]


@pytest.mark.parametrize(("type_", "value"), WRONG, ids=in_order)
def test_a_value_of_another_kind_is_the_wrong_type(type_: WitType, value: Any) -> None:
    memory = FakeMemory(bytes(ROOM)).linear
    with pytest.raises(WrongType):
        written(type_, value)
    with pytest.raises(WrongType):
        written(TupleOf((type_, STRING)), (value, ""))
    with pytest.raises(WrongType):
        written(ListOf(type_), [value])
    with pytest.raises(WrongType):
        lower_parameters((type_,), number)((value,), memory)


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", "\udc80\ud800"])
def test_a_lone_surrogate_is_not_unicode(text: str) -> None:
    with pytest.raises(NotUnicode, match="surrogate"):
        every_way(STRING, text)
    with pytest.raises(NotUnicode, match="surrogate"):
        every_way(CHAR, text.strip("ok ")[0])


def test_an_error_names_the_record_field_that_is_missing() -> None:
    with pytest.raises(WrongType, match="misses the field 'name'"):
        written(RECORD, {"age": 1})


def test_further_keys_of_a_record_are_ignored() -> None:
    record = {"age": 1, "name": "x"}
    assert every_way(RECORD, record | {"newer": object()}) == [record] * 4


def test_text_that_is_utf8_already_is_text() -> None:
    assert every_way(STRING, Utf8("é".encode())) == ["é"] * 4
    assert every_way(OptionOf(STRING), Utf8(b"")) == [""] * 4


def test_of_cases_that_a_type_may_not_have_the_first_that_it_has_is_taken() -> None:
    assert every_way(ENUM, FirstOf((("blue", None), ("green", None), ("red", None)))) == ["green"] * 4
    choice = FirstOf((("none", 1), ("some", 2), ("none", None)))
    assert every_way(VARIANT, choice) == [("some", 2)] * 4


def test_room_is_asked_for_as_the_type_needs_it_and_for_nothing_too() -> None:
    memory = FakeMemory(bytes(ROOM), top=513)
    type_ = TupleOf((STRING, ListOf(U64), ListOf(TupleOf((U16, U8))), ListOf(U8)))
    writer = lower_result(type_, (), number)
    writer.write(("", [], [], b""), memory.linear, 0)
    assert [(align, size) for align, size, _ in memory.allocations] == [(1, 0), (8, 0), (2, 0), (1, 0)]
    pointers = struct.unpack_from("<8I", memory.content)
    assert [pointer % align for pointer, align in zip(pointers[::2], (1, 8, 2, 1), strict=True)] == [0] * 4
    memory.allocations.clear()
    writer.write(("ab", [1, 2, 3], [(1, 2)], b"abc"), memory.linear, 0)
    assert [(align, size) for align, size, _ in memory.allocations] == [(1, 2), (8, 24), (2, 4), (1, 3)]


def test_over_sixteen_parameters_are_written_to_memory() -> None:
    memory = FakeMemory(bytes(ROOM), top=3)
    types = (*[U8] * 16, U64)
    core = lower_parameters(types, number)((*range(16), 2**63), memory.linear)
    assert memory.allocations == [(8, 24, 8)]
    assert core == [("i32", 8)]
    assert model.Model(memory.content).load(TupleOf(types), 8) == (*range(16), 2**63)


def test_what_no_guest_can_take_is_refused_before_it_is_asked_for_room() -> None:
    memory = FakeMemory(bytes(ROOM))
    with pytest.raises(OutOfRange, match="do not fit a guest"):
        room(memory.linear, 1, MAX_BYTES + 1)
    assert memory.allocations == []


def test_text_that_no_guest_can_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lower_memory, "MAX_BYTES", 8)
    memory = FakeMemory(bytes(ROOM), top=64)
    writer = lower_result(STRING, (), number)
    writer.write("8 bytes.", memory.linear, 0)
    with pytest.raises(OutOfRange, match="9 bytes do not fit a guest"):
        writer.write("9 bytes..", memory.linear, 0)
    assert len(memory.allocations) == 1


def test_a_negative_number_fills_a_core_result_as_wide_as_its_type() -> None:
    slot = CoreArguments([("i64", 0)], 0, 16)
    memory = FakeMemory(b"").linear
    lower_result(S16, (), number).write(-1, memory, slot.address)
    assert slot.bytes_of(0, 8) == struct.pack("<Q", 2**32 - 1)
    lower_result(F32, (), number).write(1.0, memory, slot.address)
    assert slot.bytes_of(0, 8) == struct.pack("<fxxxx", 1.0)


EVENT = RecordOf((("channel", U32), ("kind", ENUM), ("text", STRING)))
FORM = Form(("ok", "event"), ("channel", "kind", "text"))
RECEIVED = ResultOf(VariantOf((("other", U64), ("event", EVENT))), ENUM)


def test_a_form_is_written_like_the_value_that_it_stands_for() -> None:
    value = (FORM, 7, "green", "text")
    expected = Ok(("event", {"channel": 7, "kind": "green", "text": "text"}))
    assert FORM.expand(value[1:]) == expected
    assert written(RECEIVED, value, (FORM,)) == written(RECEIVED, expected, (FORM,)) == expected


class Ready(Form, frozen=True):
    """A form that stands ready where the type has it."""

    def expand(self, values: tuple[Any, ...]) -> Any:
        raise AssertionError("it is written as it stands")


def test_a_form_that_the_type_has_is_not_made_a_value_first() -> None:
    form = Ready(FORM.path, FORM.fields)
    assert written(RECEIVED, (form, 7, "green", "x"), (form,)) == FORM.expand((7, "green", "x"))


@pytest.mark.parametrize(
    "type_",
    [
        ResultOf(VariantOf((("event", RecordOf((*EVENT.fields[1:], EVENT.fields[0]))),)), None),
        ResultOf(VariantOf((("event", RecordOf(EVENT.fields[:2])), ("more", U8))), STRING),
        OptionOf(STRING),
    ],
    ids=["another order", "fewer fields", "another type"],
)
def test_a_form_of_another_shape_than_the_type_is_a_value_like_any_other(type_: WitType) -> None:
    value = (FORM, 7, "green", "text")
    if isinstance(type_, OptionOf):
        with pytest.raises(WrongType):
            written(type_, value, (FORM,))
        return
    [(_, carried)] = [written(type_, value, (FORM,)).value]
    assert carried.items() <= {"channel": 7, "kind": "green", "text": "text"}.items()


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ((2**32, "green", ""), OutOfRange),
        ((True, "green", ""), WrongType),
        ((7, "blue", ""), WrongType),
        ((7, ["red"], ""), WrongType),
        ((7, "red", "\ud800"), NotUnicode),
        ((7, "red"), ValueError),
    ],
    ids=in_order,
)
def test_the_fields_of_a_form_are_checked_like_any(values: Any, error: type[ConversionError]) -> None:
    with pytest.raises(error):
        written(RECEIVED, (FORM, *values), (FORM,))


def test_what_is_returned_most_is_told_from_all_else() -> None:
    types: list[tuple[WitType, list[Any]]] = [
        (ResultOf(None, ENUM), [OK, Ok(), Err("green")]),
        (OptionOf(STRING), [None, "", "x"]),
        (OptionOf(OptionOf(U8)), [None, Some(None), Some(1)]),
        (ResultOf(None, OptionOf(STRING)), [OK, Ok(), Err(None), Err("x")]),
    ]
    for type_, values in types:
        for value in values:
            assert comparable(written(type_, value)) == comparable(value)


def test_a_writer_says_whether_it_wants_an_address() -> None:
    by_address = {type_: lower_result(type_, (), number).by_address for type_ in (U64, ENUM, TupleOf((F32,)))}
    assert not any(by_address.values())
    assert isinstance(lower_result(STRING, (), number), ResultWriter)
    assert lower_result(STRING, (), number).by_address
    assert lower_result(OptionOf(U8), (), number).by_address
