from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest
import wasmtime._ffi as ffi
from tests.boundary.whole import capi as component_capi
from tests.boundary.whole.component import Component
from tests.tiers import thorough_after
from wasmtime import Config, Engine
from wasmtime.component import Component as WasmComponent

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm import self_check
from guesthouse.wasm.abi import lift, lower_scalars
from guesthouse.wasm.core import core_capi, yielding
from guesthouse.wasm.engine import capi
from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.engine.imports import MAX_IMPORTED_FUNCTIONS
from guesthouse.wasm.errors import BoundaryError, GuestTrap, LinkFailure, UnsupportedType
from guesthouse.wasm.layout_check import check_layout
from guesthouse.wasm.types import MAX_COMPONENT_NODES, MAX_TYPE_NODES, NAMES_IN_NODE

from .components import MEMORY, RUN
from .harness import ENGINE, Calls, death_of, load, run

GUEST = f"""(core module $m (func (export "run"))) (core instance $m (instantiate $m))
  (func $run (canon lift (core func $m "run"))) (instance $g (export "run" (func $run)))
  (export "{RUN[0]}" (instance $g))"""


def anything() -> Calls:
    return Calls(
        {f"f{number}": lambda owner, *arguments: None for number in range(MAX_IMPORTED_FUNCTIONS + 1)}
    )


def importing(what: str) -> str:
    return f"(component {what} {GUEST})"


def of_host(exports: str) -> str:
    return importing(f'(import "test:types/host" (instance {exports}))')


def graph(depth: int) -> str:
    """A type of 2**(depth + 1) - 1 nodes that takes `depth` definitions."""
    types = ["(type $t0 (tuple u8 u8))"]
    types += [f"(type $t{level} (tuple $t{level - 1} $t{level - 1}))" for level in range(1, depth)]
    return "".join(types)


def functions(count: int, parameters: str = "") -> str:
    return "".join(f'(export "f{number}" (func {parameters}))' for number in range(count))


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 300
    return text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (importing('(import "f0" (func))'), "imports 'f0'"),
        (importing('(import "x" (type (sub resource)))'), "imports 'x'"),
        (importing('(import "x" (core module))'), "imports 'x'"),
        (of_host('(export "other" (func))'), "imports 'other' of test:types/host"),
        (of_host('(export "r" (type (sub resource)))'), "imports the resource 'r' of test:types/host"),
        (of_host('(export "i" (instance (export "f0" (func))))'), "imports 'i' of test:types/host"),
        (of_host('(export "m" (core module))'), "imports 'm' of test:types/host"),
        ("(component)", f"exports no {RUN[0]}"),
        (f'(component (instance $g) (export "{RUN[0]}" (instance $g)))', RUN[0]),
        (
            f'(component (instance $i) (instance $g (export "run" (instance $i))) '
            f'(export "{RUN[0]}" (instance $g)))',
            RUN[0],
        ),
        (GUEST.join(("(component ", ")")).replace("(instance $g))", "(func $run))"), f"exports no {RUN[0]}"),
    ],
)
def test_a_component_that_does_not_fit_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(LinkFailure) as error:
        load(text, anything())
    assert message in one_line(error)


def run_of(parameters: str, core: str, result: str = "") -> str:
    return f"""(component {MEMORY}
  (core module $m (func (export "run") {core})) (core instance $m (instantiate $m))
  (func $run {parameters} {result} (canon lift (core func $m "run") (memory $memory) (realloc $realloc)))
  (instance $g (export "run" (func $run))) (export "{RUN[0]}" (instance $g)))"""


@pytest.mark.parametrize(
    ("parameters", "core"),
    [
        ("", ""),
        ('(param "our" u32)', "(param i32)"),
        ('(param "our" (tuple u8 u8))', "(param i32 i32)"),
        ('(param "our" (list string))', "(param i32 i32)"),
        ('(param "our" string) (param "more" string)', "(param i32 i32 i32 i32)"),
    ],
)
def test_a_run_function_with_other_parameters_is_not_started(parameters: str, core: str) -> None:
    trap = death_of(load(run_of(parameters, core), anything()), "our")
    assert trap.cause == ExitCause.NOT_STARTED
    assert "its run function is not that of the world `process`" in trap.detail


