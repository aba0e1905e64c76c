"""What instances take besides memory: bounded, counted as memory, and made a little at a time."""

from __future__ import annotations

from typing import Final

import pytest
from tests.tiers import thorough_after
from wasmtime import wat2wasm

from guesthouse.package.compile.compile import compile_component
from guesthouse.wasm.engine.fiber import StoreLimits
from guesthouse.wasm.errors import LinkFailure
from guesthouse.wasm.plan.weight import MAX_BYTES
from guesthouse.worker.calls import ENTRIES, HostCalls

from ..unit.worker.guests import process
from .harness import Calls, fiber_of, finish_step, guest, load, run

MIB: Final = 1 << 20
GLOBALS: Final = "(global (mut i64) (i64.const 1))"


def with_instances(text: str, fields: str, times: int) -> str:
    """A component with so many instances of a module with these fields, before its own."""
    made = '(core instance (instantiate $heavy (with "libc" (instance $libc))))' * times
    many = f"(core module $heavy {fields}) {made}"
    return text.replace("(core module $main", f"{many} (core module $main", 1)


HEAVY: Final = {
    "90,000 globals 400 times": (GLOBALS * 90_000, 400),
    "20 MB of data 500 times": (
        f'(import "libc" "memory" (memory 1)) (data (i32.const 0) "{"x" * 20_000_000}")',
        500,
    ),
    "20 MB of data once": (
        f'(import "libc" "memory" (memory 1)) (data (i32.const 0) "{"x" * 20_000_000}")',
        1,
    ),
    "100,000 passive elements": (f"(func $f) (elem func {'$f ' * 100_000})", 1),
    "10,000,000 table entries 10 times": ("(table 10000000 funcref)", 10),
}


@pytest.mark.parametrize("how", thorough_after(2, HEAVY))
def test_a_component_that_takes_too_much_is_refused_in_one_line(how: str) -> None:
    text = with_instances(process((), ""), *HEAVY[how])
    component = bytes(wat2wasm(text))
    (line,) = compile_component(component).description.problems
    with pytest.raises(LinkFailure) as failure:
        load(text, HostCalls(), *ENTRIES)
    assert str(failure.value) == line
    assert "\n" not in line


def test_instances_are_made_a_little_at_a_time() -> None:
    """Each is more than a slice of the work: whoever else is to run does so between them."""
    component = load(with_instances(guest(""), GLOBALS * 30_000, 20), Calls({}))
    polls = 1
    with fiber_of(component) as fiber:
        while not fiber.poll():
            polls += 1
    assert polls > 20


def test_what_instances_take_counts_as_memory() -> None:
    heavy = with_instances(
        guest("(if (i32.ne (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))"),
        GLOBALS * 50_000,
        10,
    )
    component = load(heavy, Calls({}))
    size = 10 * 50_000 * 16
    with pytest.raises(LinkFailure, match="globals, functions and elements of"):
        component.new_fiber(StoreLimits(size - MIB, 1000), None)
    limits = StoreLimits(size + 8 * 65_536, 1000)
    with fiber_of(component, limits=limits) as fiber:
        finish_step(fiber)
        assert size - MIB < fiber.memory_bytes() < size
    run(component, limits=StoreLimits(size - MIB + 8 * 65_536, 1000))  # there is no room for 1 MiB more
    assert size < MAX_BYTES
