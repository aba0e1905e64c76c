from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guesthouse.wasm.abi.layout import MAX_DEPTH, Known, core_signature, shape_of
from guesthouse.wasm.errors import UnsupportedType
from guesthouse.wasm.types import (
    BOOL,
    CHAR,
    F32,
    F64,
    S8,
    S64,
    STRING,
    U8,
    U16,
    U32,
    U64,
    EnumOf,
    FlagsOf,
    FunctionType,
    Handle,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)

from . import abi_model as model
from .values import wit_types


def names(count: int) -> tuple[str, ...]:
    return tuple(f"n{index}" for index in range(count))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(type_=wit_types)
def test_any_type_is_laid_out_as_the_model_says(type_: WitType) -> None:
    shape = shape_of(type_)
    assert (shape.size, shape.align) == (model.size_of(type_), model.align_of(type_))
    assert shape.flat == tuple(model.flat_of(type_))


@pytest.mark.parametrize(
    ("type_", "size", "align", "flat"),
    [
        (BOOL, 1, 1, "i32"),
        (S8, 1, 1, "i32"),
        (U16, 2, 2, "i32"),
        (U32, 4, 4, "i32"),
        (S64, 8, 8, "i64"),
        (F32, 4, 4, "f32"),
        (F64, 8, 8, "f64"),
        (CHAR, 4, 4, "i32"),
        (STRING, 8, 4, "i32 i32"),
        (ListOf(U64), 8, 4, "i32 i32"),
        (Handle(True), 4, 4, "i32"),
        (Handle(False), 4, 4, "i32"),
        (TupleOf((U8, U64, U8)), 24, 8, "i32 i64 i32"),
        (RecordOf((("a", U8), ("b", U16), ("c", U8))), 6, 2, "i32 i32 i32"),
        (OptionOf(U8), 2, 1, "i32 i32"),
        (OptionOf(U64), 16, 8, "i32 i64"),
        (ResultOf(None, None), 1, 1, "i32"),
        (ResultOf(F32, U32), 8, 4, "i32 i32"),
        (ResultOf(F32, F64), 16, 8, "i32 i64"),
        (ResultOf(F64, F64), 16, 8, "i32 f64"),
        (ResultOf(U32, F64), 16, 8, "i32 i64"),
        (VariantOf((("a", F32), ("b", U32), ("c", F64))), 16, 8, "i32 i64"),
        (VariantOf((("a", TupleOf((F32, F32))), ("b", F32))), 12, 4, "i32 f32 f32"),
        (EnumOf(names(256)), 1, 1, "i32"),
        (EnumOf(names(257)), 2, 2, "i32"),
        (EnumOf(names(65_536)), 2, 2, "i32"),
        (EnumOf(names(65_537)), 4, 4, "i32"),
        (VariantOf(tuple((name, U8) for name in names(257))), 4, 2, "i32 i32"),
        (FlagsOf(names(8)), 1, 1, "i32"),
        (FlagsOf(names(9)), 2, 2, "i32"),
        (FlagsOf(names(16)), 2, 2, "i32"),
        (FlagsOf(names(17)), 4, 4, "i32"),
        (FlagsOf(names(32)), 4, 4, "i32"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_type_has_the_size_the_alignment_and_the_core_types_of_the_abi(
    type_: WitType, size: int, align: int, flat: str
) -> None:
    shape = shape_of(type_)
    assert (shape.size, shape.align, " ".join(shape.flat)) == (size, align, flat)


def function(result: WitType | None, *params: WitType) -> FunctionType:
    return FunctionType(tuple((f"p{index}", param) for index, param in enumerate(params)), result)


@pytest.mark.parametrize(
    ("type_", "signature"),
    [
        (function(None), ((), ())),
        (function(U64, F32), (("f32",), ("i64",))),
        (function(STRING, U8), (("i32", "i32"), ())),
        (function(ResultOf(None, None)), ((), ("i32",))),
        (function(None, *[U64] * 16), (("i64",) * 16, ())),
        (function(None, *[U64] * 17), (("i32",), ())),
        (function(STRING, *[U64] * 16), ((*["i64"] * 16, "i32"), ())),
        (function(OptionOf(U8), *[STRING] * 9), (("i32", "i32"), ())),
    ],
    ids=str,
)
def test_a_function_has_the_core_signature_of_the_abi(type_: FunctionType, signature: Any) -> None:
    assert core_signature(type_) == signature


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(params=st.lists(wit_types, max_size=6), result=st.none() | wit_types)
def test_any_function_has_the_core_signature_that_the_model_says(
    params: list[WitType], result: WitType | None
) -> None:
    expected, results = model.flat_params(params), model.flat_of(result) if result else []
    by_address = len(results) > 1
    assert core_signature(function(result, *params)) == (
        (*expected, "i32") if by_address else tuple(expected),
        () if by_address else tuple(results),
    )


@pytest.mark.parametrize(
    "type_", [TupleOf(()), RecordOf(()), VariantOf(()), EnumOf(()), FlagsOf(()), FlagsOf(names(33))], ids=str
)
def test_a_type_that_the_abi_has_no_layout_for_is_not_supported(type_: WitType) -> None:
    with pytest.raises(UnsupportedType):
        shape_of(ListOf(type_))


def test_a_type_that_is_known_already_is_no_deeper_within_others() -> None:
    inner: WitType = U8
    for _ in range(MAX_DEPTH - 2):
        inner = TupleOf((inner,))
    once, twice = TupleOf((inner,)), TupleOf((TupleOf((inner,)),))
    known: Known = {}
    assert shape_of(inner, known=known).height == MAX_DEPTH - 1
    assert shape_of(once, known=known) == shape_of(once)
    with pytest.raises(UnsupportedType, match="nested over 100 deep"):
        shape_of(twice, known=known)


def test_types_that_are_laid_out_together_lie_as_each_does_alone() -> None:
    known: Known = {}
    part = RecordOf((("a", U8), ("b", OptionOf(STRING))))
    for whole in (part, TupleOf((part, U8, part)), ListOf(part), OptionOf(TupleOf((U8, part)))):
        assert shape_of(whole, known=known) == shape_of(whole)


def test_a_type_is_nested_as_deep_as_the_limit_and_no_deeper() -> None:
    type_: WitType = U8
    for _ in range(MAX_DEPTH - 1):
        type_ = OptionOf(type_)
    assert shape_of(type_).size == MAX_DEPTH
    with pytest.raises(UnsupportedType, match="nested over 100 deep"):
        shape_of(OptionOf(type_))