def test_a_run_function_that_takes_a_resource_is_not_started() -> None:
    text = f"""(component (type $r' (resource (rep i32)))
  (core module $m (func (export "run") (param i32))) (core instance $m (instantiate $m))
  (func $run (param "our" (own $r')) (canon lift (core func $m "run")))
  (component $c (import "r" (type $r (sub resource)))
    (import "run" (func $f (param "our" (own $r))))
    (export $r2 "r" (type $r))
    (export "run" (func $f) (func (param "our" (own $r2)))))
  (instance $g (instantiate $c (with "r" (type $r')) (with "run" (func $run))))
  (export "{RUN[0]}" (instance $g)))"""
    with pytest.raises((LinkFailure, GuestTrap)) as refused:
        run(load(text, anything()), {"node": "n"})
    assert getattr(refused.value, "cause", ExitCause.NOT_STARTED) == ExitCause.NOT_STARTED


def test_a_run_function_with_a_result_is_refused() -> None:
    with pytest.raises(LinkFailure, match="with a result"):
        load(
            run_of('(param "our" u32)', "(param i32) (result i32) (i32.const 1)", "(result u32)"), anything()
        )


def test_the_types_of_a_function_may_have_so_many_nodes_and_no_more() -> None:
    fits = 11
    assert 2 ** (fits + 1) - 1 <= MAX_TYPE_NODES < 2 ** (fits + 2) - 1
    run(load(of_host(graph(fits) + functions(1, f'(param "x" $t{fits - 1})')), anything()))
    for over in (fits + 1, fits + 3):
        with pytest.raises(UnsupportedType) as error:
            load(of_host(graph(over) + functions(1, f'(param "x" $t{over - 1})')), anything())
        assert f"over {MAX_TYPE_NODES}" in one_line(error)


def test_the_types_of_all_functions_together_may_have_so_many_nodes_and_no_more() -> None:
    each = 2**8 - 1
    parameter = '(param "x" $t6)'
    fits = MAX_COMPONENT_NODES // each
    run(load(of_host(graph(7) + functions(fits, parameter)), anything()))
    with pytest.raises(UnsupportedType) as error:
        load(of_host(graph(7) + functions(fits + 1, parameter)), anything())
    assert f"over {MAX_COMPONENT_NODES}" in one_line(error)


@pytest.mark.parametrize("what", thorough_after(1, ["enum", "variant"]))
def test_a_type_of_many_names_counts_as_many_nodes_wherever_it_is(what: str) -> None:
    names = [f'"c{number}"' for number in range(NAMES_IN_NODE * 100)]
    cases = " ".join(names if what == "enum" else [f"(case {name})" for name in names])
    for uses, fits in ((40, True), (41, False)):
        text = f"""(type $many' ({what} {cases})) (export "many" (type $many (eq $many')))
            (type $t' (tuple {"$many " * uses})) (export "t" (type $t (eq $t')))"""
        component = of_host(text + functions(1, '(param "x" $t)'))
        if fits:
            run(load(component, anything()))
        else:
            with pytest.raises(UnsupportedType, match=f"over {MAX_TYPE_NODES}"):
                load(component, anything())


def test_a_type_that_unfolds_without_end_is_refused() -> None:
    with pytest.raises(BoundaryError) as error:
        load(of_host(graph(64) + functions(1, '(param "x" $t63)')), anything())
    one_line(error)


def test_so_many_functions_may_be_imported_and_no_more() -> None:
    run(load(of_host(functions(MAX_IMPORTED_FUNCTIONS)), anything()))
    with pytest.raises(LinkFailure) as error:
        load(of_host(functions(MAX_IMPORTED_FUNCTIONS + 1)), anything())
    assert f"over {MAX_IMPORTED_FUNCTIONS}" in one_line(error)


