"""What reaches a guest's memory reaches exactly that, wherever the memory begins and whenever it grows.

Each guest here runs with every view of memory compared with the mappings of this process, and with those of another
guest that lives beside it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from wasmtime import Engine, Module, wat2wasm

import guesthouse
from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.abi.memory import NO_MEMORY
from guesthouse.wasm.core.core_fiber import CoreFiber
from guesthouse.wasm.core.instance import LinkedComponent
from guesthouse.wasm.engine import native
from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.engine.host_functions import PENDING
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.plan.gate import with_gate
from guesthouse.wasm.plan.planner import take_apart

from .components import RUN
from .harness import LIMITS, Calls, fiber_of, finish_step, guest, let_block

PAGE: Final = 65_536
ENGINES: Final = {"main": new_compiling_engine(), "small": new_compiling_engine(small=True)}


class Mapped:
    """Compares each view of memory that is made with `/proc/self/maps`."""

    def __init__(self) -> None:
        self._made = native.guest_view
        self.views: list[tuple[int, int]] = []

    def __call__(self, base: int, size: int) -> memoryview:
        view = self._made(base, size)
        if size:
            assert is_writable(base, base + size), f"{size} bytes at {base:#x} are not mapped"
            self.views.append((base, size))
        assert view.nbytes == size
        return view


def is_writable(start: int, end: int) -> bool:
    """Whether private writable mappings cover all of a range."""
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            span, mode = line.split(b" ", 2)[:2]
            low, high = (int(number, 16) for number in span.split(b"-"))
            if low <= start < high:
                if mode != b"rw-p":
                    return False
                start = high
            if start >= end:
                return True
    return False


@pytest.fixture(autouse=True)
def mapped(monkeypatch: pytest.MonkeyPatch) -> Mapped:
    made = Mapped()
    monkeypatch.setattr(native, "guest_view", made)
    return made


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


def assembled(engine: Engine, wat: str, calls: Calls) -> LinkedComponent:
    parts = take_apart(bytes(wat2wasm(wat)), engine)
    plan, gates = with_gate(parts.plan)
    modules = [Module(engine, module) for module in (*parts.modules, *gates)]
    return LinkedComponent(engine, plan, modules, calls, RUN)


def libc(memory: str, before: str = "") -> str:
    """A memory and an allocator that only goes up, and grows the memory when it has to."""
    return f"""
  (core module $m
    (memory (export "memory") {memory})
    (global $top (mut i32) (i32.const 1024))
    (global (export "calls") (mut i32) (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      {before}
      (global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
      (loop $grow
        (if (i32.gt_u (i32.add (global.get $top) (local.get 3)) (i32.mul (memory.size) (i32.const {PAGE})))
          (then (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)) (br $grow))))
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get 3)))))
  (core instance $libc (instantiate $m))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))"""


GROW: Final = "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))"
TEXTS: Final = '(export "texts" (func (result (list string))))'
SAY: Final = '(export "say" (func (param "text" string)))'
IMPORT_TEXTS: Final = '(import "host" "texts" (func $texts (param i32)))'
IMPORT_SAY: Final = '(import "host" "say" (func $say (param i32 i32)))'
SAY_ALL: Final = """(local $at i32) (local $end i32)
      (call $texts (i32.const 0))
      (local.set $at (i32.load (i32.const 0)))
      (local.set $end (i32.add (local.get $at) (i32.mul (i32.load (i32.const 4)) (i32.const 8))))
      (loop $next (if (i32.lt_u (local.get $at) (local.get $end)) (then
        (call $say (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 8))) (br $next))))"""


def texts_and_say(body: str, memory: str) -> str:
    """A guest that calls both, with such a memory and allocator."""
    return guest(body, TEXTS + SAY, libc=memory, more=IMPORT_TEXTS + IMPORT_SAY)


class Host:
    """Gives texts, and hears what the guest says."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.said: list[str] = []
        self.calls = Calls(
            {"texts": lambda owner: self.texts, "say": lambda owner, text: self.said.append(text)}
        )


@pytest.fixture
def bystander(engine: Engine) -> Iterator[CoreFiber]:
    """A guest that does nothing, whose memory nobody else may change."""
    loaded = assembled(
        engine, guest("(i32.store (i32.const 0) (i32.const 0x5afe))", libc=libc("1")), Calls({})
    )
    with fiber_of(loaded) as fiber:
        assert isinstance(fiber, CoreFiber)
        finish_step(fiber)
        fiber.start()
        finish_step(fiber)
        before = bytes(fiber.memory.view)
        yield fiber
        fiber.memory.look()
        assert bytes(fiber.memory.view) == before


