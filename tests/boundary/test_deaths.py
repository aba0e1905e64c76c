"""Every way a guest can die, told apart, and nothing of it reaching the next guest."""

from __future__ import annotations

import re
import tracemalloc
import weakref
from typing import Any

import pytest

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine.fiber import StoreLimits
from guesthouse.wasm.errors import GuestTrap, LinkFailure
from guesthouse.wasm.values import MAX_LIST, Ok

from .components import MEMORY
from .harness import Calls, death_of, fiber_of, finish_step, guest, load, run

SAY = '(export "say" (func (param "text" string)))'
IMPORT_SAY = '(import "host" "say" (func $say (param i32 i32)))'
ASK = '(export "ask" (func (result string)))'
IMPORT_ASK = '(import "host" "ask" (func $ask (param i32)))'


def allocator(body: str) -> str:
    return MEMORY.replace(
        MEMORY[MEMORY.index("(local $start") : MEMORY.index("(core instance")], f"{body}))\n  "
    )


class Payload:
    """What a guest passed."""

    def __init__(self, content: bytes) -> None:
        self.content = content


def _says_hello(owner: Any) -> str:
    return "hello"


@pytest.mark.parametrize(
    ("body", "cause", "detail"),
    [
        ("unreachable", ExitCause.TRAP, "wasm `unreachable` instruction executed"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", ExitCause.TRAP, "integer divide by zero"),
        ("(drop (i32.load (i32.const -4)))", ExitCause.TRAP, "out of bounds memory access"),
        ("(call $run)", ExitCause.STACK_OVERFLOW, "call stack exhausted"),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            ExitCause.TRAP,
            "invalid conversion to integer",
        ),
    ],
)
def test_what_a_guest_does_to_itself_is_named(body: str, cause: str, detail: str) -> None:
    trap = death_of(load(guest(body), Calls({})))
    assert (trap.cause, trap.detail) == (cause, detail)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            "(i32.store (i32.const 0) (i32.const 0xff)) (call $say (i32.const 0) (i32.const 1))",
            "invalid utf-8|not UTF-8",
        ),
        ("(call $say (i32.const -16) (i32.const 100))", "out of bounds|outside of its memory"),
        ("(call $say (i32.const 0) (i32.const -1))", "out of bounds|outside of its memory"),
        ("(call $say (i32.const 262140) (i32.const 5))", "out of bounds|outside of its memory"),
    ],
)
def test_a_malformed_string_traps_before_the_host_call(body: str, detail: str) -> None:
    heard: list[str] = []
    component = load(
        guest(body, SAY, more=IMPORT_SAY), Calls({"say": lambda owner, text: heard.append(text)})
    )
    trap = death_of(component)
    assert trap.cause == ExitCause.TRAP
    assert re.search(detail, trap.detail)
    assert heard == []


ENUM = '(type $k-raw (enum "a" "b")) (export "k" (type $k (eq $k-raw)))'


@pytest.mark.parametrize(
    ("type_", "core", "arguments", "detail"),
    [
        ("$k", "i32", "(i32.const 2)", "discriminant 2 out of range|case number 2 of"),
        ("$k", "i32", "(i32.const -1)", "out of range|case number 4294967295 of"),
        ("char", "i32", "(i32.const 0xd800)", "out of range for `char`|not a Unicode scalar value"),
        ("char", "i32", "(i32.const 0x110000)", "out of range for `char`|not a Unicode scalar value"),
        (
            "(option u8)",
            "i32 i32",
            "(i32.const 2) (i32.const 0)",
            "discriminant 2 out of range|case number 2 of",
        ),
        (
            "(result u8)",
            "i32 i32",
            "(i32.const 9) (i32.const 0)",
            "discriminant 9 out of range|case number 9 of",
        ),
        ("(list u64)", "i32 i32", "(i32.const 4) (i32.const 1)", "not aligned|not a multiple of 8"),
        (
            "(list u64)",
            "i32 i32",
            "(i32.const 0) (i32.const 0x20000001)",
            "out of bounds|list of 536870913 elements",
        ),
        (
            "(list (list string))",
            "i32 i32",
            "(i32.const 0) (i32.const -1)",
            "out of bounds|list of 4294967295 elements",
        ),
    ],
)
def test_a_malformed_value_traps_before_the_host_call(
    type_: str, core: str, arguments: str, detail: str
) -> None:
    heard: list[Any] = []
    wrapped = type_ if type_.startswith("$") or type_ == "char" else "$x"
    define = "" if wrapped == type_ else f"(type $x {type_})"
    exports = f'{ENUM} {define} (export "say" (func (param "x" {wrapped})))'
    body = f"(call $say {arguments})"
    more = f'(import "host" "say" (func $say (param {core})))'
    trap = death_of(load(guest(body, exports, more=more), Calls({"say": lambda owner, x: heard.append(x)})))
    assert trap.cause == ExitCause.TRAP
    assert re.search(detail, trap.detail)
    assert heard == []


