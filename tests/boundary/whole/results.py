"""What a host call returns, written to where wasmtime wants it: one writer per import, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from tests.boundary.whole.arena import Arena
from tests.boundary.whole.lower import Write, lower
from tests.boundary.whole.native import MEMORY

from guesthouse.wasm.engine.capi import address_of
from guesthouse.wasm.types import STRING, OptionOf, Primitive, RecordOf, ResultOf, VariantOf, WitType
from guesthouse.wasm.values import OK, Form, Utf8

from . import capi as component_capi
from .capi import (
    FIELD_SIZE,
    KIND_OPTION,
    KIND_RECORD,
    KIND_RESULT,
    KIND_STRING,
    KIND_VARIANT,
    NAME_SIZE,
    SIZE_AND_ADDRESS,
    VAL_SIZE,
)

WriteResult: TypeAlias = Callable[[Any, int, int], None]
"""`(value, context, address)`."""

_ARENA: Final = Arena(64 * 1024)
"""One for all results: a result is copied before the next one is made."""

_OK_VALUE: Final = Struct("<B7xB23x").pack(KIND_RESULT, 1)
_NONE_VALUE: Final = Struct("<B31x").pack(KIND_OPTION)
_pack_pair: Final = Struct("<B7xQQ8x").pack
_pack_address: Final = Struct("<B7xQ16x").pack
_put_pair: Final = Struct("<B7xQQ").pack_into
_pack_variant: Final = Struct("<B7xQQQ").pack
_pack_result: Final = Struct("<B7xB7xQ8x").pack


def lower_result(type_: WitType, forms: tuple[Form, ...] = ()) -> WriteResult:
    """Compile the writer of a host call's result.

    Args:
        type_: of the import.
        forms: what the call may return besides values of the type.
    """
    write_any = _tree(lower(type_), _compiled(type_, forms) if forms else None)
    if isinstance(type_, Primitive) and type_.name != "string":
        return _in_place(lower(type_))
    if isinstance(type_, ResultOf) and type_.ok is None:
        return _constant(OK, _OK_VALUE, write_any)
    if type_ == OptionOf(STRING):
        return _constant(None, _NONE_VALUE, _optional_text(write_any))
    if isinstance(type_, OptionOf):
        return _constant(None, _NONE_VALUE, write_any)
    return write_any


def _in_place(write: Write) -> WriteResult:
    """Of a value that points to nothing: there is nothing to copy."""
    return lambda value, context, address: write(value, address, _ARENA)


def _constant(constant: object, image: bytes, otherwise: WriteResult) -> WriteResult:
    """Of a type with one value that points to nothing and is returned most of the time."""

    def write(value: Any, context: int, address: int) -> None:
        if value is constant:
            MEMORY[address : address + VAL_SIZE] = image
        else:
            otherwise(value, context, address)

    return write


def _optional_text(otherwise: WriteResult) -> WriteResult:
    """Of `option<string>`, for text that is UTF-8 already: its two values stand ready but for the text."""
    block, val_clone = Arena(2 * VAL_SIZE), component_capi.val_clone
    root = block.take(2 * VAL_SIZE)
    MEMORY[root : root + VAL_SIZE] = _pack_address(KIND_OPTION, root + VAL_SIZE)

    def write(value: Any, context: int, address: int, _keep: object = block) -> None:
        if type(value) is not Utf8:
            otherwise(value, context, address)
            return
        data = bytes(value.data)
        _put_pair(MEMORY, root + VAL_SIZE, KIND_STRING, len(data), address_of(data))
        val_clone(root, address)

    return write


def _tree(write: Write, forms: dict[Form, _Fill] | None) -> WriteResult:
    arena, val_clone = _ARENA, component_capi.val_clone

    def write_tree(value: Any, context: int, address: int) -> None:
        try:
            if forms is not None and type(value) is tuple:
                fill = forms.get(value[0])
                if fill is not None:
                    val_clone(fill(value), address)
                    return
                value = value[0].expand(value[1:])
            arena.context = context
            root = arena.take(VAL_SIZE)
            write(value, root, arena)
            val_clone(root, address)
        finally:
            arena.clear()

    return write_tree


_Fill: TypeAlias = Callable[[tuple[Any, ...]], int]
"""Writes the fields of `(form, *values)`; returns where the tree is."""


def _compiled(type_: WitType, forms: tuple[Form, ...]) -> dict[Form, _Fill]:
    records = ((form, _record_of(type_, form)) for form in forms)
    return {form: _filler(form, record) for form, record in records if record is not None}


def _record_of(type_: WitType | None, form: Form) -> RecordOf | None:
    """The record that the form fills; None when the type has another shape."""
    for step in form.path:
        if isinstance(type_, ResultOf):
            type_ = type_.ok if step == "ok" else type_.err
        elif isinstance(type_, VariantOf):
            type_ = dict(type_.cases).get(step)
        else:
            return None
    if isinstance(type_, RecordOf) and tuple(name for name, _ in type_.fields) == form.fields:
        return type_
    return None


def _filler(form: Form, record: RecordOf) -> _Fill:
    names = [name.encode() for name in (*form.path, *form.fields)]
    block = Arena(VAL_SIZE * (len(form.path) + 1) + FIELD_SIZE * len(form.fields))
    root = at = block.take(VAL_SIZE * (len(form.path) + 1))
    entries = block.take(FIELD_SIZE * len(form.fields))
    for step, name in zip(form.path, names, strict=False):
        below = at + VAL_SIZE
        if step in ("ok", "err"):
            image = _pack_result(KIND_RESULT, step == "ok", below)
        else:
            image = _pack_variant(KIND_VARIANT, len(name), address_of(name), below)
        MEMORY[at:below] = image
        at = below
    MEMORY[at : at + VAL_SIZE] = _pack_pair(KIND_RECORD, len(form.fields), entries)
    writers = []
    for index, (_, field) in enumerate(record.fields):
        name, entry = names[len(form.path) + index], entries + FIELD_SIZE * index
        MEMORY[entry : entry + NAME_SIZE] = SIZE_AND_ADDRESS.pack(len(name), address_of(name))
        writers.append((index + 1, lower(field), entry + NAME_SIZE))

    def fill(value: tuple[Any, ...], _keep: object = (names, block)) -> int:
        for index, write, address in writers:
            write(value[index], address, _ARENA)
        return root

    return fill
