from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from tests.boundary.whole.component import Component

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine.fiber import FIBERS, Fiber
from guesthouse.wasm.engine.host_functions import PENDING
from guesthouse.wasm.errors import GuestTrap

from .harness import LIMITS, Calls, fiber_of, finish_step, guest, let_block, load, run

WAIT = '(export "wait" (func (result string))) (export "say" (func (param "text" string)))'
IMPORTS = """(import "host" "wait" (func $wait (param i32)))
    (import "host" "say" (func $say (param i32 i32)))"""
REPEAT = """(loop (call $wait (i32.const 0))
      (call $say (i32.load (i32.const 0)) (i32.load (i32.const 4))) (br 0))"""


class Waiter:
    """A guest that waits for text and says it, for ever."""

    def __init__(self, body: str = REPEAT) -> None:
        self.said: list[str] = []
        self.waits = 0
        calls = Calls({"wait": self._wait, "say": lambda owner, text: self.said.append(text)}, ("wait",))
        self.component = load(guest(body, WAIT, more=IMPORTS), calls)

    def _wait(self, owner: Any) -> Any:
        self.waits += 1
        return PENDING

    def blocked(self) -> Fiber:
        fiber = self.component.new_fiber(LIMITS, None)
        finish_step(fiber)
        fiber.start()
        let_block(fiber)
        assert fiber.blocked is not None
        return fiber


def computing() -> Fiber:
    fiber = load(guest("(loop (br 0))"), Calls({})).new_fiber(LIMITS, None)
    finish_step(fiber)
    fiber.start()
    assert not fiber.poll()
    return fiber


def test_a_blocked_guest_goes_on_with_the_answer_it_is_given() -> None:
    waiter = Waiter()
    fiber = waiter.blocked()
    for text in ("one", "€uro", ""):
        fiber.answer(lambda text=text: text)  # type: ignore[misc]
        let_block(fiber)
    fiber.drop()
    assert waiter.said == ["one", "€uro", ""]
    assert waiter.waits == 4


def test_polling_a_blocked_guest_without_an_answer_changes_nothing() -> None:
    waiter = Waiter()
    fiber = waiter.blocked()
    assert [fiber.poll() for _ in range(100)] == [False] * 100
    assert waiter.waits == 1
    fiber.drop()


def test_an_answer_that_cannot_be_made_is_a_fault_of_that_guest() -> None:
    fiber = Waiter().blocked()
    fiber.answer(lambda: 1 / 0)
    with pytest.raises(GuestTrap) as death:
        fiber.poll()
    assert death.value.cause == ExitCause.HOST_FAULT
    assert death.value.detail.startswith("ZeroDivisionError: ")
    fiber.drop()


def test_an_answer_that_cannot_be_made_ends_the_guest_also_in_a_call_without_a_result() -> None:
    went_on: list[str] = []
    calls = Calls({"wait": lambda owner: PENDING, "on": lambda owner: went_on.append("on")}, ("wait",))
    text = """(component
  (import "test:types/host" (instance $host (export "wait" (func)) (export "on" (func))))
  (core func $wait (canon lower (func $host "wait")))
  (core func $on (canon lower (func $host "on")))
  (core module $m (import "h" "wait" (func $wait)) (import "h" "on" (func $on))
    (func (export "run") call $wait call $on))
  (core instance $m (instantiate $m
    (with "h" (instance (export "wait" (func $wait)) (export "on" (func $on))))))
  (func $run (canon lift (core func $m "run")))
  (instance $guest (export "run" (func $run)))
  (export "test:types/guest" (instance $guest)))"""
    with fiber_of(load(text, calls)) as fiber:
        finish_step(fiber)
        fiber.start()
        let_block(fiber)
        fiber.answer(lambda: 1 / 0)
        with pytest.raises(GuestTrap, match="ZeroDivisionError"):
            fiber.poll()
    assert went_on == []


def test_an_answer_of_the_wrong_type_is_a_fault_of_that_guest() -> None:
    fiber = Waiter().blocked()
    fiber.answer(lambda: b"bytes")
    with pytest.raises(GuestTrap, match="WrongType"):
        fiber.poll()
    fiber.drop()


