"""What takes long is done in pieces, with the same result, and is interrupted."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmtime import Func, Instance, Memory, Module, Store, Trap, WasmtimeError, wat2wasm

from guesthouse.package.compile.compile import compile_component, compile_module, find_fault
from guesthouse.wasm.binary.byte_reader import COMPONENT, MODULE, encoded_section, sections
from guesthouse.wasm.binary.core_module import FUNCTIONS, read_module
from guesthouse.wasm.core.core_capi import CONTINUE, EPOCH_CALL, epoch_callback
from guesthouse.wasm.plan import long_instructions
from guesthouse.wasm.plan.long_instructions import interruptible

from ...boundary.harness import ENGINE

SIZE = 65536
SEGMENT = "".join(map("\\{:02x}".format, range(1, 41)))
MEMORY = f"""(module (memory (export "memory") 1) (data $bytes "{SEGMENT}")
  (func (export "number") (i32.store8 (i32.const 0) (i32.const 1))
    (loop (i32.store8 (i32.load (i32.const 65532)) (i32.load (i32.const 65532)))
      (i32.store (i32.const 65532) (i32.add (i32.load (i32.const 65532)) (i32.const 1)))
      (br_if 0 (i32.lt_u (i32.load (i32.const 65532)) (i32.const 65532)))))
  (func (export "drop") (data.drop $bytes))
  (func (export "do") (param i32 i32 i32) (memory.{{}} (local.get 0) (local.get 1) (local.get 2))))"""
TABLE_SIZE = 40
NUMBERS = range(TABLE_SIZE)
TABLE = f"""(module (table $t (export "t") {TABLE_SIZE} funcref) (table $u (export "u") {TABLE_SIZE} funcref)
  {"".join(f"(func $f{each} (result i32) (i32.const {each}))" for each in NUMBERS)}
  (type $number (func (result i32)))
  (elem (table $t) (i32.const 0) func {" ".join(f"$f{each}" for each in NUMBERS)})
  (elem $some func {" ".join(f"$f{each}" for each in NUMBERS)})
  (func (export "at") (param i32) (result i32)
    (if (result i32) (ref.is_null (table.get $t (local.get 0))) (then (i32.const -1))
      (else (call_indirect $t (type $number) (local.get 0)))))
  (func (export "drop") (elem.drop $some))
  (func (export "do") (param i32 i32 i32) (table.{{}} (local.get 0) (local.get 1) (local.get 2))))"""


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    """Pieces of eight, so that little is much."""
    pieces = long_instructions.PIECE_BYTES, long_instructions.PIECE_ELEMENTS
    long_instructions.PIECE_BYTES = long_instructions.PIECE_ELEMENTS = 8  # type: ignore[misc]
    long_instructions._function.cache_clear()
    yield
    long_instructions.PIECE_BYTES, long_instructions.PIECE_ELEMENTS = pieces  # type: ignore[misc]
    long_instructions._function.cache_clear()


class Pair:
    """The same module as it was and in pieces."""

    def __init__(self, wat: str) -> None:
        plain = bytes(wat2wasm(wat))
        changed = interruptible(plain)
        assert changed != plain
        self.store = Store(ENGINE)
        self.store.set_epoch_deadline(1_000_000)
        self.both = [Instance(self.store, Module(ENGINE, each), []) for each in (plain, changed)]

    def call(self, name: str, *arguments: int) -> list[Any]:
        """What each of them returns, or traps with."""
        return [self._outcome(each.exports(self.store)[name], arguments) for each in self.both]

    def _outcome(self, function: Any, arguments: tuple[int, ...]) -> Any:
        assert isinstance(function, Func)
        try:
            return function(self.store, *arguments)
        except Trap as trap:
            return trap.trap_code

    def memories(self) -> list[bytes]:
        """All that is in each of them."""
        found = []
        for each in self.both:
            memory = each.exports(self.store)["memory"]
            assert isinstance(memory, Memory)
            found.append(bytes(memory.read(self.store, 0, SIZE)))
        return found

    def tables(self) -> list[list[int]]:
        """Which function is at each place of the first table, -1 for none."""
        return [
            [each.exports(self.store)["at"](self.store, place) for place in range(TABLE_SIZE)]  # type: ignore[operator]
            for each in self.both
        ]


def same(values: list[Any]) -> Any:
    one, other = values
    assert one == other
    return one


EDGES = [0, 1, 7, 8, 9, 16, 17, SIZE - 17, SIZE - 8, SIZE, SIZE + 1, 2**31, 2**32 - 8, 2**32 - 1]
PLACES = st.one_of(st.sampled_from(EDGES), st.integers(0, 60), st.integers(SIZE - 60, SIZE))
COUNTS = st.one_of(st.sampled_from(EDGES), st.integers(0, 60))


def signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


@pytest.fixture(scope="module")
def of_memory() -> dict[str, Pair]:
    names = {"fill": "fill", "copy": "copy", "init": "init $bytes"}
    pairs = {name: Pair(MEMORY.format(text)) for name, text in names.items()}
    for pair in pairs.values():
        same(pair.call("number"))
    return pairs


@pytest.mark.parametrize("name", ["fill", "copy", "init"])
@settings(deadline=None)
@given(to=PLACES, with_=PLACES, count=COUNTS)
def test_memory_is_as_if_it_were_done_at_once(
    of_memory: dict[str, Pair], name: str, to: int, with_: int, count: int
) -> None:
    pair = of_memory[name]
    same(pair.call("do", *map(signed, (to, with_, count))))
    same(pair.memories())


@pytest.fixture(scope="module")
def of_tables() -> dict[str, Pair]:
    names = {"copy": "copy $t $t", "copy from another": "copy $t $u", "init": "init $t $some"}
    return {name: Pair(TABLE.format(text)) for name, text in names.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["copy", "copy from another", "init"])
@settings(deadline=None)
@given(
    to=st.one_of(st.integers(0, TABLE_SIZE + 1), st.sampled_from(EDGES)),
    with_=st.one_of(st.integers(0, TABLE_SIZE + 1), st.sampled_from(EDGES)),
    count=st.one_of(st.integers(0, TABLE_SIZE + 1), st.sampled_from(EDGES)),
)
def test_tables_are_as_if_it_were_done_at_once(
    of_tables: dict[str, Pair], name: str, to: int, with_: int, count: int
) -> None:
    pair = of_tables[name]
    same(pair.call("do", *map(signed, (to, with_, count))))
    same(pair.tables())


@pytest.mark.parametrize("wat", [MEMORY.format("init $bytes"), TABLE.format("init $t $some")])
def test_of_a_segment_that_was_dropped_nothing_is_copied(wat: str) -> None:
    pair = Pair(wat)
    assert same(pair.call("do", 0, 0, 40)) is None
    same(pair.call("drop"))
    assert same(pair.call("do", 0, 0, 40)) is not None
    assert same(pair.call("do", 0, 0, 0)) is None


class Looks:
    """Counts how often the engine looks whether a slice is over, of a store whose slices always are."""

    def __init__(self, store: Store) -> None:
        self.count = 0

        def over(context: int, env: int, delta_out: int, kind_out: int) -> int:
            self.count += 1
            ctypes.c_uint64.from_address(delta_out).value = 0
            ctypes.c_uint8.from_address(kind_out).value = CONTINUE
            return 0

        self._callback = EPOCH_CALL(over)
        store.set_epoch_deadline(0)
        epoch_callback(ctypes.cast(store.ptr(), ctypes.c_void_p).value, self._callback, None, None)

    def during(self, call: Callable[[], Any]) -> int:
        """How often it looks while this runs."""
        before = self.count
        call()
        return self.count - before


LINE = f"""(module (memory 1) (table $t 100 funcref) (elem $some func {"$f " * 24})
  (data $bytes "{"0" * 24}") (func $f)
  (func (export "line") (local $count i32) (local.set $count (i32.const {{count}})) {{body}}))"""
HERE = "(i32.const 0) (i32.const 0)"


def looks_in(content: bytes) -> int:
    """How often the engine looks while a module's `line` runs."""
    store = Store(ENGINE)
    counted = Looks(store)
    line = Instance(store, Module(ENGINE, content), []).exports(store)["line"]
    assert isinstance(line, Func)
    return counted.during(lambda: line(store))


