"""Random WIT types, and random values of a given type, for hypothesis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from guesthouse.wasm.types import (
    BOOL,
    CHAR,
    F32,
    F64,
    S8,
    S16,
    S32,
    S64,
    STRING,
    U8,
    U16,
    U32,
    U64,
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

INTEGERS: Final = {
    S8: (-(2**7), 2**7 - 1),
    U8: (0, 2**8 - 1),
    S16: (-(2**15), 2**15 - 1),
    U16: (0, 2**16 - 1),
    S32: (-(2**31), 2**31 - 1),
    U32: (0, 2**32 - 1),
    S64: (-(2**63), 2**63 - 1),
    U64: (0, 2**64 - 1),
}
"""The least and the greatest value of each."""

PRIMITIVES: Final = (*INTEGERS, BOOL, F32, F64, CHAR, STRING)
MAX_FLAGS: Final = 32

_names = st.from_regex(r"[a-z][a-z0-9]{0,7}(-[a-z][a-z0-9]{0,3}){0,2}", fullmatch=True)


def _name_lists(longest: int) -> st.SearchStrategy[list[str]]:
    return st.lists(_names, min_size=1, max_size=longest, unique=True)


@st.composite
def _named(draw: st.DrawFn, types: st.SearchStrategy[Any], longest: int) -> tuple[tuple[str, Any], ...]:
    # Names first: a list of pairs that draws one anew describes all of `types` for it, which is too long.
    return tuple((name, draw(types)) for name in draw(_name_lists(longest)))


def _compound(types: st.SearchStrategy[WitType]) -> st.SearchStrategy[WitType]:
    maybe = st.none() | types
    return st.one_of(
        types.map(ListOf),
        types.map(OptionOf),
        st.lists(types, min_size=1, max_size=5).map(lambda elements: TupleOf(tuple(elements))),
        _named(types, 6).map(RecordOf),
        _named(maybe, 6).map(VariantOf),
        st.builds(ResultOf, maybe, maybe),
    )


_leaves = st.one_of(
    st.sampled_from(PRIMITIVES),
    st.just(ListOf(U8)),
    _name_lists(40).map(lambda names: EnumOf(tuple(names))),
    _name_lists(MAX_FLAGS).map(lambda names: FlagsOf(tuple(names))),
)

wit_types: Final[st.SearchStrategy[WitType]] = st.recursive(_leaves, _compound, max_leaves=8)
"""Any type that the boundary passes, resources aside."""

_scalars = st.characters(codec="utf-8")
"""Every character but surrogates."""

_SIMPLE: Final[dict[Primitive, st.SearchStrategy[Any]]] = {
    BOOL: st.booleans(),
    F32: st.floats(width=32),
    F64: st.floats(),
    CHAR: _scalars,
    STRING: st.text(_scalars, max_size=40),
} | {type_: st.integers(*limits) for type_, limits in INTEGERS.items()}


def values_of(type_: WitType) -> st.SearchStrategy[Any]:
    """Values of a type, as `boundary.values` says they look."""
    match type_:
        case Primitive():
            return _SIMPLE[type_]
        case ListOf(element) if element == U8:
            return st.binary(max_size=40)
        case ListOf(element):
            return st.lists(values_of(element), max_size=4)
        case TupleOf(elements):
            return st.tuples(*map(values_of, elements))
        case RecordOf(fields):
            return st.fixed_dictionaries({name: values_of(field) for name, field in fields})
        case EnumOf(names):
            return st.sampled_from(names)
        case FlagsOf(names):
            return st.frozensets(st.sampled_from(names))
        case OptionOf(some):
            return st.none() | _some(some)
        case ResultOf(ok, err):
            return _carried(ok).map(Ok) | _carried(err).map(Err)
        case VariantOf(cases):
            return st.one_of([_case(name, payload) for name, payload in cases])
    raise AssertionError(f"no values of {type_}")


def _some(type_: WitType) -> st.SearchStrategy[Any]:
    present = values_of(type_)
    return present.map(Some) if isinstance(type_, OptionOf) else present


def _carried(type_: WitType | None) -> st.SearchStrategy[Any]:
    return st.none() if type_ is None else values_of(type_)


def _case(name: str, payload: WitType | None) -> st.SearchStrategy[Any]:
    return st.just(name) if payload is None else st.tuples(st.just(name), values_of(payload))


def comparable(value: Any) -> Any:
    """A form in which equal means: the guest could not tell the two apart (NaN is NaN, 0.0 is not -0.0)."""
    return _FORMS.get(type(value), lambda plain: plain)(value)


def _float(value: float) -> str:
    return "nan" if math.isnan(value) else value.hex()


_FORMS: Final[dict[type, Callable[[Any], Any]]] = {
    float: _float,
    bool: lambda value: ("bool", value),
    list: lambda value: [comparable(part) for part in value],
    tuple: lambda value: tuple(comparable(part) for part in value),
    dict: lambda value: {name: comparable(part) for name, part in value.items()},
    Some: lambda value: ("some", comparable(value.value)),
    Ok: lambda value: ("ok", comparable(value.value)),
    Err: lambda value: ("err", comparable(value.value)),
}


def in_order(value: object) -> str:
    """The name of a parameter: the same in every process, whatever the order of a set."""
    return repr(sorted(value)) if isinstance(value, set | frozenset) else repr(value)
