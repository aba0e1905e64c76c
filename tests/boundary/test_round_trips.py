from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples

from guesthouse.wasm.types import (
    BOOL,
    F32,
    F64,
    U8,
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

from .components import MAX_FLAT, PADDING, core_types, flat, flat_echo, in_memory
from .harness import Recorder, load, run
from .values import INTEGERS, PRIMITIVES, comparable, values_of, wit_types

property_settings = settings(
    max_examples=examples(50),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

PADS = tuple(range(PADDING))


def _through_memory(type_: WitType, values: list[Any]) -> None:
    recorder = Recorder()
    component = load(in_memory(type_), recorder.calls)
    for value in values:
        run(component, (value, *PADS))
    expected = [comparable((value, *PADS)) for value in values]
    assert [comparable(value) for value in recorder.echoed] == expected
    assert [comparable(value) for value in recorder.taken] == expected
    assert recorder.calls.types["take"].params[0][1].elements[0] == type_  # type: ignore[union-attr]


def _through_core_parameters(type_: WitType, values: list[Any]) -> None:
    recorder = Recorder()
    single = len(core_types(type_)) == 1
    component = load(flat_echo(type_) if single else flat(type_), recorder.calls)
    for value in values:
        run(component, value)
    expected = [comparable(value) for value in values]
    assert [comparable(value) for value in recorder.taken] == expected
    if single:
        assert [comparable(value) for value in recorder.echoed] == expected


@property_settings
@given(st.data())
def test_any_value_of_any_type_goes_through_memory_and_back_unchanged(data: st.DataObject) -> None:
    type_ = data.draw(wit_types)
    _through_memory(type_, data.draw(st.lists(values_of(type_), min_size=1, max_size=3)))


@property_settings
@given(st.data())
def test_any_value_of_any_small_type_goes_through_core_parameters_unchanged(data: st.DataObject) -> None:
    type_ = data.draw(wit_types.filter(lambda type_: len(core_types(type_)) <= MAX_FLAT))
    _through_core_parameters(type_, data.draw(st.lists(values_of(type_), min_size=1, max_size=3)))


@pytest.mark.parametrize("type_", PRIMITIVES, ids=lambda type_: type_.name)
@settings(max_examples=examples(15), deadline=None)
@given(data=st.data())
def test_every_primitive_goes_both_ways(type_: Primitive, data: st.DataObject) -> None:
    values = data.draw(st.lists(values_of(type_), min_size=1, max_size=20))
    _through_memory(type_, values)
    _through_core_parameters(type_, values)


@pytest.mark.parametrize("type_", INTEGERS, ids=lambda type_: type_.name)
def test_both_ends_of_each_integer_go_through(type_: Primitive) -> None:
    low, high = INTEGERS[type_]
    _through_memory(type_, [low, low + 1, 0, high - 1, high])
    _through_core_parameters(type_, [low, low + 1, 0, high - 1, high])


def test_special_floats_keep_their_sign_and_kind() -> None:
    special = [0.0, -0.0, float("inf"), -float("inf"), float("nan"), 5e-324, 1.5]
    _through_memory(F64, special)
    _through_memory(
        F32, [0.0, -0.0, float("inf"), -float("inf"), float("nan"), 2.0**-149, 3.4028234663852886e38]
    )


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 16383, 16384, 16385, 1 << 20])
def test_byte_lists_of_every_size_go_both_ways(size: int) -> None:
    data = bytes(index * 7 % 256 for index in range(min(size, 65_536)))
    data = (data * (size // max(len(data), 1) + 1))[:size]
    _through_memory(ListOf(U8), [data])
    _through_memory(TupleOf((ListOf(U8), ListOf(ListOf(U8)))), [(data, [b"x" * 100, data[:5000], b""])])


def test_long_strings_and_lists_go_both_ways() -> None:
    _through_memory(Primitive("string"), ["", "€" * 100_000, "a" * 1_000_000, "\0", "\U0010ffff"])
    _through_memory(ListOf(Primitive("u32")), [[], [1], list(range(10_000))])


def test_an_option_of_an_option_tells_none_from_some_none() -> None:
    type_ = OptionOf(OptionOf(OptionOf(BOOL)))
    _through_memory(type_, [None, Some(None), Some(Some(None)), Some(Some(False))])


@pytest.mark.parametrize("count", [1, 8, 9, 16, 17, 32])
def test_flags_of_every_width_go_both_ways(count: int) -> None:
    names = tuple(f"f{index}" for index in range(count))
    every = [frozenset(), frozenset(names), *(frozenset((name,)) for name in names)]
    _through_memory(FlagsOf(names), every)
    _through_core_parameters(FlagsOf(names), every)


@pytest.mark.parametrize("count", [1, 2, 256, 257, 1000])
def test_enums_and_variants_of_many_cases_go_both_ways(count: int) -> None:
    names = tuple(f"c{index}" for index in range(count))
    _through_memory(EnumOf(names), [names[0], names[-1], names[count // 2]])
    variant = VariantOf(tuple((name, U8 if index % 2 else None) for index, name in enumerate(names)))
    _through_memory(variant, [names[0], (names[1], 9) if count > 1 else names[0]])


def test_results_that_carry_nothing_go_both_ways() -> None:
    _through_memory(ResultOf(None, None), [Ok(), Err()])
    _through_core_parameters(ResultOf(None, None), [Ok(), Err()])
    _through_memory(ResultOf(U8, None), [Ok(3), Err()])
    _through_memory(ResultOf(None, U8), [Ok(), Err(3)])


def test_a_type_nested_as_deep_as_wasmtime_lets_it_goes_through() -> None:
    type_: WitType = U8
    value: Any = 3
    for _ in range(80):
        type_, value = RecordOf((("inner", type_),)), {"inner": value}
    _through_memory(type_, [value])
