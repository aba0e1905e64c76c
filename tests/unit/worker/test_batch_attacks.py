"""Guests and plans that would break the worker by what is made for a guest's batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final, cast
from weakref import ref

import pytest
from tests.wire import ToNode, ToWorker
from wasmtime import Module, wat2wasm

from guesthouse.wasm.core.core_fiber import CoreFiber
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.wasm.engine.host_functions import PENDING
from guesthouse.wasm.plan import batch_layout as layout
from guesthouse.wasm.plan.gate import with_gate
from guesthouse.wasm.plan.long_instructions import interruptible
from guesthouse.wasm.plan.planner import take_apart
from guesthouse.worker.batch import Batch, BatchOwner
from guesthouse.worker.contract_messages import address_value

from ...boundary.harness import ENGINE, LIMITS, Calls, finish_step, let_block
from ..wasm.test_gate import ENGINE_ADDRESS
from .driven import Driven
from .guests import ECHO, ECHO_CALLS, IS_PUSH, PUSH_CHANNEL, RECEIVE, RETURN, SCRATCH, TEXT, TEXT_AT, process
from .process import OUR, PLENTY, Worker

_EARLY: Final = f"""
  (core module $early
    (import "libc" "memory" (memory 0))
    (import "host" "receive" (func $receive (param i32)))
    (func $start (local $left i32) (local.set $left (i32.const 10))
      (loop (call $receive (i32.const {RETURN}))
        (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
    (start $start))
  (core instance (instantiate $early
    (with "libc" (instance $libc)) (with "host" (instance (export "receive" (func $receive))))))
  (core module $late
    (import "libc" "cabi_realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3))))
  (core instance $late (instantiate $late (with "libc" (instance $libc))))
  (alias core export $late "cabi_realloc" (core func $late-realloc))
"""
"""A module whose start function takes messages, before that of the allocator of `get-blob` exists."""


def _early() -> str:
    wat = process(
        ("messaging.receive", "messaging.get-blob", "http-server.send-ws-text"),
        f"""(loop $next {RECEIVE}
          (if {IS_PUSH} (then
            (call $get-blob (i32.const {SCRATCH}))
            (call $send-ws-text (i32.const 1) (i32.const 0) (i32.const 4) (i32.const {SCRATCH + 64}))))
          (br $next))""",
    )
    lowered = next(line for line in wat.splitlines() if line.startswith("(core func $get-blob "))
    return wat.replace(lowered, _EARLY + lowered.replace("(realloc $realloc)", "(realloc $late-realloc)"))


def test_a_start_function_that_takes_messages_has_no_batch_of_an_allocator_to_come(worker: Worker) -> None:
    guest = worker.start(_early())
    guest.started()
    guest.open(1, PLENTY)
    for payload in (
        b"one",
        b"two",
        b"three",
    ):  # with the channel's beginning, that many leave the start waiting
        worker.send(*([ToWorker.PUSH, guest.handle, 1, 0, payload] for _ in range(4)))
        assert worker.is_alive()
    for _ in range(12 - 9):
        guest.pushed(1)


_SENDS: Final = 4
_MUCH: Final = process(
    ECHO_CALLS,
    f"""(loop $next {RECEIVE}
      (if {IS_PUSH} (then {TEXT}
        {f"(call $send-ws-text {PUSH_CHANNEL} {TEXT_AT} (i32.const {SCRATCH + 64}))" * _SENDS}))
      (br $next))""",
)


def test_the_node_is_told_of_a_message_with_what_is_sent_for_it(worker: Worker) -> None:
    """If the worker dies in between: any later, and a message would be delivered twice, to a process that has answered
    it; any earlier, and one that it has not answered would be lost.
    """
    guest = worker.start(_MUCH).started()
    guest.open(1, PLENTY)
    worker.send(*([ToWorker.PUSH, guest.handle, 1, 0, b"warm"] for _ in range(2)))
    for _ in range(2 * _SENDS):
        guest.pushed(1)
    worker.forget()
    worker.send(*([ToWorker.PUSH, guest.handle, 1, 0, b"one"] for _ in range(40)))
    taken = sent = 0
    while sent < 40 * _SENDS:
        (frame,) = worker.raw_frames(1)
        for operation, handle, *fields in frame:
            assert handle == guest.handle
            taken += fields[0] if operation == ToNode.CONSUMED else 0
            sent += operation == ToNode.PUSH
            assert sent <= _SENDS * taken
        assert taken - 1 <= sent // _SENDS


def test_no_text_of_a_guest_is_the_name_of_a_node_that_is_too_long_for_a_batch() -> None:
    owner = SimpleNamespace(node="n" * (layout.MOST_NODE + 1), limits=SimpleNamespace(message_bytes=1000))
    memory: Any = SimpleNamespace(view=memoryview(bytearray(WASM_PAGE)))
    Batch(cast(BatchOwner, owner), memory)
    assert int.from_bytes(memory.view[layout.NODE_BYTES : layout.NODE], "little") > layout.MOST_NODE


def test_nothing_keeps_the_batch_of_a_guest_that_has_ended(driven: Callable[..., Driven]) -> None:
    class Watched(Batch):
        """One that can be referred to weakly."""

    guest = driven().guest
    memory: Any = SimpleNamespace(view=memoryview(bytearray(WASM_PAGE)))
    guest.batch = Watched(guest, memory)
    batch = ref(guest.batch)
    guest.let_go()
    assert batch() is None


_IMPORTS: Final = """(import "" "memory" (memory 0))
  (import "" "realloc" (func (param i32 i32 i32 i32) (result i32))) (import "" "answers" (table 1 funcref))"""


@contextmanager
def _waiting(batch: str | None = None) -> Iterator[CoreFiber]:
    """A guest that waits for a message; its batch's module is this one, as of a compiler that was compromised."""
    parts = take_apart(bytes(wat2wasm(ECHO)), ENGINE)
    plan, gates = with_gate(parts.plan)
    assert plan.batch is not None
    modules = [Module(ENGINE, interruptible(each)) for each in (*parts.modules, *gates[:-1])]
    answering = gates[-1] if batch is None else bytes(wat2wasm(f"(module {_IMPORTS} {batch})"))
    modules.append(Module(ENGINE, answering))
    calls = Calls(
        {name.partition(".")[2]: lambda *_: PENDING for name in ECHO_CALLS},
        ("receive",),
    )
    component = LinkedComponent(ENGINE, plan, modules, calls, ("guesthouse:process/guest@0.1.0", "run"))
    fiber = component.new_fiber(LIMITS, None)
    assert isinstance(fiber, CoreFiber)
    try:
        finish_step(fiber)
        fiber.start(address_value(OUR))
        let_block(fiber)
        yield fiber
    finally:
        fiber.drop()


def test_the_memory_of_its_batches_counts_as_a_guests() -> None:
    with _waiting() as fiber:
        before = fiber.memory_bytes()
        assert fiber.new_batch() is not None
        assert fiber.memory_bytes() == before + WASM_PAGE
        assert fiber.new_batch() is None


@pytest.mark.parametrize(
    "module",
    [
        "",
        '(memory (export "batch") 0)',
        '(memory (export "batch") 2)',
        '(global (export "batch") i32 (i32.const 0))',
        '(memory (export "batch") 1) (func $start unreachable) (start $start)',
    ],
)
def test_what_is_no_module_of_batches_is_not_used(module: str) -> None:
    with _waiting(module) as fiber:
        assert fiber.new_batch() is None


def test_a_start_function_of_the_batchs_module_does_not_yield_on_the_workers_stack() -> None:
    """The engine would panic, and end all guests of the worker."""
    with _waiting('(memory (export "batch") 1) (func $start) (start $start)') as fiber:
        for _ in range(3):
            capi.increment_epoch(ENGINE_ADDRESS)
        assert fiber.new_batch() is not None
