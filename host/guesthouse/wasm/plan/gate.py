"""A core module through which a guest calls the host, so that it can be interrupted before each call.

The engine checks the epoch at function entries and loop headers. Host calls in a straight line
are neither, so a guest could make thousands of them without being interrupted. So each goes through a wasm function
in the guest's own store, whose entry is checked.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from guesthouse.wasm.abi.layout import CoreSignature, Known, core_signature
from guesthouse.wasm.binary.byte_reader import MODULE, encoded_number, encoded_section
from guesthouse.wasm.binary.core_module import CODE, EXPORTS, FUNCTIONS, IMPORTS, TYPES
from guesthouse.wasm.plan.plan import (
    Call,
    CallOf,
    Export,
    HandleAction,
    Instantiation,
    Lowered,
    OwnHandle,
    Plan,
    Source,
    Trapping,
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


def with_gate(plan: Plan) -> tuple[Plan, tuple[bytes, ...]]:
    """The plan with all host calls through a gate.

    Returns:
        The plan, and the additional core modules: one, or none for a component without host calls.
    """
    if not plan.calls:
        return plan, ()
    host = (number for number, call in enumerate(plan.calls) if not isinstance(call, Trapping))
    gate = Instantiation(plan.modules, tuple(map(CallOf, host)))
    weight = Weight(1024 + 64 * len(plan.calls), 10 + len(plan.calls) // 10)
    gated = replace(
        plan,
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
    return gated, (_module(_signatures(plan), [isinstance(call, Trapping) for call in plan.calls]),)


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


def _module(signatures: list[CoreSignature], traps: list[bool]) -> bytes:
    """A module that exports a function of each of these types, named by its number, which traps or calls the import of
    the same name.
    """
    types: dict[CoreSignature, int] = {}
    numbers = [encoded_number(types.setdefault(each, len(types))) for each in signatures]
    names = [_name(str(number)) for number in range(len(signatures))]
    imported = [at for at, trap in enumerate(traps) if not trap]
    place = {at: number for number, at in enumerate(imported)}
    bodies = [
        _TRAP if traps[at] else _body(place[at], len(params)) for at, (params, _) in enumerate(signatures)
    ]
    first = len(imported)
    return MODULE + b"".join(
        (
            _section(TYPES, [_FUNCTION_TYPE + b"".join(map(_values, each)) for each in types]),
            _section(IMPORTS, [_name("") + names[at] + _FUNCTION + numbers[at] for at in imported]),
            _section(FUNCTIONS, numbers),
            _section(
                EXPORTS, [name + _FUNCTION + encoded_number(first + at) for at, name in enumerate(names)]
            ),
            _section(CODE, bodies),
        )
    )


def _body(function: int, params: int) -> bytes:
    got = b"".join(_LOCAL_GET + encoded_number(at) for at in range(params))
    body = b"\x00" + got + _CALL + encoded_number(function) + _END
    return encoded_number(len(body)) + body


def _section(kind: int, elements: list[bytes]) -> bytes:
    return encoded_section(kind, encoded_number(len(elements)) + b"".join(elements))


def _values(names: tuple[str, ...]) -> bytes:
    return encoded_number(len(names)) + b"".join(_VALUE_TYPES[name] for name in names)


def _name(text: str) -> bytes:
    return encoded_number(len(text)) + text.encode()
