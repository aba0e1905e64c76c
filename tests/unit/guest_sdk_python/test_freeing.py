"""Components of componentize-py are changed so that they free bytes: a small one with the same two functions."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
import wasmtime
from guesthouse_sdk import build, freeing
from guesthouse_sdk.freeing import UnknownRuntimeError, with_bytes_freed

POINTER: Final = 512
"""Where the pointer to a list is put."""

RUNTIME: Final = f"""
(core module $runtime
  (type $other (func))
  (import "env" "memory" (memory 1))
  (import "env" "table" (table 1 funcref))
  (import "env" "base" (global i32))
  (import "env" "helper" (func (type $other)))
  (global $freed (export "freed") (mut i32) (i32.const 0))
  (global $call (export "call") (mut i32) (i32.const 0))
  (global $at (export "at") (mut i32) (i32.const 0))
  (global $size (export "size") (mut i32) (i32.const 0))
  (global $align (export "align") (mut i32) (i32.const 0))
  (global $later (export "later") (mut i32) (i32.const 0))
  (func (export "{freeing.FREE}") (param i32 i32 i32 i32 i32)
    (global.set $freed (i32.add (global.get $freed) (i32.const 1)))
    (global.set $call (local.get 0)) (global.set $at (local.get 1)) (global.set $size (local.get 2))
    (global.set $align (local.get 3)) (global.set $later (local.get 4)))
  ;; type 0 stands for bytes, of which there are seven; of another type there are three elements
  (func $pop (export "{freeing.POP}") (param i32 i32 i32) (result i32)
    (i32.store (local.get 2) (select (i32.const 0) (i32.const 4096) (local.get 1)))
    (select (i32.const 3) (i32.const 7) (local.get 1)))
  (func (export "after") (result i32) (i32.const 5)))
"""

HANDED_ON: Final = f"""
(core module
  (import "env" "pop" (func $pop (param i32 i32 i32) (result i32)))
  (import "env" "free" (func $free (param i32 i32 i32 i32 i32)))
  (export "{freeing.POP}" (func $pop))
  (export "{freeing.FREE}" (func $free)))
