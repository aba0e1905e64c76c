"""The canonical ABI, written plainly after its definition and slowly: what the converters are compared with.

A value is stored to and loaded from a `bytearray`; a flat value is a list of (core type, bits). Room is taken
one after the other from `top`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

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
)
from guesthouse.wasm.values import Err, Ok, Some

BYTES_OF = {"bool": 1, "char": 4, "f32": 4, "f64": 8} | {
    f"{s}{bits}": bits // 8 for s in "su" for bits in (8, 16, 32, 64)
}
FLAT_OF = {"f32": "f32", "f64": "f64", "s64": "i64", "u64": "i64"}
WIDTH = {"i32": 32, "f32": 32, "i64": 64, "f64": 64}
RESOURCE = 7
"""The number of every resource's type."""

Core = list[tuple[str, int]]


class Trap(Exception):
    """The guest broke a rule."""


def fields(type_: WitType) -> list[WitType] | None:
    if isinstance(type_, RecordOf):
        return [field for _, field in type_.fields]
    return list(type_.elements) if isinstance(type_, TupleOf) else None


def payloads(type_: WitType) -> list[WitType | None] | None:
    if isinstance(type_, EnumOf):
        return [None] * len(type_.names)
    if isinstance(type_, OptionOf):
        return [None, type_.some]
    if isinstance(type_, ResultOf):
        return [type_.ok, type_.err]
    return [payload for _, payload in type_.cases] if isinstance(type_, VariantOf) else None


def discriminant_bytes(count: int) -> int:
    return 1 if count <= 256 else 2 if count <= 65_536 else 4


def up(offset: int, align: int) -> int:
    while offset % align:
        offset += 1
    return offset


def align_of(type_: WitType) -> int:
    parts, cases = fields(type_), payloads(type_)
    if parts is not None:
        return max(map(align_of, parts))
    if cases is not None:
        return max([discriminant_bytes(len(cases)), *(align_of(case) for case in cases if case)])
    if isinstance(type_, ListOf | Handle) or type_ == Primitive("string"):
        return 4
    return size_of(type_)


def size_of(type_: WitType) -> int:
    parts, cases = fields(type_), payloads(type_)
    if parts is not None:
        end = 0
        for part in parts:
            end = up(end, align_of(part)) + size_of(part)
        return up(end, align_of(type_))
    if cases is not None:
        largest = max([0, *(size_of(case) for case in cases if case)])
        return up(payload_offset(cases) + largest, align_of(type_))
    if isinstance(type_, FlagsOf):
        return 1 if len(type_.names) <= 8 else 2 if len(type_.names) <= 16 else 4
    if isinstance(type_, Handle):
        return 4
    return BYTES_OF.get(getattr(type_, "name", ""), 8)


def payload_offset(cases: list[WitType | None]) -> int:
    return up(discriminant_bytes(len(cases)), max([1, *(align_of(case) for case in cases if case)]))


def flat_of(type_: WitType) -> list[str]:
    parts, cases = fields(type_), payloads(type_)
    if parts is not None:
        return [core for part in parts for core in flat_of(part)]
    if cases is not None:
        joined: list[str] = []
        for case in cases:
            for index, core in enumerate(flat_of(case) if case else []):
                if index == len(joined):
                    joined.append(core)
                elif joined[index] != core:
                    joined[index] = "i32" if {joined[index], core} == {"i32", "f32"} else "i64"
        return ["i32", *joined]
    if isinstance(type_, ListOf) or type_ == Primitive("string"):
        return ["i32", "i32"]
    return [FLAT_OF.get(getattr(type_, "name", ""), "i32")]


def bits_of(type_: Primitive, value: Any) -> int:
    """A primitive as in memory, as a number that is not negative."""
    if type_.name in ("f32", "f64"):
        packed = struct.pack("<f" if type_.name == "f32" else "<d", value)
        return int.from_bytes(packed, "little")
    number = ord(value) if type_.name == "char" else int(value)
    bits: int = number % 2 ** (8 * BYTES_OF[type_.name])
    return bits


