"""Python values to `wasmtime_component_val_t`: one writer per WIT type, compiled once.

A writer puts the 32 bytes of a value at an address and what the value points to into an `Arena`, from
which wasmtime copies the whole tree. Nothing is written that was not checked against its type.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from tests.boundary.whole.arena import Arena
from tests.boundary.whole.native import MEMORY

from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.capi import address_of
from guesthouse.wasm.errors import ConversionError, NotUnicode, OutOfRange, WrongType, brief
from guesthouse.wasm.types import (
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
from guesthouse.wasm.values import Err, FirstOf, Ok, Some, Utf8

from . import capi as component_capi
from .capi import (
    FIELD_SIZE,
    KIND_BOOL,
    KIND_CHAR,
    KIND_ENUM,
    KIND_F32,
    KIND_F64,
    KIND_FLAGS,
    KIND_LIST,
    KIND_OPTION,
    KIND_RECORD,
    KIND_RESOURCE,
    KIND_RESULT,
    KIND_STRING,
    KIND_TUPLE,
    KIND_VARIANT,
    NAME_SIZE,
    SCALARS,
    SIZE_AND_ADDRESS,
    VAL_SIZE,
)

_NOWHERE: Final = 8
"""Where an empty list points: aligned and never read."""

_put_pair: Final = Struct("<B7xQQ").pack_into
"""kind, length, address: string, list, record, tuple, enum, flags."""
_put_variant: Final = Struct("<B7xQQQ").pack_into
"""kind, length and address of the case's name, address of the payload."""
_put_result: Final = Struct("<B7xB7xQ").pack_into
"""kind, is-ok, address of the payload."""
_put_address: Final = Struct("<B7xQ").pack_into
"""kind, address: option, resource."""
_put_bool: Final = Struct("<B7x?").pack_into
_put_char: Final = Struct("<B7xI").pack_into
_put_f32: Final = Struct("<B7xf").pack_into
_put_f64: Final = Struct("<B7xd").pack_into
_pack_name: Final = SIZE_AND_ADDRESS.pack

Write: TypeAlias = Callable[[Any, int, Arena], None]
"""`(value, address, arena)`."""


def lower(type_: WitType) -> Write:
    """Compile the writer for a type.

    The writer raises `WrongType`, `OutOfRange` or `NotUnicode` for a value that does not fit.
    """
    return _COMPILERS[type(type_)](type_)


def _wrong(expected: str, value: object) -> WrongType:
    return WrongType(f"expected {expected}, got {type(value).__name__}")


def _integer(kind: int, code: str, name: str) -> Write:
    put = Struct(f"<B7x{code}").pack_into

    def write(value: Any, address: int, arena: Arena) -> None:
        if type(value) is not int:
            raise _wrong(name, value)
        try:
            put(MEMORY, address, kind, value)
        except struct.error:
            raise OutOfRange(f"{value} does not fit {name}") from None

    return write


def _bool(value: Any, address: int, arena: Arena) -> None:
    if type(value) is not bool:
        raise _wrong("bool", value)
    _put_bool(MEMORY, address, KIND_BOOL, value)


def _f32(value: Any, address: int, arena: Arena) -> None:
    if type(value) is not float:
        raise _wrong("f32", value)
    try:
        _put_f32(MEMORY, address, KIND_F32, value)
    except OverflowError:
        raise OutOfRange(f"{value} does not fit f32") from None


def _f64(value: Any, address: int, arena: Arena) -> None:
    if type(value) is not float:
        raise _wrong("f64", value)
    _put_f64(MEMORY, address, KIND_F64, value)


def _char(value: Any, address: int, arena: Arena) -> None:
    if type(value) is not str or len(value) != 1:
        raise _wrong("one character", value)
    code = ord(value)
    if 0xD800 <= code <= 0xDFFF:
        raise NotUnicode(f"U+{code:04X} is a surrogate, which no char can be")
    _put_char(MEMORY, address, KIND_CHAR, code)


