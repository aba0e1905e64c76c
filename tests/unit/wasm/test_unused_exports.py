"""Exports that nothing uses are removed from modules that have many, and what they do stays the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

from guesthouse.wasm.binary import unused_exports
from guesthouse.wasm.binary.core_module import EXPORTS, Kind, read_module
from guesthouse.wasm.binary.unused_exports import LEAST_UNUSED, without_unused_exports
from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.plan.planner import take_apart

from .following import follow

ECHO = Path(__file__).parents[3] / "sample_processes/echo/build/echo.wasm"
UNUSED = " ".join(f'(func (export "unused {number}"))' for number in range(LEAST_UNUSED))

LIBRARY = f"""(module
  (memory (export "memory") 1) (memory $other 0) (table (export "table") 1 funcref)
  (global (export "global") (mut i32) (i32.const 5))
  (func $init global.get 0 i32.const 1 i32.add global.set 0)
  (start $init)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 8)
  (func (export "count") (param i32 i32) (result i32) global.get 0)
  (func (export "naïve \\u{{1F600}}") (result i32) global.get 0)
  {UNUSED})"""

COMPONENT = f"""(component
  (core module $Library {LIBRARY.removeprefix("(module").replace("(memory $other 0)", "")}
  (core module $User (import "library" "naïve \\u{{1F600}}" (func $f (result i32)))
    (func (export "run") (result i32) call $f i32.const 100 i32.add))
  (core instance $library (instantiate $Library))
  (core instance $user (instantiate $User (with "library" (instance $library))))
  (func (export "echo") (param "text" string) (result u32)
    (canon lift (core func $library "count") (memory (core memory $library "memory"))
      (realloc (core func $library "cabi_realloc"))))
  (func (export "run") (result u32) (canon lift (core func $user "run"))))"""


def binary(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def names(module: bytes) -> set[str]:
    return set(read_module(module).exports)


@pytest.fixture
def from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are removed from all modules that have one."""
    monkeypatch.setattr(unused_exports, "LEAST_UNUSED", 1)


def test_what_is_not_used_is_removed_and_the_rest_is_as_it_was() -> None:
    module = binary(LIBRARY)
    used = {"memory", "global", "naïve \U0001f600"}
    slim = without_unused_exports(module, used, new_compiling_engine(small=True))
    before, after = read_module(module), read_module(slim)
    assert names(slim) == used
    for name in used:
        assert (after.exports[name], after.numbers[name]) == (before.exports[name], before.numbers[name])
    assert set(map(Kind, after.exports.values())) == {Kind.MEMORY, Kind.GLOBAL, Kind.FUNCTION}
    for kind, section in before.sections.items():
        there = after.sections[kind]
        if kind != EXPORTS:
            assert slim[there.body : there.end] == module[section.body : section.end]


@pytest.mark.parametrize("kept", [1, 2])
def test_a_module_of_which_little_is_unused_stays_as_it_is(kept: int) -> None:
    module = binary(f'(module (func (export "a")) (func (export "b")) {UNUSED})')
    unused = {f"unused {number}" for number in range(LEAST_UNUSED)}
    few = {*sorted(unused)[:kept], "a", "b"}
    assert without_unused_exports(module, few, new_compiling_engine(small=True)) is module
    assert names(without_unused_exports(module, {"a", "b"}, new_compiling_engine(small=True))) == {"a", "b"}


def test_nothing_at_all_may_be_used() -> None:
    slim = without_unused_exports(binary(f"(module {UNUSED})"), frozenset(), new_compiling_engine(small=True))
    assert names(slim) == set()
    assert wasmtime.Module(new_compiling_engine(small=True), slim).exports == []


def test_a_reference_to_a_function_that_is_only_exported_stays_valid() -> None:
    module = binary(
        f'(module (func $f (export "f")) (func (export "g") (result funcref) ref.func $f) {UNUSED})'
    )
    assert without_unused_exports(module, {"g"}, new_compiling_engine(small=True)) is module
    named = binary(
        f'(module (func $f (export "f")) (elem declare func $f)'
        f'(func (export "g") (result funcref) ref.func $f) {UNUSED})'
    )
    assert names(without_unused_exports(named, {"g"}, new_compiling_engine(small=True))) == {"g"}


def test_a_component_uses_what_its_plan_names() -> None:
    parts = take_apart(binary(COMPONENT), new_compiling_engine(small=True))
    library, user = parts.plan.used_exports()
    assert library == {"memory", "cabi_realloc", "count", "naïve \U0001f600", "start"}
    assert [names(module) for module in parts.modules] == [library, user] == [library, {"run"}]
    followed = follow(parts.plan, parts.modules, lambda call, arguments: None)
    assert followed.call("run") == 106


def test_a_module_keeps_what_any_of_its_instances_is_used_for(from_one: None) -> None:
    parts = take_apart(
        binary(
            """(component
              (core module $M (func (export "a") (result i32) i32.const 1) (func (export "b") (result i32) i32.const 2)
                (func (export "c")))
              (core instance $one (instantiate $M)) (core instance $two (instantiate $M))
              (func (export "a") (result u32) (canon lift (core func $one "a")))
              (func (export "b") (result u32) (canon lift (core func $two "b"))))"""
        ),
        new_compiling_engine(small=True),
    )
    assert [names(module) for module in parts.modules] == [{"a", "b"}]


def test_a_python_guest_has_fewer_than_half() -> None:
    content, engine = ECHO.read_bytes(), new_compiling_engine()
    slim = take_apart(content, engine)
    left = [len(names(module)) for module in slim.modules]
    used = slim.plan.used_exports()
    assert all(count - len(kept) < LEAST_UNUSED for count, kept in zip(left, used, strict=True))
    assert sum(map(len, used)) < 2_000