def value_of(type_: Primitive, bits: int) -> Any:
    size = BYTES_OF[type_.name]
    if type_.name == "bool":
        return bits != 0
    if type_.name == "char":
        if bits >= 0x110000 or 0xD800 <= bits <= 0xDFFF:
            raise Trap("char")
        return chr(bits)
    data = (bits % 2 ** (8 * size)).to_bytes(size, "little")
    if type_.name in ("f32", "f64"):
        return struct.unpack("<f" if size == 4 else "<d", data)[0]
    return int.from_bytes(data, "little", signed=type_.name[0] == "s")


def case_of(type_: WitType, value: Any) -> tuple[int, Any]:
    if isinstance(type_, OptionOf):
        return (0, None) if value is None else (1, value.value if isinstance(type_.some, OptionOf) else value)
    if isinstance(type_, ResultOf):
        return int(isinstance(value, Err)), value.value
    if isinstance(type_, EnumOf):
        return type_.names.index(value), None
    assert isinstance(type_, VariantOf)
    name, carried = value if isinstance(value, tuple) else (value, None)
    return [case for case, _ in type_.cases].index(name), carried


def of_case(type_: WitType, number: int, carried: Any) -> Any:
    if isinstance(type_, OptionOf):
        return None if number == 0 else Some(carried) if isinstance(type_.some, OptionOf) else carried
    if isinstance(type_, ResultOf):
        return (Ok, Err)[number](carried)
    if isinstance(type_, EnumOf):
        return type_.names[number]
    assert isinstance(type_, VariantOf)
    name, payload = type_.cases[number]
    return name if payload is None else (name, carried)


def of_fields(type_: WitType, values: list[Any]) -> Any:
    if isinstance(type_, RecordOf):
        return {name: value for (name, _), value in zip(type_.fields, values, strict=True)}
    return tuple(values)


def in_order(type_: WitType, value: Any) -> list[Any]:
    return [value[name] for name, _ in type_.fields] if isinstance(type_, RecordOf) else list(value)