@pytest.mark.parametrize("memory", ["0", "0 40", "1", "1 40", "3"])
def test_texts_go_both_ways_while_the_allocator_grows_the_memory(
    engine: Engine, memory: str, mapped: Mapped, bystander: CoreFiber
) -> None:
    host = Host(*(letter * PAGE for letter in "abcdef"), "€" * 9, "")
    # The memory has to have what the result is written to: in a memory without a page nothing fits.
    body = SAY_ALL.replace("(call $texts", f"{GROW} (call $texts")
    loaded = assembled(engine, texts_and_say(body, libc(memory)), host.calls)
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        finish_step(fiber)
        assert host.said == host.texts
        assert isinstance(fiber, CoreFiber)
        assert fiber.memory.view.nbytes == fiber.memory.size > 6 * PAGE
    assert_never_moved(mapped, bystander)


def assert_never_moved(mapped: Mapped, bystander: CoreFiber) -> None:
    """All views but those of the bystander begin at one address, and none of them is in its memory."""
    own = bystander.memory.base
    others = [(base, size) for base, size in mapped.views if base != own]
    assert len({base for base, _ in others}) == 1
    assert all(before <= after for (_, before), (_, after) in pairwise(others))
    assert all(base + size <= own or base >= own + bystander.memory.size for base, size in others)


def test_a_memory_that_begins_without_a_page_and_grows_later_is_the_guests_own(
    engine: Engine, mapped: Mapped, bystander: CoreFiber
) -> None:
    """The escape of version 0.1.0: such a memory had a low address of nobody's, which it left as it grew."""
    host = Host()
    body = f"""(call $say (i32.const 0) (i32.const 0)) {GROW}
      (i32.store8 (i32.const 7) (i32.const 97)) (call $say (i32.const 7) (i32.const 1))"""
    loaded = assembled(engine, guest(body, SAY, libc=libc("0"), more=IMPORT_SAY), host.calls)
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        finish_step(fiber)
    assert host.said == ["", "a"]
    assert_never_moved(mapped, bystander)


@pytest.mark.parametrize("at", [0, 0x1000, 0x400000, PAGE - 1, PAGE, 2**31, 2**32 - 1])
def test_nothing_is_read_through_a_memory_without_a_page(
    engine: Engine, at: int, bystander: CoreFiber
) -> None:
    host = Host()
    loaded = assembled(
        engine,
        guest(f"(call $say (i32.const {at}) (i32.const 1))", SAY, libc=libc("0"), more=IMPORT_SAY),
        host.calls,
    )
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        with pytest.raises(GuestTrap, match="outside of its memory of 0 bytes") as died:
            finish_step(fiber)
    assert died.value.cause == ExitCause.TRAP
    assert not host.said


@pytest.mark.parametrize("at", [0, 0x1000, 0x400000, 2**31, 2**32 - 4])
def test_no_result_is_written_through_a_memory_without_a_page(
    engine: Engine, at: int, bystander: CoreFiber
) -> None:
    loaded = assembled(
        engine,
        guest(f"(call $texts (i32.const {at}))", TEXTS, libc=libc("0"), more=IMPORT_TEXTS),
        Host("x").calls,
    )
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        with pytest.raises(GuestTrap, match="outside of its memory of 0 bytes"):
            finish_step(fiber)


def test_an_allocator_that_grows_the_memory_by_much_between_the_parts_of_a_result_is_followed(
    engine: Engine, mapped: Mapped, bystander: CoreFiber
) -> None:
    """It grows by 64 pages each time it is asked, and gives what is at the very end."""
    at_the_end = """(if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable))
      (return (i32.and (i32.sub (i32.mul (memory.size) (i32.const 65536)) (local.get 3)) (i32.const -8)))"""
    host = Host("first", "second", "third")
    loaded = assembled(
        engine,
        texts_and_say(SAY_ALL, libc("1", at_the_end)),
        host.calls,
    )
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        finish_step(fiber)
        assert isinstance(fiber, CoreFiber)
        assert fiber.memory.size == (1 + 4 * 64) * PAGE
    assert host.said == host.texts
    assert_never_moved(mapped, bystander)


@pytest.mark.parametrize(
    "answer", ["(return (i32.mul (memory.size) (i32.const 65536)))", "(return (i32.const -8))"]
)
def test_an_allocator_that_gives_what_is_beyond_the_memory_writes_nothing(
    engine: Engine, answer: str, bystander: CoreFiber
) -> None:
    loaded = assembled(
        engine,
        texts_and_say(SAY_ALL, libc("1", answer)),
        Host("x").calls,
    )
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        with pytest.raises(GuestTrap, match="outside of its memory"):
            finish_step(fiber)


