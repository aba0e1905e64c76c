"""Writes `worker/served/contract.py`: the types of the contract's functions, out of `wit/`.

    python -m tests.contract_types wit > host/guesthouse/worker/served/contract.py

A worker compares what components import with them, and reads no text for it. A test writes them again and compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .wit import PRIMITIVES, Composite, Function, Interface, Type, Use, WitPackage, read_wit

_HEAD: Final = '''"""Types of `wit/`, written by `python -m tests.contract_types`: do not edit."""

from __future__ import annotations

from typing import Final

from guesthouse.wasm.types import (
'''
_CLASSES: Final = {
    "list": "ListOf",
    "option": "OptionOf",
    "result": "ResultOf",
    "record": "RecordOf",
    "variant": "VariantOf",
    "enum": "EnumOf",
    "flags": "FlagsOf",
}


def written(wit: WitPackage, world: str) -> str:
    """The module's text for the interfaces that a world imports."""
    interfaces = [wit.interfaces[name] for name in wit.interfaces if name in wit.worlds[world].imports]
    body = "\n".join(_body(interfaces))
    known = (*map(str.upper, PRIMITIVES), *_CLASSES.values(), "TupleOf", "FunctionType")
    used = set(re.findall(r"\w+", body)).intersection(known)
    imported = "".join(f"    {name},\n" for name in sorted(used, key=lambda name: (not name.isupper(), name)))
    return f"{_HEAD}{imported})\n\n{body}\n"


def _body(interfaces: list[Interface]) -> Iterator[str]:
    written: set[str] = set()
    for interface in interfaces:
        for name, definition in interface.types.items():
            if isinstance(definition, Use):
                continue
            if name in written:
                raise ValueError(f"two interfaces have a type {name}: give one another name")
            written.add(name)
            yield f"{_constant(name)}: Final = {_definition(definition)}"
    yield "\nFUNCTIONS: Final[dict[str, dict[str, FunctionType]]] = {"
    for interface in interfaces:
        if interface.functions:
            plain, _, _ = interface.id.partition("@")
            yield f'"{plain}": {{'
            yield from (f'"{name}": {_function(each)},' for name, each in interface.functions.items())
            yield "},"
    yield "}"
    yield '"""By interface, without its version, and name."""'


def _constant(name: str) -> str:
    return name.upper().replace("-", "_")


def _function(function: Function) -> str:
    params = _tuple(f'("{name}", {_optional(of)})' for name, of in function.parameters)
    return f"FunctionType({params}, {_optional(function.result)})"


def _definition(definition: Type | Composite) -> str:
    if isinstance(definition, Type):
        return _type(definition)
    if definition.kind in ("enum", "flags"):
        names = _tuple(f'"{name}"' for name, _ in definition.parts)
        return f"{_CLASSES[definition.kind]}({names})"
    parts = _tuple(f'("{name}", {_optional(of)})' for name, of in definition.parts)
    return f"{_CLASSES[definition.kind]}({parts})"


def _type(of: Type) -> str:
    if of.head == "tuple":
        return f"TupleOf({_tuple(map(_optional, of.arguments))})"
    if of.head == "result":
        ok, err = (*of.arguments, None, None)[:2]
        return f"ResultOf({_optional(ok)}, {_optional(err)})"
    if of.head in _CLASSES:
        return f"{_CLASSES[of.head]}({', '.join(map(_optional, of.arguments))})"
    return _constant(of.head)


def _optional(of: Type | None) -> str:
    return "None" if of is None else _type(of)


def _tuple(parts: Iterator[str] | map[str]) -> str:
    """A tuple as code, whatever its length."""
    each = list(parts)
    return f"({', '.join(each)}{',' if len(each) == 1 else ''})"


if __name__ == "__main__":
    sys.stdout.write(written(read_wit(Path(sys.argv[1])), "process"))
