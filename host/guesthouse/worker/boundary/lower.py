"""Python values to `wasmtime_component_val_t`: one converter per WIT type, compiled once.

A converter returns the 32 bytes of a value. What the value points to (names, fields, payloads) is
other `bytes`, kept alive by the `Arena` until wasmtime has copied the whole tree in one
`wasmtime_component_val_clone` or the call is over. So converters share no memory and can nest.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from guesthouse.worker.boundary import capi
from guesthouse.worker.boundary.capi import SIZE_AND_ADDRESS, address_of
from guesthouse.worker.boundary.errors import ConversionError, NotUnicode, OutOfRange, WrongType
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
from guesthouse.worker.boundary.values import (
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
    KIND_U8,
    KIND_VARIANT,
    SCALARS,
    Err,
    Ok,
    Some,
)

_EMPTY_ADDRESS: Final = 8
"""Where an empty list points: aligned and never read."""

_pack_pair: Final = Struct("<B7xQQ8x").pack
"""kind, length, address: string, list, record, tuple, enum, flags."""
_pack_variant: Final = Struct("<B7xQQQ").pack
"""kind, length and address of the case's name, address of the payload."""
_pack_result: Final = Struct("<B7xB7xQ8x").pack
"""kind, is-ok, address of the payload."""
_pack_address: Final = Struct("<B7xQ16x").pack
"""kind, address: option, resource."""
_pack_bool: Final = Struct("<B7x?23x").pack
_pack_char: Final = Struct("<B7xI20x").pack
_pack_f32: Final = Struct("<B7xf20x").pack
_pack_f64: Final = Struct("<B7xd16x").pack
_pack_name: Final = SIZE_AND_ADDRESS.pack

_U8_BLOCK: Final = 4096
_U8_KINDS: Final = bytes((KIND_U8,))
_U8_PATTERN: Final = (_U8_KINDS + bytes(31)) * _U8_BLOCK


class Arena:
    """What one value's tree points to, for as long as it is needed."""

    __slots__ = ("_block", "_block_address", "_block_used", "context", "keep", "resources")

    def __init__(self) -> None:
        self.context = 0
        """The store that resources are made for."""
        self.keep: list[object] = []
        self.resources: list[int] = []
        """Handles that were made for this tree and are copied with it."""
        self._block = bytearray()
        """Made when it is first needed: most fibers' arguments hold no bytes, and it is 128 KiB."""
        self._block_address = 0
        self._block_used = False

    def clear(self) -> None:
        """Forget the tree."""
        self.keep.clear()
        self._block_used = False
        if self.resources:
            for handle in self.resources:
                capi.resource_any_delete(handle)
            self.resources.clear()

    def bytes_as_values(self, data: bytes) -> int:
        """Spread bytes out into `u8` values; returns the first one's address.

        The first short list of a tree uses memory that is there already.
        """
        size = len(data)
        if size <= _U8_BLOCK and not self._block_used:
            self._block_used = True
            if not self._block_address:
                self._block = bytearray(_U8_PATTERN)
                self._block_address = _address(self._block)
            self._block[8 : 8 + 32 * size : 32] = data
            return self._block_address
        values = bytearray(32 * size)
        values[::32] = _U8_KINDS * size
        values[8::32] = data
        self.keep.append(values)
        return _address(values)


def _address(data: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(data))


Lower: TypeAlias = Callable[[Any, Arena], bytes]


def lower(type_: WitType) -> Lower:
    """Compile the converter for a type.

    The converter raises `WrongType`, `OutOfRange` or `NotUnicode` for a value that does not fit.
    """
    return _COMPILERS[type(type_)](type_)


def lower_result(type_: WitType) -> Callable[[Any, int, int, Arena], None]:
    """Compile the writer of a host call's result: `(value, context, address, arena)`."""
    convert = lower(type_)

    def write(value: Any, context: int, address: int, arena: Arena) -> None:
        arena.context = context
        try:
            capi.val_clone(address_of(convert(value, arena)), address)
        finally:
            arena.clear()

    return write


def _wrong(expected: str, value: object) -> WrongType:
    return WrongType(f"expected {expected}, got {type(value).__name__}")