def test_an_allocator_that_gives_the_same_place_for_everything_overwrites_only_itself(
    engine: Engine, bystander: CoreFiber
) -> None:
    host = Host("a" * 64, "b" * 64)
    loaded = assembled(
        engine,
        guest(
            SAY_ALL, TEXTS + SAY, libc=libc("1", "(return (i32.const 512))"), more=IMPORT_TEXTS + IMPORT_SAY
        ),
        host.calls,
    )
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        # What it finds there are the letters of the last text, which it takes for an address and a length.
        with pytest.raises(GuestTrap, match=f"pointed to {0x62626262} bytes"):
            finish_step(fiber)
    assert not host.said


def test_a_memory_that_a_start_function_grew_is_seen_as_it_is(
    engine: Engine, mapped: Mapped, bystander: CoreFiber
) -> None:
    host = Host()
    more = f"{IMPORT_SAY} (func $begin {GROW} {GROW}) (start $begin)"
    body = f"(call $say (i32.const {2 * PAGE - 4}) (i32.const 4))"
    loaded = assembled(engine, guest(body, SAY, libc=libc("0"), more=more), host.calls)
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        finish_step(fiber)
    assert host.said == ["\0\0\0\0"]
    assert_never_moved(mapped, bystander)


def test_an_answer_that_comes_later_goes_into_the_memory_as_it_is_then(
    engine: Engine, mapped: Mapped, bystander: CoreFiber
) -> None:
    calls = Calls({"texts": lambda owner: PENDING}, ("texts",))
    loaded = assembled(
        engine,
        guest(
            f"{GROW} (call $texts (i32.const 0)) {GROW} (call $texts (i32.const 0))",
            TEXTS,
            libc=libc("0"),
            more=IMPORT_TEXTS,
        ),
        calls,
    )
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        for _ in range(2):
            let_block(fiber)
            fiber.answer(lambda: ["z" * 3 * PAGE])
        finish_step(fiber)
    assert_never_moved(mapped, bystander)


def test_what_is_kept_of_a_guest_that_ended_reaches_no_memory(engine: Engine) -> None:
    loaded = assembled(engine, guest("", SAY, libc=libc("1"), more=IMPORT_SAY), Host().calls)
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        assert isinstance(fiber, CoreFiber)
        memory = fiber.memory
        assert memory.size == PAGE
        fiber.drop()
        assert fiber.memory is NO_MEMORY
    assert (memory.size, memory.view.nbytes, memory.base) == (0, 0, 0)
    with pytest.raises(GuestTrap, match="outside"):
        memory.check(0, 1)
    with pytest.raises(IndexError):
        memory.view[0] = 1


def test_views_of_the_engines_arrays_are_small() -> None:
    for size in (-1, 0, native.MAX_SLOT_BYTES + 1, 2**47):
        with pytest.raises(ValueError, match="core arguments have at most"):
            native.slots(size)


def test_nothing_else_in_a_worker_makes_memory_of_an_address() -> None:
    """Names by which ctypes makes something readable of a number, and who may use them."""
    doors = {
        "from_address",
        "PyMemoryView_FromMemory",
        "memmove",
        "string_at",
        "wstring_at",
        "from_buffer_copy",
    }
    host = Path(guesthouse.__file__).parent
    allowed = {
        "wasm/engine/native.py": {"from_address", "PyMemoryView_FromMemory"},
        "wasm/engine/capi.py": {"string_at"},  # the text of an error, whose size the engine says
        "wasm/self_check.py": {"string_at"},  # a bytes object's content
    }
    used: dict[str, set[str]] = {}
    for path in host.rglob("*.py"):
        names = {name_of(node) for node in ast.walk(ast.parse(path.read_text()))} & doors
        if names:
            used[str(path.relative_to(host))] = names
    assert used == allowed


def name_of(node: Any) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return node.id if isinstance(node, ast.Name) else ""


def test_guests_are_given_no_more_memory_than_their_limit_by_any_engine(engine: Engine) -> None:
    body = "(loop $grow (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1)) (then (br $grow))))"
    loaded = assembled(engine, guest(body, SAY, libc=libc("0"), more=IMPORT_SAY), Host().calls)
    with fiber_of(loaded) as fiber:
        finish_step(fiber)
        fiber.start()
        finish_step(fiber)
        assert isinstance(fiber, CoreFiber)
        fiber.memory.look()
        assert fiber.memory.size == LIMITS.memory_bytes
