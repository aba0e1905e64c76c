"""A plan as JSON, for the compile cache, and back.

The cache checks that what it hands out is what it stored, so a plan that is read was made by this code: what does
not have its form is refused all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from guesthouse.canonical.plan import (
    Call,
    CallOf,
    Dropped,
    Export,
    Import,
    Instantiation,
    Lifted,
    Lowered,
    Plan,
    Source,
)
from guesthouse.worker.boundary.types import (
    EnumOf,
    FlagsOf,
    FunctionType,
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

MAX_PLAN_BYTES: Final = 4 * 1024 * 1024
"""Of a plan's JSON. That of a Python guest has 0.2 MB."""

_MAX_DEPTH: Final = 200
"""Of types within one another."""

_T = TypeVar("_T")
_Json = Any


def plan_to_json(plan: Plan) -> bytes:
    """The plan as JSON.

    Raises:
        ValueError: it is over `MAX_PLAN_BYTES`, or its types are too deep.
    """
    value = {
        "modules": plan.modules,
        "small": plan.small,
        "instantiations": [
            [each.module, [_source(source) for source in each.imports], each.start]
            for each in plan.instantiations
        ],
        "calls": [_call(call) for call in plan.calls],
        "memory": None if plan.memory is None else _source(plan.memory),
        "reallocs": [_source(each) for each in plan.reallocs],
        "functions": [[each.interface, each.name, _function(each.type)] for each in plan.functions],
        "resources": plan.resources,
        "exports": [
            [each.interface, each.name, _source(each.function), _function(each.type), each.realloc]
            for each in plan.exports
        ],
    }
    encoded = json.dumps(value, separators=(",", ":")).encode()
    if len(encoded) > MAX_PLAN_BYTES:
        raise ValueError(f"the plan has {len(encoded)} bytes, over {MAX_PLAN_BYTES}")
    return encoded


def plan_from_json(text: bytes) -> Plan:
    """Read what `plan_to_json` gave.

    Raises:
        ValueError: it is something else.
    """
    if len(text) > MAX_PLAN_BYTES:
        raise ValueError(f"a plan has at most {MAX_PLAN_BYTES} bytes")
    try:
        return _plan(json.loads(text))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"this is no plan: {error!r}") from None


def _plan(value: _Json) -> Plan:
    plan = Plan(
        modules=_number(value["modules"]),
        small=_boolean(value["small"]),
        instantiations=_all(_read_instantiation, value["instantiations"]),
        calls=_all(_read_call, value["calls"]),
        memory=_optional(_read_export, value["memory"]),
        reallocs=_all(_read_export, value["reallocs"]),
        functions=_all(_read_import, value["functions"]),
        resources=_all(_read_resource, value["resources"]),
        exports=_all(_read_lifted, value["exports"]),
    )
    _check_numbers(plan)
    return plan


def _check_numbers(plan: Plan) -> None:
    """See that whatever is named by its number exists when it is needed."""
    for number, instantiation in enumerate(plan.instantiations):
        _below(instantiation.module, plan.modules)
        for source in instantiation.imports:
            if isinstance(source, CallOf):
                _below(source.number, len(plan.calls))
            else:
                _below(source.instance, number)
    made = len(plan.instantiations)
    for export in (*plan.reallocs, *(lifted.function for lifted in plan.exports)):
        _below(export.instance, made)
    if plan.memory is not None:
        _below(plan.memory.instance, made)
    for each in (*plan.calls, *plan.exports):
        if not isinstance(each, Dropped) and each.realloc is not None:
            _below(each.realloc, len(plan.reallocs))


def _below(number: int, bound: int) -> None:
    if number >= bound:
        raise ValueError(f"a plan speaks of the number {number} of {bound}")


def _source(source: Source) -> _Json:
    return source.number if isinstance(source, CallOf) else [source.instance, source.name]


def _call(call: Call) -> _Json:
    if isinstance(call, Dropped):
        return ["drop", call.interface, call.name]
    return ["lower", call.interface, call.name, call.realloc]


def _function(type_: FunctionType) -> _Json:
    result = None if type_.result is None else _type(type_.result, _MAX_DEPTH)
    return [_pairs(type_.params, _MAX_DEPTH), result]


