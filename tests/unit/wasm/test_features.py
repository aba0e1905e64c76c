"""The features of WebAssembly that guests may use; all others that the engine has are off."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
import wasmtime
from wasmtime import Module, WasmtimeError, wat2wasm

from guesthouse.package.compile.compile import compile_component
from guesthouse.wasm.engine import engines
from guesthouse.wasm.engine.engines import NEEDED_FEATURES, new_compiling_engine

OFF: Final = {
    "calls of typed references": "(module (type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0))))",
    "tables of typed references": "(module (type $t (func)) (table 1 (ref null $t)))",
    "references to what the host has": "(module (table 1 externref))",
    "structs": "(module (type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1)))))",
    "small integers as references": "(module (func (drop (ref.i31 (i32.const 1)))))",
    "recursive types": "(module (rec (type (func)) (type (func (param i32)))))",
    "exceptions": "(module (tag $t) (func (throw $t)))",
    "references to exceptions": "(module (table 1 exnref))",
    "memories of 64 bits": "(module (memory i64 1))",
    "tables of 64 bits": "(module (table i64 1 funcref))",
    "shared memories": "(module (memory 1 1 shared))",
    "atomic instructions": "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
    "pages of a byte": "(module (memory 1 (pagesize 1)))",
    "continuations": "(module (type $f (func)) (type $c (cont $f)))",
    "instructions of any result": """(module (func (param v128 v128 v128) (result v128)
        (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))""",
    "sums of 128 bits": """(module (func (param i64 i64 i64 i64) (result i64 i64)
        (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))""",
}
ON: Final = {
    "tail calls": "(module (func $f (return_call $f)))",
    "several results": "(module (func (result i32 i32) (i32.const 1) (i32.const 2)))",
    "several memories": "(module (memory 1) (memory 1))",
    "vectors": "(module (func (result v128) (v128.const i64x2 1 2)))",
    "several tables of functions": "(module (table 1 funcref) (table 1 funcref))",
    "sums as constants": "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))",
}


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("name", OFF)
def test_what_no_guest_needs_is_off(name: str, small: bool) -> None:
    with pytest.raises(WasmtimeError):
        Module(new_compiling_engine(small=small), bytes(wat2wasm(OFF[name])))


@pytest.mark.parametrize("name", ON)
def test_what_tools_make_is_on(name: str) -> None:
    Module(new_compiling_engine(), bytes(wat2wasm(ON[name])))


def test_each_feature_that_the_engine_has_is_decided_on() -> None:
    declared = Path(wasmtime.__file__).with_name("_bindings.py").read_text()
    switches = set(re.findall(r"\bwasmtime_config_(wasm_\w+)_set\b", declared))
    switches -= {"wasm_relaxed_simd_deterministic"}  # how that computes, if it is on
    assert switches == set(engines._FEATURES)
    assert {name for name, on in engines._FEATURES.items() if on} == {
        f"wasm_{name}" for name in NEEDED_FEATURES
    }


def test_a_component_that_uses_what_is_off_is_refused_in_one_line() -> None:
    text = f"(component (core {OFF['sums of 128 bits'].removeprefix('(')})"
    with pytest.raises((WasmtimeError, ValueError)) as refusal:
        compile_component(bytes(wat2wasm(text)))
    assert "wide arithmetic support is not enabled" in str(refusal.value)