def test_functions_of_many_interfaces_count_together() -> None:
    half = functions(MAX_IMPORTED_FUNCTIONS // 2)
    interfaces = "".join(f'(import "test:types/h{number}" (instance {half}))' for number in range(3))
    with pytest.raises(LinkFailure, match="over"):
        load(importing(interfaces), anything())


@pytest.mark.parametrize("type_", ["(stream u8)", "(future u8)", "(map u8 u8)", "(list u8 4)"])
def test_types_that_no_converter_exists_for_are_refused(type_: str) -> None:
    with pytest.raises(BoundaryError) as error:
        load(of_host(f'(type $x {type_}) (export "f0" (func (param "x" $x)))'), anything())
    one_line(error)


@pytest.mark.parametrize(
    "source", [b"", b"hello", b"\0asm\1\0\0\0", b"\0asm\x0d\0\1\0", b"\0asm\x0d\0\1\0\xff\xff"]
)
def test_bytes_that_are_not_a_component_for_processes_are_refused(source: bytes) -> None:
    with pytest.raises(BoundaryError) as error:
        Component(ENGINE, source, anything(), RUN)
    one_line(error)


def test_a_serialized_component_runs(tmp_path: Path) -> None:
    file = tmp_path / "guest.cwasm"
    file.write_bytes(WasmComponent(ENGINE, importing("")).serialize())
    run(Component(ENGINE, file, anything(), RUN))


def _with_other_settings() -> Engine:
    config = Config()
    config.epoch_interruption = False
    return Engine(config)


@pytest.mark.parametrize(
    "content",
    [
        lambda: b"",
        lambda: b"not serialized",
        lambda: b"\0asm\x0d\0\1\0",
        lambda: WasmComponent(ENGINE, importing("")).serialize()[:300],
        lambda: WasmComponent(ENGINE, importing("")).serialize()[:-1000],
        lambda: WasmComponent(_with_other_settings(), importing("")).serialize(),
    ],
    ids=["empty", "text", "not compiled", "header alone", "truncated", "other engine"],
)
def test_a_file_that_this_engine_did_not_compile_is_refused(content: Any, tmp_path: Path) -> None:
    file = tmp_path / "guest.cwasm"
    file.write_bytes(content())
    with pytest.raises(BoundaryError, match="cannot be loaded") as error:
        Component(ENGINE, file, anything(), RUN)
    one_line(error)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BoundaryError, match="cannot be loaded"):
        Component(ENGINE, tmp_path / "none.cwasm", anything(), RUN)


def test_one_component_runs_many_times() -> None:
    loaded = load(importing(""), anything())
    for _ in range(100):
        run(loaded)


# The canary


def test_the_canary_lives_in_the_library_that_was_checked() -> None:
    self_check.check(new_compiling_engine(), new_compiling_engine(small=True))


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (core_capi, "EXTERN_SIZE", 40),
        (core_capi, "EXTERN_OF", 16),
        (core_capi, "INSTANCE_SIZE", 24),
        (core_capi, "RAW_SIZE", 8),
        (core_capi, "TAGGED_OF", 16),
        (core_capi, "KINDS", {"i32": 1}),
        (core_capi, "FUNCTION", 1),
        (core_capi, "MEMORY", 2),
        (yielding, "YIELD", 0),
        (yielding, "CONTINUE", 1),
    ],
)
def test_the_compiler_finds_a_layout_that_is_not_the_packages(
    module: Any, name: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_layout()
    monkeypatch.setattr(module, name, value)
    with pytest.raises(BoundaryError) as error:
        check_layout()
    one_line(error)


def test_the_canary_finds_a_python_that_keeps_bytes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capi, "BYTES_OFFSET", 24)
    with pytest.raises(BoundaryError, match="keeps the content of bytes elsewhere"):
        self_check.check(ENGINE, ENGINE)


def test_the_canary_finds_a_version_that_was_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "INSTALLED", "51.0.0")
    with pytest.raises(BoundaryError, match=r"51\.0\.0 was never checked.*install wasmtime=="):
        self_check.check(ENGINE, ENGINE)


def test_the_canary_finds_a_value_that_comes_back_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lift._CODES, "f64", "f")
    with pytest.raises(BoundaryError, match="came back changed"):
        self_check.check(ENGINE, ENGINE)


def test_the_canary_finds_a_value_that_does_not_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lower_scalars.CODES, "u64", "q")
    with pytest.raises(BoundaryError, match="did not come through") as error:
        self_check.check(ENGINE, ENGINE)
    one_line(error)


def test_the_structs_that_are_written_by_hand_are_as_long_as_believed() -> None:
    assert ctypes.sizeof(ffi.wasmtime_component_val_t) == component_capi.VAL_SIZE
    assert ctypes.sizeof(ffi.wasmtime_component_valrecord_entry_t) == component_capi.FIELD_SIZE
    assert ctypes.sizeof(ffi.wasm_name_t) == component_capi.NAME_SIZE
    kinds = {name: value for name, value in vars(component_capi).items() if name.startswith("KIND_")}
    assert len(kinds) == 22
    for name, value in kinds.items():
        assert getattr(ffi, f"WASMTIME_COMPONENT_{name.removeprefix('KIND_')}").value == value, name
