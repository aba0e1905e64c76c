from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from tests.wire import ToNode, ToWorker

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.types import FunctionType
from guesthouse.worker import scheduler

from .driven import Driven
from .guests import (
    ECHO,
    HOG,
    HOG_WHEN_SPOKEN_TO,
    IS_PUSH,
    PUSH_CHANNEL,
    RECEIVE,
    RECEIVE_FOR_EVER,
    SCRATCH,
    SLEEPER,
    process,
)
from .process import Worker
from .wasi import SLEEP

MIB = 1 << 20
PAGES_UNTIL_REFUSED = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))"


def test_a_guest_that_computes_is_stopped_at_once(worker: Worker) -> None:
    guest = worker.start(HOG)
    assert guest.stop() == [ExitCause.STOPPED, "the test is over"]


def test_a_guest_that_waits_is_stopped_at_once(worker: Worker) -> None:
    assert worker.start(SLEEPER).started().stop() == [ExitCause.STOPPED, "the test is over"]


def test_stopping_a_guest_twice_ends_it_once(worker: Worker) -> None:
    guest = worker.start(SLEEPER).started()
    guest.send(ToWorker.STOP, "first")
    guest.send(ToWorker.STOP, "second")
    assert guest.death() == [ExitCause.STOPPED, "first"]
    assert worker.is_alive()
    assert worker.got(ToNode.EXITED, guest.handle) == []


def test_a_guest_that_is_to_finish_takes_what_it_was_sent_first(worker: Worker) -> None:
    guest = worker.start(ECHO).started()
    guest.open(1)
    texts = [str(number).encode() for number in range(100)]
    worker.send(
        *([ToWorker.PUSH, guest.handle, 1, 0, text] for text in texts),
        [ToWorker.FINISH, guest.handle, "another takes its place"],
    )
    assert [guest.pushed(1) for _ in texts] == texts
    assert guest.death() == [ExitCause.STOPPED, "another takes its place"]


def test_a_waiting_guest_that_is_to_finish_ends_at_once(worker: Worker) -> None:
    guest = worker.start(ECHO).started()
    guest.send(ToWorker.FINISH, "another takes its place")
    assert guest.death() == [ExitCause.STOPPED, "another takes its place"]


def test_two_computing_guests_do_not_hold_up_one_that_answers(worker: Worker) -> None:
    hogs = [worker.start(HOG_WHEN_SPOKEN_TO).started() for _ in range(2)]
    for number, hog in enumerate(hogs):
        hog.open(10 + number)
        hog.push(10 + number, b"compute")
    echo = worker.start(ECHO)
    echo.open(1)
    for number in range(50):
        text = str(number).encode()
        echo.push(1, text)
        assert echo.pushed(1) == text
    for hog in hogs:
        assert hog.stop()[0] == ExitCause.STOPPED


def test_many_computing_guests_take_turns_and_a_guest_that_answers_waits_for_one_of_them(
    worker: Worker,
) -> None:
    hogs = [worker.start(HOG) for _ in range(20)]
    assert worker.is_alive()
    for hog in hogs:
        assert hog.stop()[0] == ExitCause.STOPPED


def test_a_guest_that_computes_too_long_on_one_message_ends(worker: Worker) -> None:
    guest = worker.start(HOG_WHEN_SPOKEN_TO, cpu_seconds_per_message=0.05)
    guest.open(1)
    guest.push(1, b"compute")
    assert guest.death() == [ExitCause.OUT_OF_TIME, "it used over 0.05 s of CPU on one message"]


def test_a_guest_that_computes_too_long_before_its_first_message_ends(worker: Worker) -> None:
    guest = worker.start(HOG, start_seconds=0.05)
    assert guest.death() == [
        ExitCause.OUT_OF_TIME,
        "it used over 0.05 s of CPU before it asked for a message",
    ]


def test_a_start_function_that_loops_for_ever_ends(worker: Worker) -> None:
    loops = process((), "", more="(func $begin (loop (br 0))) (start $begin)")
    assert worker.start(loops, start_seconds=0.05).death()[0] == ExitCause.OUT_OF_TIME


