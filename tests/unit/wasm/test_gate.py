"""A guest is interrupted in a straight line of host calls as it is in a loop."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace
from wasmtime import wat2wasm

from guesthouse.package.compile import compile as compiling
from guesthouse.wasm.binary.byte_reader import UnsupportedComponent
from guesthouse.wasm.core.gate_check import check_gate
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine import capi
from guesthouse.wasm.errors import NotLoaded
from guesthouse.wasm.plan.batch_layout import TABLE
from guesthouse.wasm.plan.gate import with_gate
from guesthouse.wasm.plan.linking import MAX_CALLS
from guesthouse.wasm.plan.plan import CallOf, Checking, Export, Instantiation, Plan, unchecked
from guesthouse.wasm.plan.plan_json import plan_from_json, plan_to_json
from guesthouse.wasm.plan.planner import take_apart
from guesthouse.wasm.types import U8, U32, FunctionType, ListOf, OptionOf, ResultOf

from ...boundary.harness import ENGINE, LIMITS, Calls, apart, finish_step, guest
from ..worker.guests import ECHO

ENGINE_ADDRESS = ctypes.cast(ENGINE.ptr(), ctypes.c_void_p).value or 0
COUNT = '(export "count" (func))'
IMPORT_COUNT = '(import "host" "count" (func $count))'


def test_a_straight_line_of_host_calls_yields_when_its_slice_is_over() -> None:
    counted = 0

    def count(owner: Any) -> None:
        nonlocal counted
        counted += 1
        if counted % 10 == 0:  # as the timer does, at moments that the test chooses
            for _ in range(3):
                capi.increment_epoch(ENGINE_ADDRESS)

    loaded = apart_with("(call $count)" * 100, {"count": count})
    fiber = loaded.new_fiber(LIMITS, None)
    try:
        finish_step(fiber)
        fiber.start()
        polls = 1
        while not fiber.poll():
            polls += 1
        assert counted == 100
        assert polls >= 10
    finally:
        fiber.drop()


def apart_with(body: str, calls: dict[str, Any]) -> LinkedComponent:
    return apart(
        bytes(wat2wasm(guest(body, COUNT, more=IMPORT_COUNT))), Calls(calls), ("test:types/guest", "run")
    )


def test_no_module_but_the_gate_imports_a_call_of_the_host() -> None:
    plan = take_apart(bytes(wat2wasm(guest("(call $count)", COUNT, more=IMPORT_COUNT))), ENGINE).plan
    gated, gates = with_gate(plan)
    assert len(gates) == 1
    assert gated.modules == plan.modules + 1 == len(gated.weights)
    first, *others = gated.instantiations
    assert first.module == plan.modules
    assert all(isinstance(source, CallOf) for source in first.imports)
    assert not any(isinstance(source, CallOf) for each in others for source in each.imports)


def test_a_component_that_calls_nothing_has_no_gate() -> None:
    plan = Plan(1, False, (), (), None, (), (), (), ())
    assert with_gate(plan) == (plan, ())


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 127, 128, 300])
def test_a_gate_has_as_many_functions_as_there_are_calls(count: int) -> None:
    imports = "".join(
        f'(export "f{n}" (func (param "a" f64) (param "b" s64) (result f32)))' for n in range(count)
    )
    more = "".join(f'(import "host" "f{n}" (func $f{n} (param f64 i64) (result f32)))' for n in range(count))
    body = "".join(f"(drop (call $f{n} (f64.const {n}.5) (i64.const -{n})))" for n in range(count))
    heard: list[tuple[int, float, int]] = []

    def call(n: int) -> Any:
        def hear(owner: Any, a: float, b: int) -> float:
            heard.append((n, a, b))
            return 1.0

        return hear

    loaded = apart(
        bytes(wat2wasm(guest(body, imports, more=more))),
        Calls({f"f{n}": call(n) for n in range(count)}),
        ("test:types/guest", "run"),
    )
    fiber = loaded.new_fiber(LIMITS, None)
    try:
        finish_step(fiber)
        fiber.start()
        finish_step(fiber)
    finally:
        fiber.drop()
    assert heard == [(n, n + 0.5, -n) for n in range(count)]


def test_what_may_answer_in_place_of_the_host_is_no_instance_of_the_plan() -> None:
    parts = take_apart(bytes(wat2wasm(ECHO)), ENGINE)
    gated, gates = with_gate(parts.plan)
    batch = gated.batch
    assert batch is not None
    assert len(gates) == 2
    assert batch.module == gated.modules - 1 == len(gated.weights) - 1
    assert batch.module not in {each.module for each in gated.instantiations}
    names = {number: gated.calls[number] for number in batch.answered if number is not None}
    assert [getattr(call, "name", None) for call in names.values()] == [
        "receive",
        "get-blob-text",
        "send-ws-text",
    ]
    assert plan_from_json(plan_to_json(gated)) == gated
    check_gate(gated, [0])
    second = replace(gated, instantiations=(*gated.instantiations, Instantiation(batch.module, ())))
    with pytest.raises(NotLoaded, match="has an instance of its batch"):
        check_gate(second, [0])
    with_table = instance(LAST, imports=(Export(0, TABLE),))(gated)
    with pytest.raises(NotLoaded, match="leads around the gate"):
        check_gate(with_table, [0])


def test_what_answers_is_compiled_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that could be interrupted would let a batch end while a message is noted in it."""
    changed: list[bytes] = []

    def interruptible(module: bytes) -> bytes:
        changed.append(module)
        return module

    monkeypatch.setattr(compiling, "interruptible", interruptible)
    content = bytes(wat2wasm(ECHO))
    parts = take_apart(content, ENGINE)
    compiling.compile_component(content)
    assert changed == list(parts.modules)