def _integer(kind: int, code: str, name: str) -> Lower:
    layout = Struct(f"<B7x{code}")
    pad = bytes(capi.VAL_SIZE - layout.size)
    pack = layout.pack

    def convert(value: Any, arena: Arena) -> bytes:
        if type(value) is not int:
            raise _wrong(name, value)
        try:
            return pack(kind, value) + pad
        except struct.error:
            raise OutOfRange(f"{value} does not fit {name}") from None

    return convert


def _bool(value: Any, arena: Arena) -> bytes:
    if type(value) is not bool:
        raise _wrong("bool", value)
    return _pack_bool(KIND_BOOL, value)


def _f32(value: Any, arena: Arena) -> bytes:
    if type(value) is not float:
        raise _wrong("f32", value)
    try:
        return _pack_f32(KIND_F32, value)
    except OverflowError:
        raise OutOfRange(f"{value} does not fit f32") from None


def _f64(value: Any, arena: Arena) -> bytes:
    if type(value) is not float:
        raise _wrong("f64", value)
    return _pack_f64(KIND_F64, value)


def _char(value: Any, arena: Arena) -> bytes:
    if type(value) is not str or len(value) != 1:
        raise _wrong("one character", value)
    code = ord(value)
    if 0xD800 <= code <= 0xDFFF:
        raise NotUnicode(f"U+{code:04X} is a surrogate, which no char can be")
    return _pack_char(KIND_CHAR, code)


def _string(value: Any, arena: Arena) -> bytes:
    if type(value) is not str:
        raise _wrong("string", value)
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise NotUnicode(f"text holds a lone surrogate at {error.start}") from None
    arena.keep.append(data)
    return _pack_pair(KIND_STRING, len(data), address_of(data))


_SIMPLE: Final[dict[str, Lower]] = {
    "bool": _bool,
    "f32": _f32,
    "f64": _f64,
    "char": _char,
    "string": _string,
}


def _primitive(type_: Any) -> Lower:
    simple = _SIMPLE.get(type_.name)
    return simple if simple is not None else _integer(*SCALARS[type_.name], type_.name)


def _bytes(value: Any, arena: Arena) -> bytes:
    if type(value) is not bytes:
        raise _wrong("bytes for list<u8>", value)
    size = len(value)
    return _pack_pair(KIND_LIST, size, arena.bytes_as_values(value) if size else _EMPTY_ADDRESS)


def _list(type_: Any) -> Lower:
    if type_.element == U8:
        return _bytes
    convert_element = lower(type_.element)

    def convert(value: Any, arena: Arena) -> bytes:
        if type(value) is not list:
            raise _wrong("list", value)
        if not value:
            return _pack_pair(KIND_LIST, 0, _EMPTY_ADDRESS)
        data = b"".join([convert_element(element, arena) for element in value])
        arena.keep.append(data)
        return _pack_pair(KIND_LIST, len(value), address_of(data))

    return convert


def _record(type_: Any) -> Lower:
    fields = [(*_named(name), lower(field)) for name, field in type_.fields]
    count = len(fields)

    def convert(value: Any, arena: Arena) -> bytes:
        if type(value) is not dict:
            raise _wrong("dict for a record", value)
        parts = []
        try:
            for name, _encoded, header, convert_field in fields:
                parts.append(header)
                parts.append(convert_field(value[name], arena))
        except KeyError:
            raise WrongType(f"the record misses the field {name!r}") from None
        data = b"".join(parts)
        arena.keep.append(data)
        return _pack_pair(KIND_RECORD, count, address_of(data))

    return convert


def _named(name: str) -> tuple[str, bytes, bytes]:
    """A name, its bytes (to be kept alive) and the 16 bytes that point to them."""
    encoded = name.encode()
    return name, encoded, _pack_name(len(encoded), address_of(encoded))


def _tuple(type_: Any) -> Lower:
    elements = [lower(element) for element in type_.elements]
    count = len(elements)

    def convert(value: Any, arena: Arena) -> bytes:
        if type(value) is not tuple or len(value) != count:
            raise _wrong(f"tuple of {count}", value)
        data = b"".join([element(part, arena) for element, part in zip(elements, value, strict=True)])
        arena.keep.append(data)
        return _pack_pair(KIND_TUPLE, count, address_of(data))

    return convert


