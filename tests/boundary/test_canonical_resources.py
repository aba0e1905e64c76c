"""Resources that a guest defines itself, and components within it: as the engine has it, and bounded."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from wasmtime.component import Component, Linker

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.abi.handles import MAX_OWN
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.fiber import StoreLimits
from guesthouse.wasm.errors import GuestTrap

from .components import RUN
from .harness import ENGINE, LIMITS, Calls, apart, death_of, fiber_of, finish_step, run
from .resource_programs import RESOURCES, Step, program

STOCK = wasmtime.Engine()
ENGINE_ADDRESS = ctypes.cast(ENGINE.ptr(), ctypes.c_void_p).value or 0


def by_the_engine(content: bytes) -> tuple[list[int], bool]:
    """What the host is told when wasmtime runs all of the component, and whether it trapped."""
    told: list[int] = []
    linker = Linker(STOCK)
    with linker.root() as root, root.add_instance(HOST) as host:
        host.add_func("tell", lambda store, number: told.append(number))
    store = wasmtime.Store(STOCK)
    instance = linker.instantiate(store, Component(STOCK, content))
    index = instance.get_export_index(store, "run", instance.get_export_index(store, RUN[0]))
    assert index is not None
    function = instance.get_func(store, index)
    assert function is not None
    try:
        function(store)
    except (wasmtime.WasmtimeError, wasmtime.Trap):
        return told, True
    return told, False


HOST = "test:types/host"


def by_us(content: bytes) -> tuple[list[int], bool]:
    told: list[int] = []
    component = apart(content, Calls({"tell": lambda owner, number: told.append(number)}), RUN)
    try:
        run(component)
    except GuestTrap as trap:
        return told, trap.cause == ExitCause.TRAP
    return told, False


STEPS = st.one_of(
    st.builds(Step, st.just("new"), st.integers(0, RESOURCES - 1), st.integers(0, 9)),
    st.builds(Step, st.sampled_from(("rep", "drop")), st.integers(0, RESOURCES - 1), st.integers(0, 6)),
)


@st.composite
def programs(draw: st.DrawFn) -> list[Step]:
    """Mostly of steps that do not trap: handles by the indices that they should have."""
    held: dict[int, int] = {}
    free: list[int] = []
    steps: list[Step] = []

    def add(resource: int) -> None:
        held[free.pop() if free else len(held) + 1] = resource

    for known in draw(st.lists(st.booleans(), max_size=25)):
        if held and known:
            index = draw(st.sampled_from(sorted(held)))
            step = Step(draw(st.sampled_from(("rep", "drop"))), held[index], index)
            if step.action == "drop":
                resource = held.pop(index)
                free.append(index)
                if resource == 1:
                    add(2)  # its destructor makes one
        else:
            step = Step("new", draw(st.integers(0, RESOURCES - 1)), draw(st.integers(0, 9)))
            add(step.resource)
        steps.append(step)
    return steps + draw(st.lists(STEPS, max_size=3)) + draw(st.sampled_from(([], [Step("stub")])))


@given(programs(), st.booleans())
def test_handles_and_destructors_are_those_of_the_engine(steps: list[Step], within: bool) -> None:
    content = bytes(wasmtime.wat2wasm(program(steps, within=within)))
    assert by_us(content) == by_the_engine(content)


@pytest.mark.parametrize("action", ["rep", "drop"])
@pytest.mark.parametrize("index", [0, 2, 2**31, 2**32 - 1])
def test_an_index_that_it_does_not_hold_ends_it(action: str, index: int) -> None:
    content = wasmtime.wat2wasm(program([Step("new", 0, 7), Step(action, 0, index)]))
    death = death_of(apart(bytes(content), Calls({"tell": lambda owner, number: None}), RUN))
    assert death.cause == ExitCause.TRAP
    assert f"the handle {index}, which it does not hold" in death.detail


def test_a_handle_of_another_of_its_resources_ends_it() -> None:
    content = wasmtime.wat2wasm(program([Step("new", 0, 7), Step("drop", 2, 1)]))
    death = death_of(apart(bytes(content), Calls({"tell": lambda owner, number: None}), RUN))
    assert "which it does not hold" in death.detail


def guest(main: str, dropped: str = "", *, memory: str = "") -> bytes:
    """A component with one resource: what it runs, and its destructor."""
    return bytes(
        wasmtime.wat2wasm(f"""(component
      (import "{HOST}" (instance $host (export "tell" (func (param "x" u32)))))
      (core func $tell (canon lower (func $host "tell")))
      (core module $shim (type $d (func (param i32))) (table (export "t") 1 1 funcref)
        (func (export "d") (type $d) (call_indirect (type $d) (local.get 0) (i32.const 0))))
      (core instance $shim (instantiate $shim))
      (type $r (resource (rep i32) (dtor (core func $shim "d"))))
      (core func $new (canon resource.new $r)) (core func $drop (canon resource.drop $r))
      {memory}
      (core module $m
        (import "" "tell" (func $tell (param i32))) (import "" "new" (func $new (param i32) (result i32)))
        (import "" "drop" (func $drop (param i32)))
        (func (export "dropped") (param i32) {dropped})
        (func (export "run") (local i32) {main}))
      (core instance $m (instantiate $m (with "" (instance
        (export "tell" (func $tell)) (export "new" (func $new)) (export "drop" (func $drop))))))
      (core module $fix (import "" "t" (table 1 1 funcref)) (import "" "f" (func $f (param i32)))
        (elem (i32.const 0) func $f))
      (core instance (instantiate $fix (with "" (instance
        (export "t" (table $shim "t")) (export "f" (func $m "dropped"))))))
      (func $run (canon lift (core func $m "run")))
      (instance $guest (export "run" (func $run)))
      (export "{RUN[0]}" (instance $guest)))""")
    )


def test_a_guest_holds_so_many_handles_of_its_own_and_no_more() -> None:
    told: list[int] = []
    forever = "(loop (call $tell (call $new (i32.const 1))) (br 0))"
    death = death_of(apart(guest(forever), Calls({"tell": lambda owner, number: told.append(number)}), RUN))
    assert f"it holds {MAX_OWN} handles of its own resources, the limit: drop some" in death.detail
    assert told == list(range(1, MAX_OWN + 1))


def test_what_was_dropped_is_not_counted() -> None:
    rounds = MAX_OWN + 10
    body = f"""(local.set 0 (i32.const {rounds}))
      (loop (call $drop (call $new (i32.const 1))) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"""
    run(apart(guest(body), Calls({"tell": lambda owner, number: None}), RUN))


def test_a_destructor_that_loops_is_pre_empted_like_everything_else() -> None:
    content = guest("(call $drop (call $new (i32.const 1)))", "(loop (br 0))")
    with fiber_of(apart(content, Calls({"tell": lambda owner, number: None}), RUN)) as fiber:
        finish_step(fiber)
        fiber.start()
        for _ in range(3):
            assert not fiber.poll()


def test_destructors_that_drop_one_another_end_by_their_stack() -> None:
    content = guest(
        "(call $drop (call $new (i32.const 1)))",
        "(call $drop (call $new (i32.add (local.get 0) (i32.const 1))))",
    )
    death = death_of(apart(content, Calls({"tell": lambda owner, number: None}), RUN))
    assert death.cause == ExitCause.STACK_OVERFLOW


def test_a_straight_line_of_handles_yields_when_its_slice_is_over() -> None:
    """As with other calls: the gate is where the engine looks."""
    ticks = 0

    def tell(owner: Any, number: int) -> None:
        nonlocal ticks
        ticks += 1
        for _ in range(3):
            capi.increment_epoch(ENGINE_ADDRESS)

    line = "(call $tell (i32.const 0)) (drop (call $new (i32.const 0)))" * 20
    with fiber_of(apart(guest(line), Calls({"tell": tell}), RUN)) as fiber:
        finish_step(fiber)
        fiber.start()
        polls = 1
        while not fiber.poll():
            polls += 1
    assert ticks == 20
    assert polls >= 10


def grower(pages: int) -> str:
    """A component within that grows its own memory, and does nothing else."""
    return f"""(component $grower (core module $g (memory {pages})
        (func $f (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))) (start $f))
      (core instance (instantiate $g))) (instance (instantiate $grower))"""


MEMORY = """(core module $libc (memory (export "memory") 1)) (core instance $libc (instantiate $libc))"""


@pytest.mark.parametrize("pages", [0, 2])
def test_a_memory_beside_the_one_of_its_values_does_not_grow(pages: int) -> None:
    run(apart(guest("", memory=f"{MEMORY} {grower(pages)}"), Calls({"tell": print}), RUN))


def test_pages_of_such_memories_count_as_what_it_takes() -> None:
    content = guest("", memory=f"{MEMORY} {grower(40)}")
    component = apart(content, Calls({"tell": print}), RUN)
    with fiber_of(component, limits=StoreLimits(8 << 20, 1000)) as fiber:
        finish_step(fiber)
        assert fiber.memory_bytes() > 40 * 65_536 - (1 << 20)
    assert LIMITS.memories == 1