"""
"""Has the functions of another module."""


def component(*modules: str) -> bytes:
    """A component with core modules that it does not instantiate."""
    return bytes(wasmtime.wat2wasm(f"(component {' '.join(modules)})"))


def core_modules(content: bytes) -> list[bytes]:
    """The core modules of a component."""
    sections = freeing.sections(content, freeing.COMPONENT)
    return [
        content[section.body : section.end] for section in sections if section.kind == freeing.CORE_MODULE
    ]


class Runtime:
    """The core module, instantiated."""

    def __init__(self, module: bytes) -> None:
        self.store = wasmtime.Store()
        memory = wasmtime.Memory(self.store, wasmtime.MemoryType(wasmtime.Limits(1, None)))
        limits = wasmtime.Limits(1, None)
        table = wasmtime.Table(self.store, wasmtime.TableType(wasmtime.ValType.funcref(), limits), None)
        constant = wasmtime.GlobalType(wasmtime.ValType.i32(), mutable=False)
        base = wasmtime.Global(self.store, constant, wasmtime.Val.i32(0))
        helper = wasmtime.Func(self.store, wasmtime.FuncType([], []), lambda: None)
        compiled = wasmtime.Module(self.store.engine, module)
        self.memory = memory
        self.exports = wasmtime.Instance(self.store, compiled, [memory, table, base, helper]).exports(
            self.store
        )

    def pop(self, call: int, type_: int) -> tuple[int, int]:
        """The length and the pointer of the next list."""
        function = self.exports[freeing.POP]
        assert isinstance(function, wasmtime.Func)
        length = function(self.store, call, type_, POINTER)
        pointer = int.from_bytes(self.memory.read(self.store, POINTER, POINTER + 4), "little")
        return length, pointer

    def value(self, name: str) -> int:
        """The value of a global."""
        global_ = self.exports[name]
        assert isinstance(global_, wasmtime.Global)
        return int(global_.value(self.store))


def test_bytes_are_freed_when_the_call_returns_and_other_lists_as_before() -> None:
    (before,) = core_modules(component(RUNTIME))
    (module,) = core_modules(with_bytes_freed(component(RUNTIME)))
    for content, freed in ((before, 0), (module, 1)):
        runtime = Runtime(content)
        assert runtime.pop(77, 1) == (3, 0)
        assert runtime.value("freed") == 0
        assert runtime.pop(77, 0) == (7, 4096)
        assert runtime.value("freed") == freed
    names = ("call", "at", "size", "align", "later")
    assert {name: runtime.value(name) for name in names} == {
        "call": 77,
        "at": 4096,
        "size": 7,
        "align": 1,
        "later": 1,
    }
    after = runtime.exports["after"]
    assert isinstance(after, wasmtime.Func)
    assert after(runtime.store) == 5


def test_nothing_else_of_the_component_changes() -> None:
    user = f'(core module (import "env" "{freeing.POP}" (func (param i32 i32 i32) (result i32))))'
    other = '(core module (memory (export "memory") 1) (data (i32.const 0) "content"))'
    content = component(other, user, RUNTIME, other)
    changed = with_bytes_freed(content)
    assert [a == b for a, b in zip(core_modules(content), core_modules(changed), strict=True)] == [
        True,
        True,
        False,
        True,
    ]
    wasmtime.Module.validate(wasmtime.Engine(), core_modules(changed)[2])


def test_a_component_is_changed_once() -> None:
    changed = with_bytes_freed(component(RUNTIME))
    assert with_bytes_freed(changed) == changed


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"#!/bin/sh\n", "it is no component"),
        (wasmtime.wat2wasm("(module)"), "it is no component"),
        (component("(core module)"), f"exports {freeing.POP}"),
        (component(RUNTIME.replace(freeing.FREE, "free")), f"exports {freeing.POP} and {freeing.FREE}"),
        (
            component(RUNTIME.replace("(param i32 i32 i32 i32 i32)", "(param i32 i32 i32 i32 i32 i32)")),
            "another type",
        ),
        (component(HANDED_ON), "another type"),
    ],
)
def test_what_componentize_py_did_not_build_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(UnknownRuntimeError, match=reason):
        with_bytes_freed(content)


def test_components_are_changed_in_place_by_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other, wrong = (tmp_path / name for name in ("one.wasm", "other.wasm", "wrong.wasm"))
    for path in (one, other):
        path.write_bytes(component(RUNTIME))
    wrong.write_bytes(b"wrong")
    assert freeing.main([str(one), str(other)]) == 0
    assert one.read_bytes() == other.read_bytes() == with_bytes_freed(component(RUNTIME))
    assert freeing.main([str(wrong)]) == 1
    assert capsys.readouterr().err == f"{wrong} was not changed: it is no component\n"
    assert freeing.main([str(tmp_path / "missing.wasm")]) == 1
    assert wrong.read_bytes() == b"wrong"
    assert sorted(tmp_path.iterdir()) == [one, other, wrong]


def test_what_another_version_of_the_tool_built_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(component(RUNTIME))
    monkeypatch.setattr(build, "version", lambda name: "0.99.0")
    build._change(path)
    assert path.read_bytes() == component(RUNTIME)
    said = "componentize-py is 0.99.0, not 0.25.1: bytes that the process sends may never be freed\n"
    assert capsys.readouterr().err == said


def test_what_the_known_version_built_is_changed_or_the_build_fails(tmp_path: Path) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(component(RUNTIME))
    build._change(path)
    assert path.read_bytes() == with_bytes_freed(component(RUNTIME))
    path.write_bytes(component("(core module)"))
    with pytest.raises(build.BuildError, match=r"install componentize-py==0\.25\.1 again"):
        build._change(path)