def _string(value: Any, address: int, arena: Arena) -> None:
    if type(value) is str:
        try:
            data = value.encode()
        except UnicodeEncodeError as error:
            raise NotUnicode(f"text holds a lone surrogate at {error.start}") from None
    elif type(value) is Utf8:
        data = bytes(value.data)
    else:
        raise _wrong("string", value)
    _put_pair(MEMORY, address, KIND_STRING, len(data), arena.keep(data))


_SIMPLE: Final[dict[str, Write]] = {
    "bool": _bool,
    "f32": _f32,
    "f64": _f64,
    "char": _char,
    "string": _string,
}


def _primitive(type_: Any) -> Write:
    simple = _SIMPLE.get(type_.name)
    return simple if simple is not None else _integer(*SCALARS[type_.name], type_.name)


def _bytes(value: Any, address: int, arena: Arena) -> None:
    if type(value) is not bytes:
        raise _wrong("bytes for list<u8>", value)
    size = len(value)
    _put_pair(MEMORY, address, KIND_LIST, size, arena.bytes_as_values(value) if size else _NOWHERE)


def _list(type_: Any) -> Write:
    if type_.element == U8:
        return _bytes
    write_element = lower(type_.element)

    def write(value: Any, address: int, arena: Arena) -> None:
        if type(value) is not list:
            raise _wrong("list", value)
        size = len(value) * VAL_SIZE
        start = arena.take(size) if size else _NOWHERE
        _put_pair(MEMORY, address, KIND_LIST, len(value), start)
        for at, element in zip(range(start, start + size, VAL_SIZE), value, strict=True):
            write_element(element, at, arena)

    return write


def _record(type_: Any) -> Write:
    fields = [
        (name, FIELD_SIZE * index + NAME_SIZE, lower(field))
        for index, (name, field) in enumerate(type_.fields)
    ]
    names = [name.encode() for name, _ in type_.fields]
    template = b"".join(_pack_name(len(name), address_of(name)) + bytes(VAL_SIZE) for name in names)
    count, size = len(fields), len(template)

    def write(value: Any, address: int, arena: Arena, _keep: object = names) -> None:
        if type(value) is not dict:
            raise _wrong("dict for a record", value)
        entries = arena.take(size)
        MEMORY[entries : entries + size] = template
        _put_pair(MEMORY, address, KIND_RECORD, count, entries)
        try:
            for name, offset, write_field in fields:
                write_field(value[name], entries + offset, arena)
        except KeyError:
            raise WrongType(f"the record misses the field {name!r}") from None

    return write


def _tuple(type_: Any) -> Write:
    elements = [lower(element) for element in type_.elements]
    count = len(elements)

    def write(value: Any, address: int, arena: Arena) -> None:
        if type(value) is not tuple or len(value) != count:
            raise _wrong(f"tuple of {count}", value)
        start = arena.take(VAL_SIZE * count)
        _put_pair(MEMORY, address, KIND_TUPLE, count, start)
        for write_element, part in zip(elements, value, strict=True):
            write_element(part, start, arena)
            start += VAL_SIZE

    return write


def _payload(write: Write | None, value: Any, arena: Arena, case: str) -> int:
    """Write what a case carries; returns its address, 0 for nothing."""
    if write is None:
        if value is not None:
            raise WrongType(f"the case {brief(case)} carries nothing, got {type(value).__name__}")
        return 0
    address = arena.take(VAL_SIZE)
    write(value, address, arena)
    return address


def _first_fitting(value: FirstOf, carries: dict[str, bool]) -> tuple[str, Any]:
    for name, carried in value.cases:
        if carries.get(name) is (carried is not None):
            return name, carried
    raise WrongType(f"no case is one of {[name for name, _ in value.cases]!r}")