@pytest.mark.parametrize(
    ("instruction", "looks"),
    [
        (f"(memory.fill {HERE} (local.get $count))", 8),
        (f"(memory.copy {HERE} (local.get $count))", 8),
        ("(memory.copy (i32.const 1) (i32.const 0) (local.get $count))", 8),
        (f"(table.copy {HERE} (local.get $count))", 8),
        (f"(memory.init $bytes {HERE} (i32.and (local.get $count) (i32.const 24)))", 3),
        (f"(table.init $some {HERE} (i32.and (local.get $count) (i32.const 24)))", 3),
        (f"(memory.fill {HERE} (i32.const 72))", 8),
        ("(drop (table.grow (ref.null func) (i32.const 0)))", 1),
        ("(drop (memory.grow (i32.const 0)))", 1),
        ("(drop (ref.func $f))", 1),
        ("(data.drop $bytes)", 1),
        ("(elem.drop $some)", 1),
    ],
)
def test_the_engine_looks_in_a_straight_line_and_within_each(instruction: str, looks: int) -> None:
    """Once for each, and once for each piece of eight of it."""
    content = bytes(wat2wasm(LINE.format(count=88, body=instruction * 100)))
    assert looks_in(content) <= 2 + 100
    assert looks_in(interruptible(content)) >= 100 * looks