@pytest.mark.parametrize(
    ("realloc", "detail"),
    [
        ("(i32.const -8)", "beyond end of memory|outside of its memory"),
        ("(i32.const 262142)", "beyond end of memory|outside of its memory"),
        ("unreachable", "unreachable"),
    ],
)
def test_a_wild_allocator_traps_its_own_guest(realloc: str, detail: str) -> None:
    component = load(
        guest("(call $ask (i32.const 0))", ASK, more=IMPORT_ASK, libc=allocator(realloc)),
        Calls({"ask": _says_hello}),
    )
    trap = death_of(component)
    assert trap.cause == ExitCause.TRAP
    assert re.search(detail, trap.detail)


@pytest.mark.parametrize("pointer", [-4, 1, 262144])
def test_a_wild_place_for_a_result_traps_its_own_guest(pointer: int) -> None:
    component = load(
        guest(f"(call $ask (i32.const {pointer}))", ASK, more=IMPORT_ASK), Calls({"ask": _says_hello})
    )
    assert death_of(component).cause == ExitCause.TRAP


def test_an_allocator_that_loops_for_ever_is_pre_empted_or_ended(lane: str) -> None:
    component = load(
        guest("(call $ask (i32.const 0))", ASK, more=IMPORT_ASK, libc=allocator("(loop (br 0)) unreachable")),
        Calls({"ask": _says_hello}),
    )
    with fiber_of(component) as fiber:
        finish_step(fiber)
        fiber.start()
        if lane != "whole":
            with pytest.raises(GuestTrap, match="its allocator took over 25 ms"):
                finish_step(fiber)
        else:
            assert [fiber.poll() for _ in range(3)] == [False, False, False]
            assert fiber.blocked is None


def test_all_that_an_allocator_does_in_one_slice_counts_together(lane: str) -> None:
    """A list of texts has it called for each, and each call is over soon."""
    some_ms = "(local $left i32) (local.set $left (i32.const 5000000))" + (
        "(loop (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    )
    component = load(
        guest(
            "(call $ask (i32.const 0))",
            '(export "ask" (func (result (list string))))',
            more=IMPORT_ASK,
            libc=allocator(f"{some_ms} (i32.const 1024)"),
        ),
        Calls({"ask": lambda owner: ["hello"] * 100}),
    )
    with fiber_of(component) as fiber:
        finish_step(fiber)
        fiber.start()
        if lane != "whole":
            with pytest.raises(GuestTrap, match="its allocator took over 25 ms"):
                finish_step(fiber)
        else:
            assert not fiber.poll()


def test_an_infinite_loop_is_pre_empted_again_and_again() -> None:
    with fiber_of(load(guest("(loop (br 0))"), Calls({}))) as fiber:
        finish_step(fiber)
        fiber.start()
        assert [fiber.poll() for _ in range(5)] == [False] * 5


def test_an_infinite_loop_of_host_calls_is_pre_empted() -> None:
    calls = 0

    def say(owner: Any, text: str) -> None:
        nonlocal calls
        calls += 1

    body = "(loop (call $say (i32.const 0) (i32.const 5)) (br 0))"
    with fiber_of(load(guest(body, SAY, more=IMPORT_SAY), Calls({"say": say}))) as fiber:
        finish_step(fiber)
        fiber.start()
        while not calls:  # a busy machine may end its first slice before it calls anything
            assert not fiber.poll()
        assert calls < 100_000


def test_a_guest_over_its_memory_limit_sees_the_refusal_and_may_go_on() -> None:
    told: list[str] = []
    grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))"
    limits = StoreLimits(memory_bytes=8 << 20, table_elements=10)
    component = load(
        guest(f"{grow} (call $say (i32.const 0) (i32.const 0))", SAY, more=IMPORT_SAY),
        Calls({"say": lambda owner, text: told.append(text)}),
    )
    run(component, limits=limits)
    assert told == [""]
    assert death_of(load(guest(f"{grow} unreachable"), Calls({})), limits=limits).cause == ExitCause.TRAP


def test_a_table_over_its_limit_is_refused() -> None:
    body = (
        "(if (i32.eq (table.grow $t (ref.null func) (i32.const 1000000)) (i32.const -1)) (then unreachable))"
    )
    component = load(guest(body, more="(table $t 1 funcref)"), Calls({}))
    assert death_of(component).detail == "wasm `unreachable` instruction executed"


def test_a_memory_that_starts_over_the_limit_is_refused() -> None:
    component = load(
        guest("", libc=MEMORY.replace('(memory (export "memory") 4)', '(memory (export "memory") 4000)')),
        Calls({}),
    )
    with pytest.raises((GuestTrap, LinkFailure), match="memory"):
        run(component)