@pytest.mark.parametrize(
    ("call", "type_"),
    [
        ("receive", FunctionType((), ResultOf(None, None))),
        ("get-blob-text", FunctionType((), OptionOf(ListOf(U8)))),
        ("send-ws-text", FunctionType((("channel-id", U32), ("text", ListOf(U8))), ResultOf(None, None))),
    ],
)
def test_a_call_of_another_type_is_left_to_the_host(call: str, type_: FunctionType) -> None:
    """Which refuses it, unless it is of another version that the host has."""
    plan = take_apart(bytes(wat2wasm(ECHO)), ENGINE).plan
    functions = tuple(each._replace(type=type_) if each.name == call else each for each in plan.functions)
    gated, _ = with_gate(replace(plan, functions=functions))
    if call == "receive":
        assert gated.batch is None
    else:
        assert gated.batch is not None
        answered = [gated.calls[number] for number in gated.batch.answered if number is not None]
        assert call not in {getattr(each, "name", None) for each in answered}


@pytest.mark.parametrize("more", [0, 1])
def test_a_component_lowers_so_many_functions_and_no_more(more: int) -> None:
    lowered = '(core func (canon lower (func $host "count")))' * (MAX_CALLS - 1 + more)
    text = guest("(call $count)", COUNT, more=IMPORT_COUNT)
    content = bytes(wat2wasm(text.replace("(core module $main", f"{lowered}(core module $main")))
    if more:
        with pytest.raises(UnsupportedComponent, match=f"lowers over {MAX_CALLS} core functions"):
            take_apart(content, ENGINE)
    else:
        assert len(take_apart(content, ENGINE).plan.calls) == MAX_CALLS


def instance(number: int, **changes: Any) -> Callable[[Plan], Plan]:
    """The plan with another instance of that number."""

    def change(plan: Plan) -> Plan:
        instances = list(plan.instantiations)
        instances[number] = replace(instances[number], **changes)
        return replace(plan, instantiations=tuple(instances))

    return change


LAST: Final = -1
LIES: Final[dict[str, Callable[[Plan], Plan]]] = {
    "no instance": lambda plan: replace(plan, instantiations=()),
    "no check": lambda plan: replace(plan, calls=plan.calls[:-1]),
    "a check before the last": lambda plan: replace(plan, calls=(Checking(), *plan.calls)),
    "a gate without its check": instance(0, imports=(CallOf(0),)),
    "a gate of other calls": instance(0, imports=(CallOf(1), CallOf(0))),
    "a gate that begins by a call": instance(0, start="0"),
    "another gate": lambda plan: replace(
        plan, instantiations=(*plan.instantiations, Instantiation(plan.instantiations[0].module, ()))
    ),
    "a call that is not checked": instance(LAST, imports=(Export(0, unchecked(0)),)),
    "the call itself": instance(LAST, imports=(CallOf(0),)),
    "the check itself": instance(LAST, imports=(CallOf(1),)),
    "an allocator that is a call": lambda plan: replace(plan, reallocs=(Export(0, "0"),)),
    "an allocator that is not checked": lambda plan: replace(plan, reallocs=(Export(0, unchecked(0)),)),
    "a memory of the gate": lambda plan: replace(plan, memory=Export(0, "0")),
    "a run function that is a call": lambda plan: replace(
        plan, exports=tuple(replace(each, function=Export(0, "0")) for each in plan.exports)
    ),
}


@pytest.mark.parametrize("how", LIES)
def test_a_plan_by_which_a_call_could_block_without_its_check_is_not_loaded(how: str) -> None:
    content = bytes(wat2wasm(guest("(call $count)", COUNT, more=IMPORT_COUNT)))
    plan, _ = with_gate(take_apart(content, ENGINE).plan)
    check_gate(plan, [0])
    changed = LIES[how](plan)
    check_gate(changed, ())
    with pytest.raises(NotLoaded, match="a call could block where it must not"):
        check_gate(changed, [0])