def _variant(type_: Any) -> Write:
    carries = {name: payload is not None for name, payload in type_.cases}
    cases: dict[str, tuple[bytes, int, int, Write | None]] = {}
    for name, payload in type_.cases:
        encoded = name.encode()
        write_payload = None if payload is None else lower(payload)
        cases[name] = (encoded, len(encoded), address_of(encoded), write_payload)

    def write(value: Any, address: int, arena: Arena) -> None:
        if type(value) is tuple and len(value) == 2:
            name, carried = value
        else:
            name, carried = value, None
        case = cases.get(name) if type(name) is str else None
        if case is None:
            if type(value) is FirstOf:
                write(_first_fitting(value, carries), address, arena)
                return
            raise WrongType(f"no case of the variant is {brief(name)}")
        _, size, name_address, write_payload = case
        payload = _payload(write_payload, carried, arena, name)
        _put_variant(MEMORY, address, KIND_VARIANT, size, name_address, payload)

    return write


def _enum(type_: Any) -> Write:
    names = {name: name.encode() for name in type_.names}

    def write(value: Any, address: int, arena: Arena) -> None:
        if type(value) is FirstOf:
            value = _first_fitting(value, dict.fromkeys(names, False))[0]
        if type(value) is not str:
            raise _wrong("the name of an enum case", value)
        try:
            name = names[value]
        except KeyError:
            raise WrongType(f"no case of the enum is {brief(value)}") from None
        _put_pair(MEMORY, address, KIND_ENUM, len(name), address_of(name))

    return write


def _option(type_: Any) -> Write:
    write_some = lower(type_.some)
    wrapped = can_be_none(type_.some)

    def write(value: Any, address: int, arena: Arena) -> None:
        if value is None:
            _put_address(MEMORY, address, KIND_OPTION, 0)
            return
        if wrapped:
            if type(value) is not Some:
                raise _wrong("Some or None for a nested option", value)
            value = value.value
        some = arena.take(VAL_SIZE)
        write_some(value, some, arena)
        _put_address(MEMORY, address, KIND_OPTION, some)

    return write


def _result(type_: Any) -> Write:
    write_ok = None if type_.ok is None else lower(type_.ok)
    write_err = None if type_.err is None else lower(type_.err)

    def write(value: Any, address: int, arena: Arena) -> None:
        if type(value) is Ok:
            _put_result(MEMORY, address, KIND_RESULT, 1, _payload(write_ok, value.value, arena, "ok"))
        elif type(value) is Err:
            _put_result(MEMORY, address, KIND_RESULT, 0, _payload(write_err, value.value, arena, "err"))
        else:
            raise _wrong("Ok or Err", value)

    return write


def _flags(type_: Any) -> Write:
    names = {name: name.encode() for name in type_.names}

    def write(value: Any, address: int, arena: Arena) -> None:
        if not isinstance(value, (set, frozenset)):
            raise _wrong("set of flags", value)
        unknown = value - names.keys()
        if unknown:
            raise WrongType(f"no flag is {brief(next(iter(unknown)))}")
        chosen = (encoded for name, encoded in names.items() if name in value)
        data = b"".join([_pack_name(len(name), address_of(name)) for name in chosen])
        _put_pair(MEMORY, address, KIND_FLAGS, len(value), arena.keep(data) if data else _NOWHERE)

    return write


def _handle(type_: Any) -> Write:
    def write(value: Any, address: int, arena: Arena) -> None:
        if type(value) is not tuple or len(value) != 2:
            raise _wrong("(resource type, number)", value)
        type_number, number = value
        host = component_capi.resource_host_new(type_.owned, number, type_number)
        out = ctypes.c_void_p()
        error = component_capi.resource_host_to_any(arena.context, host, ctypes.addressof(out))
        component_capi.resource_host_delete(host)
        if error:
            raise ConversionError(capi.take_message(error))
        handle = out.value or 0
        arena.resources.append(handle)
        _put_address(MEMORY, address, KIND_RESOURCE, handle)

    return write


_COMPILERS: Final[dict[type, Callable[[Any], Write]]] = {
    Primitive: _primitive,
    ListOf: _list,
    RecordOf: _record,
    TupleOf: _tuple,
    VariantOf: _variant,
    EnumOf: _enum,
    OptionOf: _option,
    ResultOf: _result,
    FlagsOf: _flags,
    Handle: _handle,
}
