"""A core module through which a guest calls the host, so that it can be interrupted before each call.

The engine checks the epoch at function entries and loop headers. Host calls in a straight line
are neither, so a guest could make thousands of them without being interrupted. So each goes through a wasm function
in the guest's own store, whose entry is checked.

A blocking call while the guest's allocator runs in a host call must be refused before it reaches the engine, which
panics outside of a fiber. Only the worker knows which functions block. So the gate has each lowered function twice,
checked (see `Checking`) and unchecked, and the worker links guests to the latter where it never blocks. It checks that
the plan leads everything else through the former (`core/gate_check.py`).

Calls that the guest's batch may answer (`batch_module.py`) are asked of it first, through a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from guesthouse.wasm.abi.layout import CoreSignature, Known, core_signature
from guesthouse.wasm.binary.byte_reader import MODULE, encoded_number, encoded_section
from guesthouse.wasm.binary.core_module import CODE, EXPORTS, FUNCTIONS, IMPORTS, TYPES
from guesthouse.wasm.plan.batch_layout import TABLE
from guesthouse.wasm.plan.batch_module import batch_of
from guesthouse.wasm.plan.plan import (
    ANSWERED,
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
_BATCH_WEIGHT: Final = Weight(0, 0)
"""It is instantiated apart."""
_TABLES, _ELEMENTS = 4, 9
_FUNCREF: Final = b"\x70"
_NO_ANSWER: Final = b"\x04\x00\x41\x00\x0b"
"""The body of a function that returns 0: four bytes, no locals, `i32.const`, `end`."""


def with_gate(plan: Plan) -> tuple[Plan, tuple[bytes, ...]]:
    """The plan with all host calls through a gate.

    Returns:
        The plan, and the additional core modules: the gate, unless it is a component without host calls, and the
        batch's, if it can receive messages.
    """
    if not plan.calls:
        return plan, ()
    calls = (*plan.calls, Checking())
    host = (number for number, call in enumerate(calls) if not isinstance(call, Trapping))
    gate = Instantiation(plan.modules, tuple(map(CallOf, host)))
    weight = Weight(1024 + 256 * len(calls), 10 + len(calls))
    batch, answering = batch_of(replace(plan, modules=plan.modules + 1)) or (None, b"")
    batches = () if batch is None else (answering,)
    gated = replace(
        plan,
        calls=calls,
        modules=plan.modules + 1 + len(batches),
        instantiations=(
            gate,
            *(replace(each, imports=tuple(map(_gated, each.imports))) for each in plan.instantiations),
        ),
        memory=None if plan.memory is None else _later(plan.memory),
        reallocs=tuple(map(_later, plan.reallocs)),
        exports=tuple(replace(each, function=_later(each.function)) for each in plan.exports),
        weights=(*plan.weights, weight, *(_BATCH_WEIGHT for _ in batches)) if plan.weights else (),
        batch=batch,
    )
    answered = () if batch is None else batch.answered
    slots = {call: slot for slot, call in enumerate(answered) if call is not None}
    return gated, (_module(plan.calls, _signatures(plan), slots), *batches)


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


def _module(calls: Sequence[Call], signatures: Sequence[CoreSignature], slots: Mapping[int, int]) -> bytes:
    """A module that exports a function for each of these calls, named by its number, and lowered ones once more
    `unchecked`. They trap, or call the import of the same name; the last import is the check.

    Args:
        calls: the calls.
        signatures: of each.
        slots: where in the table is what may answer a call, by the call's number.
    """
    types: dict[CoreSignature, int] = {}

    def number_of(signature: CoreSignature) -> bytes:
        return encoded_number(types.setdefault(signature, len(types)))

    numbers = [number_of(each) for each in (*signatures, _CHECK)]
    answers = {slot: number_of((signatures[at][0], ("i32",))) for at, slot in slots.items()}
    imported = [at for at, call in enumerate(calls) if not isinstance(call, Trapping)]
    place = {at: number for number, at in enumerate(imported)}
    check = len(imported)
    functions: list[tuple[str, bytes, bytes]] = []
    for at, (call, (params, _)) in enumerate(zip(calls, signatures, strict=True)):
        if isinstance(call, Trapping):
            functions.append((str(at), numbers[at], _TRAP))
        elif isinstance(call, Lowered):
            slot = slots.get(at)
            asked = b"" if slot is None else _asked(slot, answers[slot], len(params))
            functions.append((str(at), numbers[at], _body(place[at], len(params), asked, check)))
            functions.append((unchecked(at), numbers[at], _body(place[at], len(params), asked)))
        else:
            functions.append((str(at), numbers[at], _body(place[at], len(params))))
    first = check + 1
    nothing = {slot: first + len(functions) + order for order, slot in enumerate(answers)}
    exports = [
        _name(name) + _FUNCTION + encoded_number(number)
        for number, (name, _, _) in enumerate(functions, first)
    ]
    tables, elements = [], []
    if answers:
        size = encoded_number(len(ANSWERED))
        tables = [_FUNCREF + b"\x01" + size + size]
        exports.append(_name(TABLE) + b"\x01\x00")
        elements = [
            b"\x00\x41" + encoded_number(slot) + _END + encoded_number(1) + encoded_number(function)
            for slot, function in nothing.items()
        ]
    return MODULE + b"".join(
        (
            _section(TYPES, [_FUNCTION_TYPE + b"".join(map(_values, each)) for each in types]),
            _section(
                IMPORTS,
                [_name("") + _name(str(at)) + _FUNCTION + numbers[at] for at in (*imported, len(calls))],
            ),
            _section(FUNCTIONS, [*(type_ for _, type_, _ in functions), *answers.values()]),
            _section(_TABLES, tables) if tables else b"",
            _section(EXPORTS, exports),
            _section(_ELEMENTS, elements) if elements else b"",
            _section(CODE, [*(body for _, _, body in functions), *(_NO_ANSWER for _ in answers)]),
        )
    )


def _asked(slot: int, type_: bytes, params: int) -> bytes:
    """Returns if the function in that slot answers."""
    got = b"".join(_LOCAL_GET + encoded_number(at) for at in range(params))
    call = b"\x41" + encoded_number(slot) + b"\x11" + type_ + b"\x00"  # i32.const, call_indirect
    return got + call + b"\x04\x40\x0f" + _END  # if, return, end


def _body(function: int, params: int, asked: bytes = b"", check: int | None = None) -> bytes:
    checked = b"" if check is None else _CALL + encoded_number(check)
    got = b"".join(_LOCAL_GET + encoded_number(at) for at in range(params))
    body = b"\x00" + asked + checked + got + _CALL + encoded_number(function) + _END
    return encoded_number(len(body)) + body


def _section(kind: int, elements: list[bytes]) -> bytes:
    return encoded_section(kind, encoded_number(len(elements)) + b"".join(elements))


def _values(names: tuple[str, ...]) -> bytes:
    return encoded_number(len(names)) + b"".join(_VALUE_TYPES[name] for name in names)


def _name(text: str) -> bytes:
    return encoded_number(len(text)) + text.encode()