def test_each_message_has_its_own_time(worker: Worker) -> None:
    """Every message takes a good part of the limit; all together take many times as much."""
    body = f"""(local i32) (loop $next {RECEIVE}
      (if {IS_PUSH} (then
        (local.set 8 (i32.const 3000000))
        (loop $spin (br_if $spin (local.tee 8 (i32.sub (local.get 8) (i32.const 1)))))
        (call $send-ws-text {PUSH_CHANNEL} (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))))
      (br $next))"""
    busy = process(("messaging.receive", "http-server.send-ws-text"), body)
    guest = worker.start(busy, cpu_seconds_per_message=0.5)
    guest.open(1)
    for _ in range(200):
        guest.push(1, b"work")
        guest.pushed(1)


def test_a_guest_that_computes_between_short_sleeps_is_held_to_its_time(worker: Worker) -> None:
    body = """(local i32) (loop $more
      (local.set 8 (i32.const 100000))
      (loop $spin (br_if $spin (local.tee 8 (i32.sub (local.get 8) (i32.const 1)))))
      (call $pollable.block (call $subscribe-duration (i64.const 1)))
      (br $more))"""
    guest = worker.start(process((), body, wasi=SLEEP), start_seconds=0.1, wasi_handles=1_000_000)
    assert guest.death()[0] == ExitCause.OUT_OF_TIME


@pytest.mark.parametrize("end", ["unreachable", "(call $run (i32.const 0))"])
def test_the_ways_to_die_are_told_apart(worker: Worker, end: str) -> None:
    if end == "unreachable":
        assert worker.start(process((), end)).death() == [
            ExitCause.TRAP,
            "wasm `unreachable` instruction executed",
        ]
    else:
        deep = process((), f"(call $run {'(i32.const 0) ' * 8})")
        assert worker.start(deep).death() == [ExitCause.STACK_OVERFLOW, "call stack exhausted"]


def test_the_log_says_where_a_guest_died(worker: Worker) -> None:
    guest = worker.start(process((), "(call $helper)", more="(func $helper unreachable)"))
    guest.death()
    assert "helper" in "".join(guest.log())


@pytest.mark.parametrize("memory_bytes", [16 * MIB, 64 * MIB])
def test_a_guest_that_allocates_without_end_is_out_of_memory(worker: Worker, memory_bytes: int) -> None:
    guest = worker.start(process((), f"{PAGES_UNTIL_REFUSED} unreachable"), memory_bytes=memory_bytes)
    cause, detail = guest.death()
    assert cause == ExitCause.OUT_OF_MEMORY
    assert detail.startswith("its memory was full")


def test_a_guest_that_is_refused_memory_may_go_on(worker: Worker) -> None:
    body = f"{PAGES_UNTIL_REFUSED} {RECEIVE_FOR_EVER}"
    guest = worker.start(process(("messaging.receive",), body), memory_bytes=16 * MIB)
    guest.started()


def test_a_trap_far_below_the_memory_limit_is_a_trap(worker: Worker) -> None:
    guest = worker.start(process((), "(drop (memory.grow (i32.const 64))) unreachable"))
    assert guest.death()[0] == ExitCause.TRAP


def test_a_guest_that_returns_has_returned(worker: Worker) -> None:
    assert worker.start(process((), "")).death() == [ExitCause.RETURNED, "its run function returned"]


def test_what_is_sent_to_a_guest_that_is_no_more_goes_nowhere(worker: Worker) -> None:
    guest = worker.start(process((), ""))
    guest.death()
    guest.open(1)
    guest.push(1, b"late")
    guest.send(ToWorker.REPLY, 1, None)
    guest.send(ToWorker.RESPONSE, "n.os@a:b:c", b"", False, None, None, None, None, 1)
    assert worker.is_alive()


@pytest.mark.slow
def test_hundreds_of_guests_come_and_go(own_worker: Worker) -> None:
    worker = own_worker
    path = worker.compiled(ECHO)

    def generation() -> None:
        guests = [worker.start(path) for _ in range(50)]
        for number, guest in enumerate(guests):
            guest.open(number)
            guest.push(number, b"hello")
        for number, guest in enumerate(guests):
            assert guest.pushed(number) == b"hello"
            guest.stop()
        worker.forget()

    for _ in range(2):
        generation()
    before = worker.rss_kib()
    for _ in range(8):
        generation()
    assert worker.rss_kib() - before < 4096


