"""Lowers Python values that are one number in the canonical ABI, checked against their types."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, NoReturn, TypeAlias

from guesthouse.wasm.abi.handles import give
from guesthouse.wasm.abi.layout import Shape
from guesthouse.wasm.abi.lift import ResourceNumber
from guesthouse.wasm.errors import NotUnicode, OutOfRange, UnsupportedType, WrongType, brief
from guesthouse.wasm.types import (
    EnumOf,
    FlagsOf,
    Handle,
    OptionOf,
    Primitive,
    ResultOf,
    VariantOf,
    WitType,
    can_be_none,
)
from guesthouse.wasm.values import INTEGERS, Err, FirstOf, Ok, Some, Utf8

Convert: TypeAlias = Callable[[Any], Any]
"""Converts a value to its number, checked."""

_pack_f32: Final = Struct("<f").pack

CODES: Final = {"bool": "B", "f32": "f", "f64": "d", "char": "I"} | INTEGERS


def wrong(expected: str, value: object) -> WrongType:
    """The error for a value of another type."""
    return WrongType(f"expected {expected}, got {type(value).__name__}")


def convert(type_: WitType, resource_number: ResourceNumber) -> Convert | None:
    """The conversion of a value to a single number; None for types that need more."""
    match type_:
        case Primitive("string"):
            return None
        case Primitive(name):
            return _NUMBERS.get(name) or _integer(name)
        case EnumOf(names):
            return _enum(names)
        case FlagsOf(names):
            return _flags(names)
        case Handle():
            return _handle(type_, resource_number)
    return None


def code_of(type_: WitType, shape: Shape) -> str:
    """The `struct` code of such a number in memory."""
    if isinstance(type_, Primitive):
        return CODES[type_.name]
    return shape.discriminant or "I"


def bounds_of(name: str) -> tuple[int, int]:
    """The smallest and largest value of an integer type."""
    bits = int(name[1:])
    return (0, 2**bits - 1) if name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _integer(name: str) -> Convert:
    low, high = bounds_of(name)

    def number(value: Any) -> int:
        if type(value) is not int:
            raise wrong(name, value)
        if not low <= value <= high:
            raise OutOfRange(f"{value} does not fit {name}")
        return value

    return number


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise wrong("bool", value)
    return value


def _f32(value: Any) -> float:
    if type(value) is not float:
        raise wrong("f32", value)
    try:
        _pack_f32(value)
    except OverflowError:
        raise OutOfRange(f"{value} does not fit f32") from None
    return value


def _f64(value: Any) -> float:
    if type(value) is not float:
        raise wrong("f64", value)
    return value


def _char(value: Any) -> int:
    if type(value) is not str or len(value) != 1:
        raise wrong("one character", value)
    code = ord(value)
    if 0xD800 <= code <= 0xDFFF:
        raise NotUnicode(f"U+{code:04X} is a surrogate, which no char can be")
    return code


_NUMBERS: Final[dict[str, Convert]] = {"bool": _bool, "f32": _f32, "f64": _f64, "char": _char}


def numbers_of(names: tuple[str, ...]) -> dict[str, int]:
    """The number of each case of an enum."""
    return {name: number for number, name in enumerate(names)}


def _enum(names: tuple[str, ...]) -> Convert:
    numbers = numbers_of(names)
    carries = dict.fromkeys(names, False)

    def number(value: Any) -> int:
        if type(value) is FirstOf:
            value = first_fitting(value, carries)[0]
        if type(value) is not str:
            raise wrong("the name of an enum case", value)
        found = numbers.get(value)
        if found is None:
            raise WrongType(f"no case of the enum is {brief(value)}")
        return found

    return number


def first_fitting(value: FirstOf, carries: dict[str, bool]) -> tuple[str, Any]:
    """The first case that the type has; `carries` says which of its cases have a payload."""
    for name, carried in value.cases:
        if carries.get(name) is (carried is not None):
            return name, carried
    raise WrongType(f"no case is one of {[name for name, _ in value.cases]!r}")


def _flags(names: tuple[str, ...]) -> Convert:
    bits = {name: 1 << index for index, name in enumerate(names)}

    def number(value: Any) -> int:
        if not isinstance(value, (set, frozenset)):
            raise wrong("set of flags", value)
        unknown = value - bits.keys()
        if unknown:
            raise WrongType(f"no flag is {brief(next(iter(unknown)))}")
        return sum([bits[name] for name in value])

    return number


def _handle(type_: Handle, resource_number: ResourceNumber) -> Convert:
    if type_.resource is None:
        raise UnsupportedType("a handle of an unknown resource cannot be passed: import its interface")
    expected, fits = resource_number(type_.resource), _integer("u32")

    def number(value: Any) -> Any:
        if type(value) is not tuple or len(value) != 2:
            raise wrong("(resource type, number)", value)
        if value[0] != expected:
            raise WrongType(
                f"expected a resource of the type {expected}, got one of the type {brief(value[0])}"
            )
        return give(expected, fits(value[1]))

    return number


def utf8_of(value: Any) -> bytes | memoryview:
    """The UTF-8 of a string."""
    if type(value) is str:
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise NotUnicode(f"text holds a lone surrogate at {error.start}") from None
    if type(value) is not Utf8:
        raise wrong("string", value)
    data: bytes | memoryview = value.data
    return data


def bytes_of(value: Any) -> bytes | memoryview:
    """The content of a `list<u8>`: bytes, or a view of bytes."""
    if type(value) is not bytes and type(value) is not memoryview:
        raise wrong("bytes for list<u8>", value)
    return value


CaseOf: TypeAlias = Callable[[Any], tuple[int, Any]]
"""Returns the number and the payload of a value's case; None in a case without payload."""


def case_of(type_: VariantOf | OptionOf | ResultOf) -> CaseOf:
    """Compile a function that determines the case of a value."""
    if isinstance(type_, OptionOf):
        return _wrapped if can_be_none(type_.some) else _plain_option
    if isinstance(type_, ResultOf):
        return _result_case(type_)
    return _variant_case(type_)


def _plain_option(value: Any) -> tuple[int, Any]:
    return (0, None) if value is None else (1, value)


def _wrapped(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, None
    if type(value) is not Some:
        raise wrong("Some or None for a nested option", value)
    return 1, value.value


def _carries_nothing(case: str, value: Any) -> NoReturn:
    raise WrongType(f"the case {brief(case)} carries nothing, got {type(value).__name__}")


def _result_case(type_: ResultOf) -> CaseOf:
    has_ok, has_err = type_.ok is not None, type_.err is not None

    def case(value: Any) -> tuple[int, Any]:
        is_ok = type(value) is Ok
        if not is_ok and type(value) is not Err:
            raise wrong("Ok or Err", value)
        carried = value.value
        if carried is not None and not (has_ok if is_ok else has_err):
            _carries_nothing("ok" if is_ok else "err", carried)
        return (0 if is_ok else 1), carried

    return case


def _variant_case(type_: VariantOf) -> CaseOf:
    numbers = {name: number for number, (name, _) in enumerate(type_.cases)}
    carries = {name: payload is not None for name, payload in type_.cases}

    def case(value: Any) -> tuple[int, Any]:
        if type(value) is FirstOf:
            value = first_fitting(value, carries)
        name, carried = value if type(value) is tuple and len(value) == 2 else (value, None)
        number = numbers.get(name) if type(name) is str else None
        if number is None:
            raise WrongType(f"no case of the variant is {brief(name)}")
        if carried is not None and not carries[name]:
            _carries_nothing(name, carried)
        return number, carried

    return case