def _type(type_: WitType | None, depth: int) -> _Json:
    if not depth:
        raise ValueError(f"types are within one another over {_MAX_DEPTH} deep")
    match type_:
        case None:
            return None
        case Primitive(name):
            return name
        case ListOf(element) | OptionOf(element):
            return [_WORDS[type(type_)], _type(element, depth - 1)]
        case RecordOf(pairs) | VariantOf(pairs):
            return [_WORDS[type(type_)], _pairs(pairs, depth - 1)]
        case TupleOf(elements):
            return ["tuple", [_type(each, depth - 1) for each in elements]]
        case EnumOf(names) | FlagsOf(names):
            return [_WORDS[type(type_)], list(names)]
        case ResultOf(ok, err):
            return ["result", _type(ok, depth - 1), _type(err, depth - 1)]
        case Handle(owned, resource):
            return ["own" if owned else "borrow", resource]


_WORDS: Final[Mapping[type, str]] = {
    ListOf: "list",
    OptionOf: "option",
    RecordOf: "record",
    VariantOf: "variant",
    EnumOf: "enum",
    FlagsOf: "flags",
}


def _pairs(pairs: tuple[tuple[str, WitType | None], ...], depth: int) -> _Json:
    return [[name, _type(type_, depth)] for name, type_ in pairs]


def _read_instantiation(value: _Json) -> Instantiation:
    module, imports, start = value
    return Instantiation(_number(module), _all(_read_source, imports), _optional(_text, start))


def _read_source(value: _Json) -> Source:
    return _read_export(value) if isinstance(value, list) else CallOf(_number(value))


def _read_export(value: _Json) -> Export:
    instance, name = value
    return Export(_number(instance), _text(name))


def _read_call(value: _Json) -> Call:
    match value:
        case ["drop", interface, name]:
            return Dropped(_text(interface), _text(name))
        case ["lower", interface, name, realloc]:
            return Lowered(_text(interface), _text(name), _optional(_number, realloc))
    raise ValueError("a plan's call is lowered or drops a handle")


def _read_import(value: _Json) -> Import:
    interface, name, type_ = value
    return Import(_text(interface), _text(name), _read_function(type_))


def _read_resource(value: _Json) -> tuple[str, str]:
    interface, name = value
    return _text(interface), _text(name)


def _read_lifted(value: _Json) -> Lifted:
    interface, name, function, type_, realloc = value
    return Lifted(
        _optional(_text, interface),
        _text(name),
        _read_export(function),
        _read_function(type_),
        _optional(_number, realloc),
    )


def _read_function(value: _Json) -> FunctionType:
    params, result = value
    return FunctionType(_all(_read_pair, params), _optional(_read_type, result))


def _read_pair(value: _Json) -> tuple[str, WitType]:
    name, type_ = value
    return _text(name), _read_type(type_)


def _read_case(value: _Json) -> tuple[str, WitType | None]:
    name, type_ = value
    return _text(name), _optional(_read_type, type_)


def _read_type(value: _Json) -> WitType:
    if isinstance(value, str):
        return _PRIMITIVES[value]
    word, *rest = value
    return _READERS[word](*rest)


_INTEGERS: Final = ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64")
_PRIMITIVES: Final[Mapping[str, Primitive]] = {
    name: Primitive(name) for name in ("bool", *_INTEGERS, "f32", "f64", "char", "string")
}
_READERS: Final[Mapping[str, Callable[..., WitType]]] = {
    "list": lambda element: ListOf(_read_type(element)),
    "option": lambda some: OptionOf(_read_type(some)),
    "record": lambda fields: RecordOf(_all(_read_pair, fields)),
    "variant": lambda cases: VariantOf(_all(_read_case, cases)),
    "tuple": lambda elements: TupleOf(_all(_read_type, elements)),
    "enum": lambda names: EnumOf(_all(_text, names)),
    "flags": lambda names: FlagsOf(_all(_text, names)),
    "result": lambda ok, err: ResultOf(_optional(_read_type, ok), _optional(_read_type, err)),
    "own": lambda resource: Handle(True, _optional(_read_resource, resource)),
    "borrow": lambda resource: Handle(False, _optional(_read_resource, resource)),
}


def _all(read: Callable[[_Json], _T], values: _Json) -> tuple[_T, ...]:
    if not isinstance(values, list):
        raise ValueError("a plan has a list there")
    return tuple(read(value) for value in values)


def _optional(read: Callable[[_Json], _T], value: _Json) -> _T | None:
    return None if value is None else read(value)


def _text(value: _Json) -> str:
    if not isinstance(value, str):
        raise ValueError("a plan has text there")
    return value


def _number(value: _Json) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a plan has a number there")
    return value


def _boolean(value: _Json) -> bool:
    if not isinstance(value, bool):
        raise ValueError("a plan has a truth there")
    return value
