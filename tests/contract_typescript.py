"""The contract in TypeScript, as `jco guest-types` declares it: what `guest_sdk/javascript/contract` is compared with.

After a change of `wit/`:

    npx @bytecodealliance/jco@1.34.0 guest-types wit --world-name process -o guest_sdk/javascript/contract
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .wit import Composite, Function, Interface, Type, Use

_NUMBERS: Final = ("s8", "u8", "s16", "u16", "s32", "u32", "f32", "f64")
_WORDS: Final = {"bool": "boolean", "char": "string", "u64": "bigint", "s64": "bigint"}
_ARRAYS: Final = {"u8": "Uint8Array", "u16": "Uint16Array", "u32": "Uint32Array", "u64": "BigUint64Array"}

_RESERVED: Final = ("public", "static", "default")


def written(interface: Interface) -> set[str]:
    """The declarations of an interface, without comments and white space."""
    of_types = (each for name, kind in interface.types.items() for each in _definition(name, kind))
    of_functions = (_function(name, function) for name, function in interface.functions.items())
    return {re.sub(r"\s", "", each) for each in (*of_types, *of_functions)}


def declared(file: Path) -> set[str]:
    """The declarations of a file, in the same form."""
    text = re.sub(r"/\*.*?\*/|^///.*?$", "", file.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    body = text.partition("{")[2].rpartition("}")[0]
    return {re.sub(r"\s", "", each) for each in re.split(r"\bexport\b", body)[1:]}


def _definition(name: str, kind: Type | Use | Composite | None) -> Iterator[str]:
    title = _title(name)
    if isinstance(kind, Use):
        yield f"type {title} = import('{kind.interface}').{_title(kind.name)};"
    elif not isinstance(kind, Composite):
        yield f"type {title} = {_type(kind)};"
    elif kind.kind == "record":
        yield f"interface {title} {{ {''.join(_field(*part) for part in kind.parts)} }}"
    elif kind.kind == "enum":
        yield f"type {title} = {'|'.join(repr(part) for part, _ in kind.parts)};"
    else:
        yield f"type {title} = {'|'.join(title + _title(part) for part, _ in kind.parts)};"
        for part, value in kind.parts:
            carried = "" if value is None else f"val: {_type(value)},"
            yield f"interface {title}{_title(part)} {{ tag: '{part}', {carried} }}"


def _field(name: str, kind: Type | None) -> str:
    if kind is not None and kind.head == "option":
        return f"{_camel(name)}?: {_type(kind.arguments[0])},"
    return f"{_camel(name)}: {_type(kind)},"


def _function(name: str, function: Function) -> str:
    named = ((f"{each}_" if each in _RESERVED else _camel(each), kind) for each, kind in function.parameters)
    parameters = ",".join(f"{each}: {_type(kind)}" for each, kind in named)
    result = function.result
    if result is not None and result.head == "result":
        result = result.arguments[0]
    return f"function {_camel(name)}({parameters}): {'void' if result is None else _type(result)};"


def _type(kind: Type | None) -> str:
    if kind is None:
        return "void"
    inner = [_type(each) for each in kind.arguments]
    if kind.head in _NUMBERS:
        return "number"
    if kind.head == "list":
        element = kind.arguments[0]
        return (_ARRAYS.get(element.head) if element else None) or f"Array<{inner[0]}>"
    if kind.head == "option":
        return f"{inner[0]} | undefined"
    if kind.head == "tuple":
        return f"[{','.join(inner)}]"
    return _WORDS.get(kind.head) or (kind.head if kind.head == "string" else _title(kind.head))


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _camel(name: str) -> str:
    return _title(name)[0].lower() + _title(name)[1:]
