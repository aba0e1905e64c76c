"""A guest is interrupted in a straight line of host calls as it is in a loop."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from wasmtime import wat2wasm

from guesthouse.wasm.binary.byte_reader import UnsupportedComponent
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine import capi
from guesthouse.wasm.plan.gate import with_gate
from guesthouse.wasm.plan.linking import MAX_CALLS
from guesthouse.wasm.plan.plan import CallOf, Plan
from guesthouse.wasm.plan.planner import take_apart

from ...boundary.harness import ENGINE, LIMITS, Calls, apart, finish_step, guest

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