@pytest.mark.parametrize("instruction", ["memory.fill", "memory.copy", "memory.init $bytes"])
def test_what_is_constant_and_no_more_than_a_piece_stays(instruction: str) -> None:
    content = bytes(wat2wasm(LINE.format(count=8, body=f"({instruction} {HERE} (i32.const 8))")))
    assert interruptible(content) is content


def test_the_engine_itself_looks_between_those_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 129 or 256 bytes on: what it does not look between takes some nanoseconds."""
    monkeypatch.setattr(long_instructions, "PIECE_BYTES", 262_144)
    for instruction in (
        f"(memory.fill {HERE} (i32.const 256))",
        f"(memory.copy {HERE} (i32.const 129))",
        "(table.fill (i32.const 0) (ref.null func) (i32.load (i32.const 0)))",
    ):
        content = bytes(wat2wasm(LINE.format(count=0, body=instruction * 100)))
        assert interruptible(content) is content
        assert looks_in(content) >= 100


def test_a_module_without_them_stays_as_it_is() -> None:
    content = bytes(wat2wasm("(module (memory 1) (func (i32.store (i32.const 0) (i32.const 0x0bfc))))"))
    assert interruptible(content) is content


def test_functions_keep_their_numbers_and_names_and_what_knows_places_in_the_code_goes() -> None:
    content = bytes(wat2wasm(LINE.format(count=1, body=f"(memory.fill {HERE} (local.get $count)) (call $f)")))
    content += encoded_section(0, b"\x0b.debug_info" + b"\x00" * 9)
    changed = interruptible(content)
    old, new = (custom_sections(each) for each in (content, changed))
    assert set(old) == {b"name", b".debug_info"}
    assert new == {b"name": old[b"name"]}
    assert read_module(changed).exports == read_module(content).exports
    assert interruptible(changed) != content


def custom_sections(content: bytes) -> dict[bytes, bytes]:
    found = {}
    for section in sections(content, 0, len(content), MODULE):
        if section.kind == 0:
            size = content[section.body]
            name = content[section.body + 1 : section.body + 1 + size]
            found[name] = content[section.body + 1 + size : section.end]
    return found


def test_a_function_for_each_memory_and_segment_is_added_once() -> None:
    body = (
        f"(memory.fill {HERE} (local.get $count))" * 3 + f"(memory.init $bytes {HERE} (local.get $count))" * 2
    )
    content = bytes(wat2wasm(LINE.format(count=1, body=body)))
    before, after = (
        read_module(each).reader(FUNCTIONS).count(9, "functions")
        for each in (content, interruptible(content))
    )
    assert (before, after) == (2, 4)


def test_whoever_compiles_a_module_alone_puts_it_in_pieces() -> None:
    content = bytes(wat2wasm(LINE.format(count=64, body=f"(memory.fill {HERE} (local.get $count))")))
    (code,) = compile_module(content).parts
    assert bytes(code) == bytes(Module(ENGINE, interruptible(content)).serialize())


@pytest.mark.parametrize("compile_it", [compile_component, find_fault])
def test_an_instruction_that_is_not_known_is_refused_by_its_number(
    compile_it: Callable[[bytes], Any],
) -> None:
    """The engine takes one whose number is longer than it has to be; no compiler writes it so."""
    body = b"\x00\x43\x00\x00\x00\x00\xfc\x80\x00\x1a\x0b"  # i32.trunc_sat_f32_s of a constant, dropped
    module = MODULE + b"".join(
        (
            encoded_section(1, b"\x01\x60\x00\x00"),
            encoded_section(3, b"\x01\x00"),
            encoded_section(10, b"\x01" + bytes((len(body),)) + body),
        )
    )
    Module.validate(ENGINE, module)
    with pytest.raises(
        ValueError, match="has the instruction 0xfc00, which is unknown here: build it without"
    ):
        compile_it(COMPONENT + encoded_section(1, module))
    with pytest.raises(ValueError, match="unknown here"):
        compile_module(module)


def test_a_module_that_names_a_function_too_many_does_not_get_one_that_is_added() -> None:
    body = f"(memory.fill {HERE} (local.get $count)) (call 2 {HERE} (local.get $count))"
    content = bytes(wat2wasm(LINE.format(count=1, body=body)))
    with pytest.raises(WasmtimeError, match="unknown function 2"):
        compile_module(content)
