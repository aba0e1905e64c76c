"""Allocators that call the host, which waits for them: also calls that block, by every way to them.

The engine panics where a blocking call comes outside of a fiber, and takes the whole process with it.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine.fiber import Fiber
from guesthouse.wasm.errors import GuestTrap

from .components import RUN
from .harness import PENDING, Calls, fiber_of, finish_step, guest, let_block, load, run

WHEN: Final = ("start", "sync", "now", "later")
"""The call that the allocator is to make room for: the run's arguments, a call that cannot block, or one that has its
answer at once or later.
"""
REFUSED: Final = "cannot leave component instance|its allocator called the host"

HOST: Final = """(export "ask" (func (result string))) (export "wait" (func (result string)))
  (export "pause" (func))"""
IMPORTED: Final = """(import "host" "ask" (func $ask (param i32)))
  (import "host" "wait" (func $wait (param i32))) (import "host" "pause" (func $pause))"""
DROPPING: Final = """
  (core module $destructor (import "host" "wait" (func $wait (param i32)))
    (func (export "drop") (param i32) (call $wait (i32.const 512))))
  (core instance $destructor (instantiate $destructor (with "host" (instance (export "wait" (func $wait))))))
  (type $thing (resource (rep i32) (dtor (core func $destructor "drop"))))
  (core func $new (canon resource.new $thing))
  (core func $drop (canon resource.drop $thing))
"""
CALLS: Final = {
    "the same": ("(call_indirect (type $one) (i32.const 512) (i32.const 0))", "$wait"),
    "another": ("(call_indirect (type $none) (i32.const 0))", "$pause"),
    "a destructor's": ("(call_indirect (type $one) (i32.const 1) (i32.const 0))", "$drop"),
}
"""What the allocator calls, by the function in its table."""


def calling(when: str, name: str) -> str:
    call, entry = CALLS[name]
    libc = f"""
  (core module $table (table (export "table") 1 funcref))
  (core instance $table (instantiate $table))
  (core module $libc
    (type $one (func (param i32))) (type $none (func))
    (import "table" "table" (table 1 funcref))
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {call} (i32.const 1024)))
  (core instance $libc (instantiate $libc (with "table" (instance $table))))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "cabi_realloc" (core func $realloc))"""
    body = {"sync": "(call $ask (i32.const 0))", "start": ""}.get(when, "(call $wait (i32.const 0))")
    given = "(param i32 i32)" if when == "start" else ""
    text = guest(
        f"{given} {body}",
        HOST,
        libc=libc,
        more=f"""{IMPORTED} (import "table" "table" (table 1 funcref))
    (import "own" "new" (func $new (param i32) (result i32))) (import "own" "drop" (func $drop (param i32)))
    (elem (i32.const 0) {entry}) (func $first (drop (call $new (i32.const 7)))) (start $first)""",
    )
    text = text.replace("(core module $main", f"{DROPPING}(core module $main").replace(
        '(with "libc" (instance $libc))',
        '(with "table" (instance $table)) (with "libc" (instance $libc)) '
        '(with "own" (instance (export "new" (func $new)) (export "drop" (func $drop))))',
    )
    if when == "start":
        text = text.replace(
            '(canon lift (core func $main "run"))',
            '(param "x" string) (canon lift (core func $main "run") (memory $memory) (realloc $realloc))',
        )
    return text


def offered(later: bool, heard: list[str]) -> Calls:
    def wait(owner: Any) -> Any:
        heard.append("wait")
        return PENDING if later else "hello"

    def pause(owner: Any) -> None:
        heard.append("pause")

    return Calls({"ask": lambda owner: "hello", "wait": wait, "pause": pause}, ("wait", "pause"))


def run_on(fiber: Fiber, when: str) -> None:
    fiber.start(*(["hello"] if when == "start" else []))
    if when == "later":
        let_block(fiber)
        fiber.answer(lambda: "hello")
    finish_step(fiber)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("when", WHEN)
def test_an_allocator_that_calls_what_blocks_ends_its_own_guest_alone(when: str, name: str) -> None:
    heard: list[str] = []
    component = load(calling(when, name), offered(when == "later", heard), RUN)
    with fiber_of(component) as fiber:
        finish_step(fiber)
        with pytest.raises(GuestTrap, match=REFUSED) as ended:
            run_on(fiber, when)
    assert ended.value.cause == ExitCause.TRAP
    assert heard == (["wait"] if when in ("now", "later") else [])


def test_a_call_that_blocks_goes_on_after_others_allocators_were_refused() -> None:
    heard: list[str] = []
    for when in WHEN:
        with fiber_of(load(calling(when, "the same"), offered(when == "later", heard), RUN)) as fiber:
            finish_step(fiber)
            with pytest.raises(GuestTrap):
                run_on(fiber, when)
    heard.clear()
    wait = guest("(call $wait (i32.const 0))", HOST, more=IMPORTED)
    run(load(wait, offered(False, heard), RUN))
    assert heard == ["wait"]
