from __future__ import annotations

import string
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import Module, WasmtimeError, wat2wasm

from guesthouse.package.compile.compile import compile_component, compile_module
from guesthouse.package.compile.strip_names import MAX_MANGLED, MAX_NAME, without_harmful_names
from guesthouse.wasm.artifact_files import PLAN_SUFFIX, core_path
from guesthouse.wasm.binary.byte_reader import COMPONENT, MODULE, UnsupportedComponent, encoded_section
from guesthouse.wasm.engine.engines import new_engine
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.loader import Engines

from ...boundary.components import RUN
from ...boundary.harness import ENGINE, Calls, death_of, guest

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _base36(number: int) -> str:
    return _DIGITS[number] if number < 36 else _base36(number // 36) + _DIGITS[number % 36]


def growing(steps: int) -> str:
    """A mangled C++ name in which each part stands for the one before it, twice."""
    parts = "".join(f"S_IS{_base36(step + 1)}_S{_base36(step + 1)}_E" for step in range(steps))
    return f"_Z1f1pI1a1aE{parts}"


def rust(*types: str) -> str:
    """A mangled Rust name (v0) with these types."""
    return f"_RIC1a{''.join(types)}E"


def rust_growing(steps: int) -> str:
    """A mangled Rust name in which each tuple stands for the one before it, twice."""
    digits = string.digits + string.ascii_letters
    tuples, place = "TuuuuE", 4
    for _ in range(steps):
        number = place - 1
        back = f"B{digits[number // 62 - 1] if number > 61 else ''}{digits[number % 62]}_"
        place = len("IC1a") + len(tuples)
        tuples += f"T{back}{back}E"
    return rust(tuples)


def dying_in(name: str) -> str:
    """A component that traps in a function of that name."""
    return guest(f'(call $"{name}")', more=f'(func $"{name}" unreachable)')


def module_of(name: str) -> bytes:
    """A core module with a function of that name."""
    return bytes(wat2wasm(f'(module (func $"{name}" unreachable))'))


def trap_of(component: bytes, folder: Path) -> GuestTrap:
    """What a component dies of that was compiled, stored and loaded as in a node."""
    made = compile_component(component)
    plan = folder / f"component{PLAN_SUFFIX}"
    plan.write_bytes(made.parts[0])
    for number, module in enumerate(made.parts[1:]):
        core_path(plan, number).write_bytes(module)
    engine = new_engine(small=True)
    return death_of(Engines(engine, engine).load(plan, Calls({}), RUN))


def encoded_component(within: bytes) -> bytes:
    return encoded_section(4, COMPONENT + within)


@pytest.mark.parametrize(
    "name",
    [
        "main",
        "n" * MAX_NAME,
        "_ZN4core3ptr13drop_in_place17h0123456789abcdefE",
        "_ZN" + "5alloc" * 40 + "17h0123456789abcdefE",
        growing(12),
        "Z" * 150,
        rust("u" * 100),
        "RunB_" + "n" * 200,
    ],
    ids=lambda name: name[:20],
)
def test_a_module_with_harmless_names_is_left_as_it_is(name: str) -> None:
    module = module_of(name)
    assert without_harmful_names(module) == module


@pytest.mark.parametrize(
    "name",
    [
        "n" * (MAX_NAME + 1),
        growing(MAX_MANGLED // 10 + 5),
        "_Z1" + "a" * MAX_MANGLED,
        "_ZN9" + "a" * MAX_MANGLED + "E",
        "F" + growing(MAX_MANGLED // 10 + 5)[4:] + "E",
        "_GLOBAL__I_" + growing(MAX_MANGLED // 10 + 5),
        "___Z" + growing(MAX_MANGLED // 10 + 5)[2:] + "_block_invoke",
        rust_growing(1),
        rust_growing(60),
        rust_growing(60)[1:],
        rust("FGzzz_Eu"),
        rust("u" * MAX_MANGLED),
    ],
    ids=lambda name: name[:20],
)
def test_a_module_with_a_harmful_name_loses_its_names_and_nothing_else(name: str, tmp_path: Path) -> None:
    module = module_of(name)
    tamed = without_harmful_names(module)
    assert len(tamed) == len(module)
    assert tamed.replace(b"\x04hide", b"\x04name") == module
    assert tamed.count(b"\x04hide") == 1
    assert without_harmful_names(tamed) == tamed
    trap = trap_of(bytes(wat2wasm(dying_in(name))), tmp_path)
    assert trap.detail == "wasm `unreachable` instruction executed"
    assert name[:100] not in trap.trace
    assert "wasm function" in trap.trace
    assert len(trap.trace) < 500


def test_harmless_names_are_told(tmp_path: Path) -> None:
    assert "main!victim" in trap_of(bytes(wat2wasm(dying_in("victim"))), tmp_path).trace


def test_a_name_that_stands_for_megabytes_is_never_spelled_out(tmp_path: Path) -> None:
    name = growing(36)
    chain = [f"{name[:2]}1{letter}{name[4:]}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    calls = "".join(f"(func ${caller} (call ${called}))" for called, caller in pairwise(chain))
    text = guest(f"(call ${chain[-1]})", more=f"(func ${chain[0]} unreachable) {calls}")
    assert len(trap_of(bytes(wat2wasm(text)), tmp_path).trace) < 2000


@pytest.mark.parametrize("depth", [1, 99, 100, 101, 500])
def test_a_harmful_name_is_found_beside_components_within_components(depth: int, tmp_path: Path) -> None:
    """Whatever else is in the component: the names are taken out of what is compiled."""
    within = b""
    for _ in range(depth):
        within = encoded_component(within)
    content = bytes(wat2wasm(dying_in(growing(MAX_MANGLED // 10 + 5)))) + within
    try:
        trace = trap_of(content, tmp_path).trace
    except (ValueError, WasmtimeError):
        return  # nested too deep for this host: it is not run
    assert "wasm function" in trace
    assert "p<" not in trace


def test_a_harmful_name_in_a_nested_component_is_not_told(tmp_path: Path) -> None:
    name = growing(MAX_MANGLED // 10 + 5)
    nested = f"""(component
      (component $c
        (core module $main (func ${name} unreachable) (func (export "run") (call ${name})))
        (core instance $m (instantiate $main))
        (func (export "run") (canon lift (core func $m "run"))))
      (instance $c (instantiate $c))
      (instance $guest (export "run" (func $c "run")))
      (export "test:types/guest" (instance $guest)))"""
    trace = trap_of(bytes(wat2wasm(nested)), tmp_path).trace
    assert "wasm function" in trace
    assert "p<" not in trace


def test_a_module_that_components_share_has_no_harmful_names() -> None:
    assert b"_ZN9aaa" not in compile_module(module_of("_ZN9" + "a" * MAX_MANGLED + "E")).parts[0]
    assert b"victim" in compile_module(module_of("victim")).parts[0]


def test_a_name_section_that_breaks_off_is_disabled() -> None:
    module = bytearray(module_of("victim"))
    at = module.index(b"\x04name") + 5
    module[at : at + 2] = b"\x01\x7f"
    assert b"\x04hide" in without_harmful_names(bytes(module))


@given(st.binary(max_size=80), st.sampled_from([b"", MODULE, COMPONENT, MODULE + b"\0"]))
def test_a_module_whose_names_cannot_be_read_is_refused(data: bytes, start: bytes) -> None:
    try:
        assert len(without_harmful_names(start + data)) == len(start + data)
    except UnsupportedComponent:
        pass
    else:
        assert (start + data).startswith(MODULE)


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_module_is_refused_or_runs_as_before(position: int, value: int) -> None:
    module = bytearray(_SMALL)
    module[position % len(module)] = value
    try:
        Module(ENGINE, bytes(module))
    except WasmtimeError:
        return
    Module(ENGINE, without_harmful_names(bytes(module)))


_SMALL = module_of("n" * (MAX_NAME + 1))
