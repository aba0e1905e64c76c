"""Components within that only trap: a call of one has the type that the engine wants, and traps."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.package.compile.compile import compile_component
from guesthouse.wasm.types import (
    BOOL,
    CHAR,
    F32,
    F64,
    S64,
    STRING,
    U8,
    U32,
    ListOf,
    OptionOf,
    Primitive,
    ResultOf,
    TupleOf,
    WitType,
)

from ..unit.worker.guests import Wasi, process
from .components import MAX_FLAT, MEMORY, RUN, TypeWriter, core_types
from .test_canonical_resources import by_the_engine, by_us

LEAVES: st.SearchStrategy[WitType] = st.sampled_from((BOOL, U8, U32, S64, F32, F64, CHAR, STRING))
TYPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(ListOf, inner),
        st.builds(OptionOf, inner),
        st.builds(TupleOf, st.lists(inner, min_size=1, max_size=6).map(tuple)),
        st.builds(ResultOf, st.none() | inner, st.none() | inner),
    ),
    max_leaves=20,
)
"""Those that need no names."""


def stub(params: Sequence[WitType], result: WitType | None) -> str:
    """A component that calls a stub of that type with zeros."""
    writer = TypeWriter()
    types = [writer.reference(each) for each in params]
    returned = None if result is None else writer.reference(result)
    signature = " ".join(f'(param "p{number}" {each})' for number, each in enumerate(types))
    signature += "" if returned is None else f" (result {returned})"
    flat = [part for each in params for part in core_types(each)]
    flat = flat if len(flat) <= MAX_FLAT else ["i32"]
    results = [] if result is None else core_types(result)
    lifted = results if len(results) <= 1 else ["i32"]
    lowered, back = (flat, results) if len(results) <= 1 else ([*flat, "i32"], [])
    zeros = " ".join(f"({each}.const 0)" for each in lowered)
    definitions = "\n".join(writer.outside)
    return f"""(component
      (import "test:types/host" (instance $host (export "tell" (func (param "x" u32)))))
      (component $stub {definitions}
        (core module $m (memory (export "memory") 0) (func (export "f") {_core(flat, lifted)} unreachable)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
        (core instance $m (instantiate $m))
        (func (export "f") {signature} (canon lift (core func $m "f")
          (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))
      (instance $stub (instantiate $stub))
      {MEMORY}
      (core func $f (canon lower (func $stub "f") (memory $memory) (realloc $realloc)))
      (core func $tell (canon lower (func $host "tell")))
      (core module $main (import "" "f" (func $f {_core(lowered, back)})) (import "" "tell" (func $tell (param i32)))
        (func (export "run") (call $tell (i32.const 1)) (call $f {zeros}) {"(drop)" * len(back)}
          (call $tell (i32.const 2))))
      (core instance $main (instantiate $main
        (with "" (instance (export "f" (func $f)) (export "tell" (func $tell))))))
      (func $run (canon lift (core func $main "run")))
      (instance $guest (export "run" (func $run)))
      (export "{RUN[0]}" (instance $guest)))"""


def _core(params: list[str], results: list[str]) -> str:
    returned = f"(result {' '.join(results)})" if results else ""
    return f"(param {' '.join(params)}) {returned}"


@given(st.lists(TYPES, max_size=4), st.none() | TYPES)
def test_a_call_of_a_stub_traps_as_the_engine_has_it(params: list[WitType], result: WitType | None) -> None:
    content = bytes(wasmtime.wat2wasm(stub(params, result)))
    assert by_us(content) == by_the_engine(content) == ([1], True)


def test_types_of_all_sizes_are_among_them() -> None:
    cases: tuple[tuple[Sequence[WitType], WitType | None], ...] = (
        ([], None),
        ([Primitive("u64")] * 17, STRING),
        ([TupleOf((U8,) * 16)], F32),
        ([STRING], ResultOf(STRING, STRING)),
    )
    for params, result in cases:
        content = bytes(wasmtime.wat2wasm(stub(params, result)))
        assert by_us(content) == by_the_engine(content) == ([1], True)


def test_what_javascript_tools_make_by_default_is_refused_with_the_flag_that_helps() -> None:
    http = '(export "fields" (type (sub resource)))'
    text = process((), "", wasi=(Wasi("wasi:http/types@0.2.10", http, {}, ("fields",)),))
    (problem,) = compile_component(bytes(wasmtime.wat2wasm(text))).description.problems
    assert problem.startswith("imports wasi:http/types@0.2.10, which this host does not offer")
    assert "`jco componentize -d http -d fetch-event`" in problem
    asynchronous = "(component (core func (canon task.cancel)))"
    with pytest.raises(ValueError, match="`componentize-qjs --sync`"):
        compile_component(bytes(wasmtime.wat2wasm(asynchronous)))
