"""`wasmtime_component_val_t` to Python values: one reader per WIT type, compiled once.

wasmtime has checked every value against its type before a host call, so readers read and check
nothing but the length of lists. A reader takes the address of a value.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from tests.boundary.whole.native import BYTES, MEMORY

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.capi import ADDRESS
from guesthouse.wasm.errors import ConversionError, GuestTrap
from guesthouse.wasm.types import (
    STRING,
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
from guesthouse.wasm.values import MAX_LIST, Err, Ok, Some

from . import capi as component_capi
from .capi import FIELD_SIZE, NAME_SIZE, SCALARS, SIZE_AND_ADDRESS, VAL_SIZE

Lift: TypeAlias = Callable[[int], Any]

_pair: Final = SIZE_AND_ADDRESS.unpack_from
_address: Final = ADDRESS.unpack_from
_variant_parts: Final = Struct("<QQQ").unpack_from
_result_parts: Final = Struct("<?7xQ").unpack_from

_CODES: Final = {"bool": "?", "f32": "f", "f64": "d"} | {name: code for name, (_, code) in SCALARS.items()}
"""Primitives that are themselves in `struct`: all but char and string."""


class Caller:
    """Whose call is being lifted: resources can be told only with their store."""

    context = 0


def lift(type_: WitType) -> Lift:
    """Compile the reader for a type."""
    return _COMPILERS[type(type_)](type_)


def lift_arguments(types: tuple[WitType, ...], *, utf8: bool = False) -> Callable[[int], tuple[Any, ...]]:
    """Compile the reader of a call's arguments: it takes their address and returns them in order.

    What most arguments are, numbers, strings, bytes and enums, is read by one `unpack` for all of them and
    an expression each. So the reader is written as source: a loop over closures takes twice the time.

    Args:
        types: of the arguments, in order; at least one.
        utf8: whether strings are wanted as the bytes of their UTF-8.
    """
    layout, names, expressions = "<", [], []
    scope: dict[str, Any] = {"BYTES": BYTES, "MEMORY": MEMORY}
    for index, type_ in enumerate(types):
        code = _CODES.get(type_.name) if isinstance(type_, Primitive) else None
        size, at = f"n{index}", f"p{index}"
        if code is not None:
            layout += f"8x{code}{24 - Struct('<' + code).size}x"
            names.append(at)
            expressions.append(at)
            continue
        text = _slice_of(type_, f"BYTES[{at}:{at}+{size}]", index, scope, utf8=utf8)
        if text is None:
            layout += f"{VAL_SIZE}x"
            scope[f"read{index}"] = lift(type_)
            expressions.append(f"read{index}(address + {VAL_SIZE * index})")
        else:
            layout += "8xQQ8x"
            names += [size, at]
            expressions.append(text)
    scope["unpack"] = Struct(layout).unpack_from
    unpack = f" {', '.join(names)}, = unpack(MEMORY, address)\n" if names else ""
    exec(f"def read(address):\n{unpack} return {', '.join(expressions)},", scope)  # noqa: S102 - of the parts above alone: no name of a guest's is in it
    read: Callable[[int], tuple[Any, ...]] = scope["read"]
    return read


def _slice_of(type_: WitType, text: str, index: int, scope: dict[str, Any], *, utf8: bool) -> str | None:
    """The expression of an argument that is a length and an address; None for others."""
    if type_ == STRING:
        return text if utf8 else f"{text}.decode()"
    if isinstance(type_, EnumOf):
        scope[f"names{index}"] = {name.encode(): name for name in type_.names}
        return f"names{index}[{text}]"
    if type_ == ListOf(U8):
        return f"BYTES[p{index} + 8 : p{index} + {VAL_SIZE} * n{index} : {VAL_SIZE}] if n{index} else b''"
    return None


def _scalar(code: str) -> Lift:
    unpack = Struct(f"<{code}").unpack_from
    return lambda address: unpack(MEMORY, address + 8)[0]


def _char(address: int) -> str:
    return chr(int.from_bytes(BYTES[address + 8 : address + 12], "little"))


def _string(address: int) -> str:
    size, start = _pair(MEMORY, address + 8)
    text: str = BYTES[start : start + size].decode()
    return text


def _primitive(type_: Any) -> Lift:
    if type_.name in _CODES:
        return _scalar(_CODES[type_.name])
    return _char if type_.name == "char" else _string


def _bytes(address: int) -> bytes:
    size, start = _pair(MEMORY, address + 8)
    return BYTES[start + 8 : start + VAL_SIZE * size : VAL_SIZE] if size else b""


def _list(type_: Any) -> Lift:
    if type_.element == U8:
        return _bytes
    read_element = lift(type_.element)

    def read(address: int) -> list[Any]:
        size, start = _pair(MEMORY, address + 8)
        if size > MAX_LIST:
            raise GuestTrap(
                ExitCause.TRAP,
                f"it passed a list of {size} elements; the limit is {MAX_LIST}: pass parts of it",
            )
        return [read_element(at) for at in range(start, start + size * VAL_SIZE, VAL_SIZE)]

    return read


def _record(type_: Any) -> Lift:
    fields = [
        (name, lift(field), FIELD_SIZE * index + NAME_SIZE)
        for index, (name, field) in enumerate(type_.fields)
    ]

    def read(address: int) -> dict[str, Any]:
        entries = _address(MEMORY, address + 16)[0]
        return {name: read_field(entries + at) for name, read_field, at in fields}

    return read


def _tuple(type_: Any) -> Lift:
    elements = [(lift(element), VAL_SIZE * index) for index, element in enumerate(type_.elements)]

    def read(address: int) -> tuple[Any, ...]:
        parts = _address(MEMORY, address + 16)[0]
        return tuple([read_element(parts + at) for read_element, at in elements])

    return read


def _variant(type_: Any) -> Lift:
    cases = {
        name.encode(): (name, None if payload is None else lift(payload)) for name, payload in type_.cases
    }

    def read(address: int) -> Any:
        size, start, payload = _variant_parts(MEMORY, address + 8)
        name, read_payload = cases[BYTES[start : start + size]]
        return name if read_payload is None else (name, read_payload(payload))

    return read


def _enum(type_: Any) -> Lift:
    names: dict[bytes, str] = {name.encode(): name for name in type_.names}

    def read(address: int) -> str:
        size, start = _pair(MEMORY, address + 8)
        return names[BYTES[start : start + size]]

    return read


def _option(type_: Any) -> Lift:
    read_some = lift(type_.some)
    wrapped = can_be_none(type_.some)

    def read(address: int) -> Any:
        some = _address(MEMORY, address + 8)[0]
        if not some:
            return None
        value = read_some(some)
        return Some(value) if wrapped else value

    return read


def _result(type_: Any) -> Lift:
    read_ok = None if type_.ok is None else lift(type_.ok)
    read_err = None if type_.err is None else lift(type_.err)

    def read(address: int) -> Ok | Err:
        is_ok, payload = _result_parts(MEMORY, address + 8)
        read_payload = read_ok if is_ok else read_err
        value = None if read_payload is None else read_payload(payload)
        return Ok(value) if is_ok else Err(value)

    return read


def _flags(type_: Any) -> Lift:
    def read(address: int) -> frozenset[str]:
        size, start = _pair(MEMORY, address + 8)
        pairs = (_pair(MEMORY, at) for at in range(start, start + size * NAME_SIZE, NAME_SIZE))
        return frozenset(BYTES[name : name + length].decode() for length, name in pairs)

    return read


def _handle(type_: Any) -> Lift:
    def read(address: int) -> tuple[int, int]:
        out = ctypes.c_void_p()
        error = component_capi.resource_any_to_host(
            Caller.context, _address(MEMORY, address + 8)[0], ctypes.addressof(out)
        )
        if error:
            raise ConversionError(capi.take_message(error))
        host = out.value
        number = component_capi.resource_host_type(host), component_capi.resource_host_rep(host)
        component_capi.resource_host_delete(host)
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