@pytest.mark.parametrize("polls", [0, 1])
def test_a_fiber_dropped_while_it_is_instantiated_is_gone(polls: int) -> None:
    started = (
        '(component (core module $m (func $s (loop (br 0))) (start $s) (func (export "run"))) '
        '(core instance $m (instantiate $m)) (func $run (canon lift (core func $m "run"))) '
        '(instance $g (export "run" (func $run))) (export "test:types/guest" (instance $g)))'
    )
    fiber = load(started, Calls({})).new_fiber(LIMITS, None)
    for _ in range(polls):
        assert not fiber.poll()
    assert not fiber.started
    fiber.drop()
    assert fiber.context not in FIBERS


@pytest.mark.parametrize("make", [lambda: Waiter().blocked(), computing], ids=["blocked", "computing"])
def test_a_fiber_dropped_in_the_middle_is_gone_and_may_be_dropped_twice(make: Any) -> None:
    fiber = make()
    fiber.drop()
    assert fiber.context not in FIBERS
    fiber.drop()


def test_a_fiber_dropped_between_its_steps_is_gone() -> None:
    fiber = Waiter().component.new_fiber(LIMITS, None)
    finish_step(fiber)
    fiber.drop()
    assert fiber.context not in FIBERS


def test_an_answer_given_before_the_drop_is_never_made() -> None:
    fiber = Waiter().blocked()
    made: list[int] = []
    fiber.answer(lambda: made.append(1))
    fiber.drop()
    assert made == []


def test_a_start_function_may_block_in_a_host_call() -> None:
    calls: list[Any] = []

    def wait(owner: Any) -> Any:
        calls.append(owner)
        return PENDING

    text = guest("", WAIT, more=f"{IMPORTS} (func $begin (call $wait (i32.const 0))) (start $begin)")
    component = load(text, Calls({"wait": wait, "say": print}, ("wait",)))
    with fiber_of(component, "owner") as fiber:
        let_block(fiber)
        assert not fiber.started
        fiber.answer(lambda: "go")
        finish_step(fiber)
        fiber.start()
        finish_step(fiber)
    assert calls == ["owner"]


def test_guests_of_one_component_are_put_together_side_by_side() -> None:
    heard: list[Any] = []
    begin = """(func $begin (call $wait (i32.const 0))) (start $begin)"""
    body = """(call $wait (i32.const 0)) (call $say (i32.load (i32.const 0)) (i32.load (i32.const 4)))"""
    component = load(
        guest(body, WAIT, more=f"{IMPORTS} {begin}"),
        Calls(
            {"wait": lambda owner: PENDING, "say": lambda owner, text: heard.append((owner, text))}, ("wait",)
        ),
    )
    fibers = [component.new_fiber(LIMITS, number) for number in range(6)]
    for fiber in fibers:
        let_block(fiber)  # all are in their start function, with a module to come or not
    fibers.pop(1).drop()
    fibers.append(component.new_fiber(LIMITS, 6))
    let_block(fibers[-1])
    for fiber in reversed(fibers):
        fiber.answer(lambda: "go")
        finish_step(fiber)
        fiber.start()
        let_block(fiber)
    for fiber in fibers:
        fiber.answer(lambda number=fiber.owner: str(number))  # type: ignore[misc]
        finish_step(fiber)
        fiber.drop()
    assert heard == [(number, str(number)) for number in (0, 2, 3, 4, 5, 6)]


def test_each_host_call_knows_which_of_many_fibers_calls() -> None:
    heard: list[Any] = []

    def wait(owner: Any) -> Any:
        return PENDING

    component = load(
        guest(REPEAT, WAIT, more=IMPORTS),
        Calls({"wait": wait, "say": lambda owner, text: heard.append((owner, text))}, ("wait",)),
    )
    fibers = [component.new_fiber(LIMITS, number) for number in range(50)]
    for fiber in fibers:
        finish_step(fiber)
        fiber.start()
        let_block(fiber)
    for fiber in reversed(fibers):
        fiber.answer(lambda number=fiber.owner: str(number))  # type: ignore[misc]
    for fiber in fibers:
        let_block(fiber)
        fiber.drop()
    assert heard == [(number, str(number)) for number in range(50)]