UNSTARTABLE = {
    "an unknown interface": process((), "").replace(
        "(component", '(component (import "x:y/z@1.0.0" (instance (export "f" (func))))', 1
    ),
    "an unknown function": process(("system.our",), "", types={"our": FunctionType((), None)}).replace(
        '"our" (func', '"ours" (func'
    ),
    "no run function": "(component)",
    "a run function without an address": """(component
      (core module $m (func (export "run"))) (core instance $m (instantiate $m))
      (func $run (canon lift (core func $m "run"))) (instance $g (export "run" (func $run)))
      (export "guesthouse:process/guest@0.1.0" (instance $g)))""",
    "a run function that takes a number": """(component
      (core module $m (func (export "run") (param i32))) (core instance $m (instantiate $m))
      (func $run (param "our" u32) (canon lift (core func $m "run"))) (instance $g (export "run" (func $run)))
      (export "guesthouse:process/guest@0.1.0" (instance $g)))""",
    "a run function with a result": """(component
      (core module $m (func (export "run") (result i32) (i32.const 1))) (core instance $m (instantiate $m))
      (func $run (result u32) (canon lift (core func $m "run"))) (instance $g (export "run" (func $run)))
      (export "guesthouse:process/guest@0.1.0" (instance $g)))""",
}


@pytest.mark.parametrize("what", UNSTARTABLE)
def test_a_component_that_is_no_process_is_not_started(worker: Worker, what: str) -> None:
    text = UNSTARTABLE[what]
    if what == "an unknown function":
        text = text.replace('$i0 "our"', '$i0 "ours"')
    cause, detail = worker.start(text).death()
    assert cause == ExitCause.NOT_STARTED
    assert "\n" not in detail
    assert detail


@pytest.mark.parametrize("content", [b"", b"not a component", b"\0asm\x0d\0\1\0" + bytes(100)])
def test_a_file_that_was_not_compiled_here_is_not_started(worker: Worker, content: bytes) -> None:
    path = worker.compiled(ECHO).with_name("bad.cwasm")
    path.write_bytes(content)
    cause, detail = worker.start(path).death()
    assert cause == ExitCause.NOT_STARTED
    assert detail.startswith("the component cannot be loaded")
    assert "\n" not in detail


def test_a_file_that_is_not_there_is_not_started(worker: Worker) -> None:
    cause, _ = worker.start(worker.compiled(ECHO).with_name("none.cwasm")).death()
    assert cause == ExitCause.NOT_STARTED


@pytest.mark.slow
def test_a_function_with_a_name_of_a_megabyte_dies_in_few_words(worker: Worker) -> None:
    name = "n" * 90_000
    guest = worker.start(
        process((), f"(call ${name})", more=f"(func ${name} (call ${name}))"), start_seconds=20
    )
    cause, detail = guest.death()
    assert cause == ExitCause.STACK_OVERFLOW
    assert len(detail) <= 500
    assert all(len(line) < 10_000 for line in guest.log())


def test_so_many_guests_of_a_worker_have_a_batch_and_no_more(
    driven: Callable[..., Driven], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "MOST_BATCHES", 1)
    first, second = driven(), driven()
    for each in (first, second):
        monkeypatch.setattr(each, "started", True, raising=False)
        memory = SimpleNamespace(view=memoryview(bytearray(WASM_PAGE)))
        monkeypatch.setattr(each, "new_batch", lambda memory=memory: memory, raising=False)
        monkeypatch.setattr(each, "before_call", None, raising=False)
    guests = [first.guest, second.guest]
    second.guest.may_batch = False
    for guest in guests:
        first.scheduler.want_batch(guest)
        first.scheduler.run_woken()
    assert [guest.batch is not None for guest in guests] == [True, False]
    first.scheduler.end(first.guest, GuestTrap(ExitCause.STOPPED, "for the other"))
    assert second.guest.may_batch
    first.scheduler.want_batch(second.guest)
    first.scheduler.run_woken()
    assert second.guest.batch is not None
