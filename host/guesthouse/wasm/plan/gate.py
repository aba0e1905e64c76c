"""A core module through which a guest calls the host, so that it can be interrupted before each call.

The engine checks the epoch at function entries and loop headers. Host calls in a straight line
are neither, so a guest could make thousands of them without being interrupted. So each goes through a wasm function
in the guest's own store, whose entry is checked.

A blocking call while the guest's allocator runs in a host call must be refused before it reaches the engine, which
panics outside of a fiber. Only the worker knows which functions block. So the gate has each lowered function twice,
checked (see `Checking`) and unchecked, and the worker links guests to the latter where it never blocks. It checks that
the plan leads everything else through the former (`core/gate_check.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from guesthouse.wasm.abi.layout import CoreSignature, Known, core_signature
from guesthouse.wasm.binary.byte_reader import MODULE, encoded_number, encoded_section
from guesthouse.wasm.binary.core_module import CODE, EXPORTS, FUNCTIONS, IMPORTS, TYPES
from guesthouse.wasm.plan.plan import (
    Call,
    CallOf,
    Checking,
    Export,
    HandleAction,
    Instantiation,
    Lowered,
    OwnHandle,
    Plan,
    Source,
    Trapping,
    unchecked,
)
from guesthouse.wasm.plan.weight import Weight

_FUNCTION_TYPE: Final = b"\x60"
_FUNCTION: Final = b"\x00"
_LOCAL_GET: Final = b"\x20"
_CALL: Final = b"\x10"
_END: Final = b"\x0b"
_VALUE_TYPES: Final = {"i32": b"\x7f", "i64": b"\x7e", "f32": b"\x7d", "f64": b"\x7c"}
_TRAP: Final = b"\x03\x00\x00\x0b"
"""The body of a function that traps: three bytes, no locals, `unreachable`, `end`."""
_DROP: Final[CoreSignature] = (("i32",), ())
_NUMBER: Final[CoreSignature] = (("i32",), ("i32",))
_CHECK: Final[CoreSignature] = ((), ())


def with_gate(plan: Plan) -> tuple[Plan, tuple[bytes, ...]]:
    """The plan with all host calls through a gate.

    Returns:
        The plan, and the additional core modules: one, or none for a component without host calls.
    """
    if not plan.calls:
        return plan, ()
    calls = (*plan.calls, Checking())
    host = (number for number, call in enumerate(calls) if not isinstance(call, Trapping))
    gate = Instantiation(plan.modules, tuple(map(CallOf, host)))
    weight = Weight(1024 + 256 * len(calls), 10 + len(calls))
    gated = replace(
        plan,
        calls=calls,
        modules=plan.modules + 1,
        instantiations=(
            gate,
            *(replace(each, imports=tuple(map(_gated, each.imports))) for each in plan.instantiations),
        ),
        memory=None if plan.memory is None else _later(plan.memory),
        reallocs=tuple(map(_later, plan.reallocs)),
        exports=tuple(replace(each, function=_later(each.function)) for each in plan.exports),
        weights=(*plan.weights, weight) if plan.weights else (),
    )
    return gated, (_module(plan.calls, _signatures(plan)),)


def _gated(source: Source) -> Source:
    return Export(0, str(source.number)) if isinstance(source, CallOf) else _later(source)


def _later(export: Export) -> Export:
    """The gate is the first instance, so all others move by one."""
    return Export(export.instance + 1, export.name)


def _signatures(plan: Plan) -> list[CoreSignature]:
    known: Known = {}
    types = {(each.interface, each.name): each.type for each in plan.functions}

    def signature(call: Call) -> CoreSignature:
        match call:
            case Lowered(interface, name):
                return core_signature(types[interface, name], known)
            case Trapping(signature):
                return signature
            case OwnHandle(_, action) if action is not HandleAction.DROP:
                return _NUMBER
        return _DROP

    return [signature(call) for call in plan.calls]


def _module(calls: Sequence[Call], signatures: Sequence[CoreSignature]) -> bytes:
    """A module that exports a function for each of these calls, named by its number, and lowered ones once more
    `unchecked`. They trap, or call the import of the same name; the last import is the check.
    """
    types: dict[CoreSignature, int] = {}
    numbers = [encoded_number(types.setdefault(each, len(types))) for each in (*signatures, _CHECK)]
    imported = [at for at, call in enumerate(calls) if not isinstance(call, Trapping)]
    place = {at: number for number, at in enumerate(imported)}
    check = len(imported)
    functions: list[tuple[str, bytes, bytes]] = []
    for at, (call, (params, _)) in enumerate(zip(calls, signatures, strict=True)):
        if isinstance(call, Trapping):
            functions.append((str(at), numbers[at], _TRAP))
        elif isinstance(call, Lowered):
            functions.append((str(at), numbers[at], _body(place[at], len(params), check)))
            functions.append((unchecked(at), numbers[at], _body(place[at], len(params))))
        else:
            functions.append((str(at), numbers[at], _body(place[at], len(params))))
    first = check + 1
    return MODULE + b"".join(
        (
            _section(TYPES, [_FUNCTION_TYPE + b"".join(map(_values, each)) for each in types]),
            _section(
                IMPORTS,
                [_name("") + _name(str(at)) + _FUNCTION + numbers[at] for at in (*imported, len(calls))],
            ),
            _section(FUNCTIONS, [type_ for _, type_, _ in functions]),
            _section(
                EXPORTS,
                [
                    _name(name) + _FUNCTION + encoded_number(number)
                    for number, (name, _, _) in enumerate(functions, first)
                ],
            ),
            _section(CODE, [body for _, _, body in functions]),
        )
    )


def _body(function: int, params: int, check: int | None = None) -> bytes:
    checked = b"" if check is None else _CALL + encoded_number(check)
    got = b"".join(_LOCAL_GET + encoded_number(at) for at in range(params))
    body = b"\x00" + checked + got + _CALL + encoded_number(function) + _END
    return encoded_number(len(body)) + body


def _section(kind: int, elements: list[bytes]) -> bytes:
    return encoded_section(kind, encoded_number(len(elements)) + b"".join(elements))


def _values(names: tuple[str, ...]) -> bytes:
    return encoded_number(len(names)) + b"".join(_VALUE_TYPES[name] for name in names)


def _name(text: str) -> bytes:
    return encoded_number(len(text)) + text.encode()