def _payload(convert: Lower | None, value: Any, arena: Arena, case: str) -> int:
    """Lower what a case carries; returns its address, 0 for nothing."""
    if convert is None:
        if value is not None:
            raise WrongType(f"the case {case!r} carries nothing, got {type(value).__name__}")
        return 0
    data = convert(value, arena)
    arena.keep.append(data)
    return address_of(data)


def _variant(type_: Any) -> Lower:
    cases: dict[str, tuple[bytes, int, int, Lower | None]] = {}
    for name, payload in type_.cases:
        encoded = name.encode()
        cases[name] = (
            encoded,
            len(encoded),
            address_of(encoded),
            None if payload is None else lower(payload),
        )

    def convert(value: Any, arena: Arena) -> bytes:
        if type(value) is tuple and len(value) == 2:
            name, carried = value
        else:
            name, carried = value, None
        case = cases.get(name) if type(name) is str else None
        if case is None:
            raise WrongType(f"no case of the variant is {name!r}")
        _encoded, size, address, convert_payload = case
        return _pack_variant(KIND_VARIANT, size, address, _payload(convert_payload, carried, arena, name))

    return convert


def _enum(type_: Any) -> Lower:
    values: dict[str, bytes] = {}
    names = [name.encode() for name in type_.names]
    for name in names:
        values[name.decode()] = _pack_pair(KIND_ENUM, len(name), address_of(name))

    def convert(value: Any, arena: Arena, _keep: object = names) -> bytes:
        if type(value) is not str:
            raise _wrong("the name of an enum case", value)
        try:
            return values[value]
        except KeyError:
            raise WrongType(f"no case of the enum is {value!r}") from None

    return convert


def can_be_none(type_: WitType) -> bool:
    """Whether None is a value of the type, so that an option of it needs `Some`."""
    return isinstance(type_, OptionOf)


def _option(type_: Any) -> Lower:
    convert_some = lower(type_.some)
    wrapped = can_be_none(type_.some)
    none = _pack_address(KIND_OPTION, 0)

    def convert(value: Any, arena: Arena) -> bytes:
        if value is None:
            return none
        if wrapped:
            if type(value) is not Some:
                raise _wrong("Some or None for a nested option", value)
            value = value.value
        data = convert_some(value, arena)
        arena.keep.append(data)
        return _pack_address(KIND_OPTION, address_of(data))

    return convert


def _result(type_: Any) -> Lower:
    convert_ok = None if type_.ok is None else lower(type_.ok)
    convert_err = None if type_.err is None else lower(type_.err)

    def convert(value: Any, arena: Arena) -> bytes:
        if type(value) is Ok:
            return _pack_result(KIND_RESULT, 1, _payload(convert_ok, value.value, arena, "ok"))
        if type(value) is Err:
            return _pack_result(KIND_RESULT, 0, _payload(convert_err, value.value, arena, "err"))
        raise _wrong("Ok or Err", value)

    return convert


def _flags(type_: Any) -> Lower:
    names = {name: _named(name) for name in type_.names}

    def convert(value: Any, arena: Arena) -> bytes:
        if not isinstance(value, (set, frozenset)):
            raise _wrong("set of flags", value)
        unknown = value - names.keys()
        if unknown:
            raise WrongType(f"no flag is {sorted(map(str, unknown))[0]!r}")
        data = b"".join([names[name][2] for name in type_.names if name in value])
        arena.keep.append(data)
        return _pack_pair(KIND_FLAGS, len(value), address_of(data) if data else _EMPTY_ADDRESS)

    return convert


def _handle(type_: Any) -> Lower:
    def convert(value: Any, arena: Arena) -> bytes:
        if type(value) is not tuple or len(value) != 2:
            raise _wrong("(resource type, number)", value)
        type_number, number = value
        host = capi.resource_host_new(type_.owned, number, type_number)
        out = ctypes.c_void_p()
        error = capi.resource_host_to_any(arena.context, host, ctypes.addressof(out))
        capi.resource_host_delete(host)
        if error:
            raise ConversionError(capi.take_message(error))
        handle = out.value or 0
        arena.resources.append(handle)
        return _pack_address(KIND_RESOURCE, handle)

    return convert


_COMPILERS: Final[dict[type, Callable[[Any], Lower]]] = {
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

__all__ = ["Arena", "Lower", "can_be_none", "lower", "lower_result"]