def test_computing_guests_share_the_thread_with_one_that_answers() -> None:
    hogs = [computing(), computing()]
    waiter = Waiter()
    fiber = waiter.blocked()
    for number in range(3):
        for hog in hogs:
            assert not hog.poll()
        fiber.answer(lambda number=number: str(number))  # type: ignore[misc]
        let_block(fiber)
    assert waiter.said == ["0", "1", "2"]
    for each in (*hogs, fiber):
        each.drop()


THING = """(export "thing" (type $thing (sub resource)))
    (export "make" (func (result (own $thing))))
    (export "look" (func (param "it" (borrow $thing))))
    (export "eat" (func (param "it" (own $thing))))"""


def _with_resource(body: str, calls: Calls) -> Component | LinkedComponent:
    more = """(import "host" "make" (func $make (result i32)))
    (import "host" "look" (func $look (param i32)))
    (import "host" "eat" (func $eat (param i32)))
    (import "host" "drop" (func $drop (param i32)))"""
    text = guest(body, THING, more=more)
    text = text.replace(
        "(core module $main",
        '(alias export $host "thing" (type $thing)) (core func $drop (canon resource.drop $thing))\n  '
        "(core module $main",
        1,
    ).replace('(with "host" (instance', '(with "host" (instance (export "drop" (func $drop))')
    return load(text, calls)


class Things:
    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.calls = Calls(
            {"make": lambda owner: (7, 42), "look": self._see("look"), "eat": self._see("eat")}
        )

    def _see(self, name: str) -> Any:
        return lambda owner, it: self.seen.append((name, it))


def test_a_resource_of_the_host_goes_to_the_guest_and_back_and_its_drop_is_told() -> None:
    things = Things()
    body = """(local $it i32)
      (local.set $it (call $make)) (call $look (local.get $it)) (call $look (local.get $it))
      (call $drop (local.get $it)) (call $eat (call $make))"""
    run(_with_resource(body, things.calls))
    assert things.seen == [("look", (7, 42)), ("look", (7, 42)), ("eat", (7, 42))]
    assert things.calls.dropped == [(7, 42)]


@pytest.mark.parametrize(
    "body",
    [
        "(call $look (i32.const 0))",
        "(call $look (i32.const 1))",
        "(call $drop (i32.const 12345))",
        "(local $it i32) (local.set $it (call $make)) (call $drop (local.get $it)) (call $look (local.get $it))",
        "(local $it i32) (local.set $it (call $make)) (call $eat (local.get $it)) (call $drop (local.get $it))",
    ],
)
def test_a_forged_or_used_up_handle_traps_its_guest(body: str) -> None:
    things = Things()
    with pytest.raises(GuestTrap) as death:
        run(_with_resource(body, things.calls))
    assert death.value.cause == ExitCause.TRAP
    assert ("look", (7, 42)) not in things.seen


def test_resources_that_a_dead_guest_still_held_call_nobody() -> None:
    things = Things()
    with pytest.raises(GuestTrap):
        run(_with_resource("(drop (call $make)) (drop (call $make)) unreachable", things.calls))
    assert things.calls.dropped == []


def test_a_destructor_that_raises_is_a_fault_of_that_guest() -> None:
    things = Things()

    def destructor(owner: Any, type_number: int, number: int) -> None:
        raise KeyboardInterrupt

    things.calls.destructor = destructor  # type: ignore[method-assign]
    with pytest.raises(GuestTrap) as death:
        run(_with_resource("(call $drop (call $make))", things.calls))
    assert death.value.cause == ExitCause.HOST_FAULT


@pytest.mark.thorough
def test_components_and_fibers_leave_nothing_behind() -> None:
    gc.collect()
    before = len(FIBERS)
    for _ in range(200):
        Waiter().blocked().drop()
        run(load(guest(""), Calls({})))
    assert len(FIBERS) == before


def test_an_ended_guest_leaves_no_circle_that_would_keep_its_component() -> None:
    component = load(
        guest("(call $wait (i32.const 0))", WAIT, more=IMPORTS),
        Calls({"wait": lambda owner: "x", "say": print}, ("wait",)),
    )
    gone = weakref.ref(component)
    gc.disable()
    try:
        run(component)
        del component
        assert gone() is None
    finally:
        gc.enable()
