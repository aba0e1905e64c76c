"""`wasmtime_component_val_t` to Python values: one converter per WIT type, compiled once.

wasmtime has checked every value against its type before a host call, so converters read and check
nothing but the length of lists. A converter takes the bytes that hold a value and the value's offset in them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from guesthouse.link.ops import ExitCause
from guesthouse.worker.boundary import capi
from guesthouse.worker.boundary.capi import (
    ADDRESS,
    FIELD_SIZE,
    NAME_SIZE,
    SIZE_AND_ADDRESS,
    VAL_SIZE,
    string_at,
)
from guesthouse.worker.boundary.errors import ConversionError, GuestTrap
from guesthouse.worker.boundary.lower import can_be_none
from guesthouse.worker.boundary.types import (
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
)
from guesthouse.worker.boundary.values import SCALARS, Err, Ok, Some

Lift: TypeAlias = Callable[[bytes, int], Any]

_pair: Final = SIZE_AND_ADDRESS.unpack_from
_address: Final = ADDRESS.unpack_from
_variant_parts: Final = Struct("<QQQ").unpack_from
_result_parts: Final = Struct("<?7xQ").unpack_from

_CHUNK: Final = 16384
"""`u8` values read at a time: their 32 bytes each stay in the cache."""


MAX_LIST: Final = 65_536
"""Elements of a list that a guest may pass, other than bytes: millions would hold the worker for seconds."""


class Caller:
    """Whose call is being lifted: resources can be told only with their store."""

    context = 0


def lift(type_: WitType) -> Lift:
    """Compile the converter for a type."""
    return _COMPILERS[type(type_)](type_)


def lift_arguments(types: tuple[WitType, ...]) -> Callable[[int], list[Any]]:
    """Compile the reader of a call's arguments: it takes their address and returns them in order."""
    converters = [(lift(type_), VAL_SIZE * index) for index, type_ in enumerate(types)]
    size = VAL_SIZE * len(types)
    if not converters:
        return lambda address: []

    def read(address: int) -> list[Any]:
        data = string_at(address, size)
        return [convert(data, offset) for convert, offset in converters]

    return read


def _scalar(code: str) -> Lift:
    unpack = Struct(f"<{code}").unpack_from
    return lambda data, offset: unpack(data, offset + 8)[0]


def _char(data: bytes, offset: int) -> str:
    return chr(int.from_bytes(data[offset + 8 : offset + 12], "little"))


def _string(data: bytes, offset: int) -> str:
    size, address = _pair(data, offset + 8)
    text: str = string_at(address, size).decode()
    return text


def _primitive(type_: Any) -> Lift:
    name = type_.name
    if name in SCALARS:
        return _scalar(SCALARS[name][1])
    simple: dict[str, Lift] = {
        "bool": _scalar("?"),
        "f32": _scalar("f"),
        "f64": _scalar("d"),
        "char": _char,
        "string": _string,
    }
    return simple[name]


def _bytes(data: bytes, offset: int) -> bytes:
    size, address = _pair(data, offset + 8)
    if size <= _CHUNK:
        return string_at(address, size * VAL_SIZE)[8::VAL_SIZE] if size else b""
    out = bytearray(size)
    for start in range(0, size, _CHUNK):
        count = min(_CHUNK, size - start)
        out[start : start + count] = string_at(address + start * VAL_SIZE, count * VAL_SIZE)[8::VAL_SIZE]
    return bytes(out)


def _list(type_: Any) -> Lift:
    if type_.element == U8:
        return _bytes
    convert = lift(type_.element)

    def read(data: bytes, offset: int) -> list[Any]:
        size, address = _pair(data, offset + 8)
        if not size:
            return []
        if size > MAX_LIST:
            raise GuestTrap(
                ExitCause.TRAP,
                f"it passed a list of {size} elements; the limit is {MAX_LIST}: pass parts of it",
            )
        elements = string_at(address, size * VAL_SIZE)
        return [convert(elements, at) for at in range(0, size * VAL_SIZE, VAL_SIZE)]

    return read


def _record(type_: Any) -> Lift:
    fields = [
        (name, lift(field), FIELD_SIZE * index + NAME_SIZE)
        for index, (name, field) in enumerate(type_.fields)
    ]
    size = FIELD_SIZE * len(fields)

    def read(data: bytes, offset: int) -> dict[str, Any]:
        entries = string_at(_address(data, offset + 16)[0], size)
        return {name: convert(entries, at) for name, convert, at in fields}

    return read


def _tuple(type_: Any) -> Lift:
    elements = [(lift(element), VAL_SIZE * index) for index, element in enumerate(type_.elements)]
    size = VAL_SIZE * len(elements)

    def read(data: bytes, offset: int) -> tuple[Any, ...]:
        parts = string_at(_address(data, offset + 16)[0], size)
        return tuple([convert(parts, at) for convert, at in elements])

    return read


def _variant(type_: Any) -> Lift:
    cases = {
        name.encode(): (name, None if payload is None else lift(payload)) for name, payload in type_.cases
    }

    def read(data: bytes, offset: int) -> Any:
        size, name_address, payload_address = _variant_parts(data, offset + 8)
        name, convert = cases[string_at(name_address, size)]
        return name if convert is None else (name, convert(string_at(payload_address, VAL_SIZE), 0))

    return read


def _enum(type_: Any) -> Lift:
    names: dict[bytes, str] = {name.encode(): name for name in type_.names}

    def read(data: bytes, offset: int) -> str:
        size, address = _pair(data, offset + 8)
        return names[string_at(address, size)]

    return read


def _option(type_: Any) -> Lift:
    convert = lift(type_.some)
    wrapped = can_be_none(type_.some)

    def read(data: bytes, offset: int) -> Any:
        address = _address(data, offset + 8)[0]
        if not address:
            return None
        value = convert(string_at(address, VAL_SIZE), 0)
        return Some(value) if wrapped else value

    return read


def _result(type_: Any) -> Lift:
    convert_ok = None if type_.ok is None else lift(type_.ok)
    convert_err = None if type_.err is None else lift(type_.err)

    def read(data: bytes, offset: int) -> Ok | Err:
        is_ok, address = _result_parts(data, offset + 8)
        convert = convert_ok if is_ok else convert_err
        value = None if convert is None else convert(string_at(address, VAL_SIZE), 0)
        return Ok(value) if is_ok else Err(value)

    return read


def _flags(type_: Any) -> Lift:
    def read(data: bytes, offset: int) -> frozenset[str]:
        size, address = _pair(data, offset + 8)
        if not size:
            return frozenset()
        names = string_at(address, size * NAME_SIZE)
        pairs = (_pair(names, at) for at in range(0, size * NAME_SIZE, NAME_SIZE))
        return frozenset(string_at(start, length).decode() for length, start in pairs)

    return read


def _handle(type_: Any) -> Lift:
    def read(data: bytes, offset: int) -> tuple[int, int]:
        out = ctypes.c_void_p()
        error = capi.resource_any_to_host(
            Caller.context, _address(data, offset + 8)[0], ctypes.addressof(out)
        )
        if error:
            raise ConversionError(capi.take_message(error))
        host = out.value
        number = capi.resource_host_type(host), capi.resource_host_rep(host)
        capi.resource_host_delete(host)
        return number

    return read


_COMPILERS: Final[dict[type, Callable[[Any], Lift]]] = {
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