@dataclass
class Model:
    """A guest's memory and its allocator."""

    memory: bytearray
    top: int = 0

    def room(self, align: int, size: int) -> int:
        address = up(self.top, align)
        self.top = address + size
        assert self.top <= len(self.memory), "the test's memory is too small"
        return address

    def put(self, address: int, size: int, bits: int) -> None:
        self.memory[address : address + size] = bits.to_bytes(size, "little")

    def get(self, address: int, size: int) -> int:
        return int.from_bytes(self.memory[address : address + size], "little")

    def store_list(self, type_: WitType, value: Any) -> tuple[int, int]:
        if isinstance(type_, ListOf) and type_.element != U8:
            size, align = size_of(type_.element), align_of(type_.element)
            start = self.room(align, size * len(value))
            for index, element in enumerate(value):
                self.store(type_.element, element, start + index * size)
            return start, len(value)
        data = value.encode() if isinstance(value, str) else value
        start = self.room(1, len(data))
        self.memory[start : start + len(data)] = data
        return start, len(data)

    def load_list(self, type_: WitType, start: int, count: int) -> Any:
        element = type_.element if isinstance(type_, ListOf) else U8
        size = size_of(element)
        if start % align_of(element) or start + count * size > len(self.memory):
            raise Trap("list")
        if type_ != ListOf(U8) and isinstance(type_, ListOf):
            return [self.load(element, start + index * size) for index in range(count)]
        data = bytes(self.memory[start : start + count])
        if isinstance(type_, ListOf):
            return data
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Trap("text") from None

    def store(self, type_: WitType, value: Any, at: int) -> None:
        assert at % align_of(type_) == 0
        parts, cases = fields(type_), payloads(type_)
        if parts is not None:
            for part, each in zip(parts, in_order(type_, value), strict=True):
                at = up(at, align_of(part))
                self.store(part, each, at)
                at += size_of(part)
        elif cases is not None:
            number, carried = case_of(type_, value)
            self.put(at, discriminant_bytes(len(cases)), number)
            payload = cases[number]
            if payload:
                self.store(payload, carried, at + payload_offset(cases))
        elif isinstance(type_, ListOf) or type_ == Primitive("string"):
            for index, word in enumerate(self.store_list(type_, value)):
                self.put(at + 4 * index, 4, word)
        else:
            self.put(at, size_of(type_), self.lower_flat(type_, value)[0][1] % 2 ** (8 * size_of(type_)))

    def load(self, type_: WitType, at: int) -> Any:
        parts, cases = fields(type_), payloads(type_)
        if parts is not None:
            values = []
            for part in parts:
                at = up(at, align_of(part))
                values.append(self.load(part, at))
                at += size_of(part)
            return of_fields(type_, values)
        if cases is not None:
            number = self.get(at, discriminant_bytes(len(cases)))
            if number >= len(cases):
                raise Trap("case")
            payload = cases[number]
            return of_case(type_, number, self.load(payload, at + payload_offset(cases)) if payload else None)
        if isinstance(type_, ListOf) or type_ == Primitive("string"):
            return self.load_list(type_, self.get(at, 4), self.get(at + 4, 4))
        return self.lift_flat(type_, [self.get(at, size_of(type_))])

    def lower_flat(self, type_: WitType, value: Any) -> Core:
        parts, cases = fields(type_), payloads(type_)
        if parts is not None:
            return [
                core
                for part, each in zip(parts, in_order(type_, value), strict=True)
                for core in self.lower_flat(part, each)
            ]
        if cases is not None:
            number, carried = case_of(type_, value)
            payload = cases[number]
            bits = [number, *(bits for _, bits in (self.lower_flat(payload, carried) if payload else []))]
            cores = flat_of(type_)
            return list(zip(cores, bits + [0] * (len(cores) - len(bits)), strict=True))
        if isinstance(type_, ListOf) or type_ == Primitive("string"):
            return [("i32", word) for word in self.store_list(type_, value)]
        if isinstance(type_, FlagsOf):
            return [("i32", sum(1 << index for index, name in enumerate(type_.names) if name in value))]
        if isinstance(type_, Handle):
            return [("i32", value[1])]
        assert isinstance(type_, Primitive)
        core = flat_of(type_)[0]
        if type_.name[0] == "s":
            return [(core, value % 2 ** WIDTH[core])]
        return [(core, bits_of(type_, value))]

    def lift_flat(self, type_: WitType, bits: list[int]) -> Any:
        """Lift from the front of `bits`, each of which is as wide as its core type."""
        parts, cases = fields(type_), payloads(type_)
        if parts is not None:
            values = []
            for part in parts:
                values.append(self.lift_flat(part, bits))
                bits = bits[len(flat_of(part)) :]
            return of_fields(type_, values)
        if cases is not None:
            number = bits[0]
            if number >= len(cases):
                raise Trap("case")
            payload = cases[number]
            if not payload:
                return of_case(type_, number, None)
            narrow = [word % 2 ** WIDTH[core] for word, core in zip(bits[1:], flat_of(payload), strict=False)]
            return of_case(type_, number, self.lift_flat(payload, narrow))
        if isinstance(type_, ListOf) or type_ == Primitive("string"):
            return self.load_list(type_, bits[0], bits[1])
        if isinstance(type_, FlagsOf):
            return frozenset(name for index, name in enumerate(type_.names) if bits[0] >> index & 1)
        if isinstance(type_, Handle):
            return (RESOURCE, bits[0])
        assert isinstance(type_, Primitive)
        return value_of(type_, bits[0])


def flat_params(types: list[WitType]) -> list[str]:
    flat = [core for type_ in types for core in flat_of(type_)]
    return flat if len(flat) <= 16 else ["i32"]