@pytest.mark.parametrize(
    "raised",
    [
        ZeroDivisionError("division by zero"),
        KeyboardInterrupt(),
        SystemExit(3),
        RecursionError("deep"),
        MemoryError(),
        StopIteration(),
        GeneratorExit(),
        Exception("two\nlines \0 and a zero \ud800"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("blocking", [False, True])
def test_whatever_a_host_call_raises_is_a_fault_of_that_guest_alone(
    raised: BaseException, blocking: bool
) -> None:
    fail = True

    def ask(owner: Any) -> str:
        if fail:
            raise raised
        return "fine"

    component = load(
        guest("(call $ask (i32.const 0))", ASK, more=IMPORT_ASK),
        Calls({"ask": ask}, ("ask",) if blocking else ()),
    )
    trap = death_of(component)
    assert trap.cause == ExitCause.HOST_FAULT
    assert trap.detail.startswith(type(raised).__name__)
    assert raised.__traceback__ is None
    fail = False
    run(component)


@pytest.mark.parametrize("blocking", [False, True])
def test_a_fault_that_quotes_a_hundred_megabytes_is_told_in_few_words_and_keeps_nothing(
    blocking: bool,
) -> None:
    kept: list[weakref.ref[Payload]] = []

    def ask(owner: Any) -> str:
        payload = Payload(bytes(100 << 20))
        kept.append(weakref.ref(payload))
        values = {"bytes": payload.content}
        raise LookupError(values, [values] * 1000, payload.content, payload, 1 << 100_000)

    component = load(
        guest("(call $ask (i32.const 0))", ASK, more=IMPORT_ASK),
        Calls({"ask": ask}, ("ask",) if blocking else ()),
    )
    tracemalloc.start()
    try:
        trap = death_of(component)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert trap.detail.startswith("LookupError: {'bytes': b'")
    assert len(trap.detail) <= 500
    assert "in ask" in trap.trace
    assert most < 110 << 20
    assert [each() for each in kept] == [None]


def test_a_trap_that_a_host_call_raises_on_purpose_keeps_its_cause() -> None:
    def ask(owner: Any) -> str:
        raise GuestTrap(ExitCause.RETURNED, "it exited with code 0")

    trap = death_of(load(guest("(call $ask (i32.const 0))", ASK, more=IMPORT_ASK), Calls({"ask": ask})))
    assert (trap.cause, trap.detail) == (ExitCause.RETURNED, "it exited with code 0")


def test_a_result_where_none_is_wanted_is_a_fault() -> None:
    component = load(
        guest("(call $say (i32.const 0) (i32.const 0))", SAY, more=IMPORT_SAY),
        Calls({"say": lambda owner, text: Ok()}),
    )
    assert death_of(component).cause == ExitCause.HOST_FAULT


def test_a_host_call_cannot_be_made_while_the_host_writes_a_result() -> None:
    heard: list[str] = []
    reentering = """
  (core module $table
    (table (export "table") 1 funcref))
  (core instance $table (instantiate $table))
  (core module $libc
    (type $say (func (param i32 i32)))
    (import "table" "table" (table 1 funcref))
    (memory (export "memory") 4)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (call_indirect (type $say) (i32.const 0) (i32.const 3) (i32.const 0))
      (i32.const 1024)))
  (core instance $libc (instantiate $libc (with "table" (instance $table))))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "cabi_realloc" (core func $realloc))
"""
    more = f"""{IMPORT_SAY} {IMPORT_ASK}
    (import "table" "table" (table 1 funcref)) (elem (i32.const 0) $say)"""
    component_text = guest("(call $ask (i32.const 0))", SAY + ASK, more=more, libc=reentering).replace(
        '(with "libc" (instance $libc))', '(with "libc" (instance $libc)) (with "table" (instance $table))'
    )
    calls = Calls({"say": lambda owner, text: heard.append(text), "ask": _says_hello})
    trap = death_of(load(component_text, calls))
    assert trap.cause == ExitCause.TRAP
    assert re.search("cannot leave component instance|its allocator called the host", trap.detail)
    assert heard == []


def test_host_calls_work_on_the_last_bit_of_a_guests_stack() -> None:
    """A guest calls the host at every depth until its stack is full: the host has room of its own."""
    depth = 0

    def ask(owner: Any) -> str:
        nonlocal depth
        depth += 1
        return str([[depth]] * 50)

    component = load(
        guest(
            "(call $ask (i32.const 0)) (call $run)", ASK, more=IMPORT_ASK, libc=allocator("(i32.const 1024)")
        ),
        Calls({"ask": ask}),
    )
    assert death_of(component).cause == ExitCause.STACK_OVERFLOW
    assert depth > 1000


@pytest.mark.parametrize(("size", "dies"), [(MAX_LIST, False), (MAX_LIST + 1, True), (2_700_000, True)])
def test_a_guest_may_pass_a_list_of_so_many_elements_and_no_more(size: int, dies: bool) -> None:
    heard: list[int] = []
    pages = size * 4 // 65536 + 1
    component = load(
        guest(
            f"(drop (memory.grow (i32.const {pages}))) (call $say (i32.const 65536) (i32.const {size}))",
            '(type $numbers (list u32)) (export "say" (func (param "x" $numbers)))',
            more=IMPORT_SAY,
        ),
        Calls({"say": lambda owner, numbers: heard.append(len(numbers))}),
    )
    if dies:
        trap = death_of(component)
        assert trap.cause == ExitCause.TRAP
        assert f"a list of {size} elements" in trap.detail
        assert heard == []
    else:
        run(component)
        assert heard == [size]
