from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import WasmtimeError, wat2wasm
from wasmtime.component import Component

from guesthouse.package.compile.strip_names import MAX_MANGLED, MAX_NAME, without_harmful_names
from guesthouse.wasm.errors import GuestTrap

from ...boundary.harness import ENGINE, Calls, death_of, guest, load

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _base36(number: int) -> str:
    return _DIGITS[number] if number < 36 else _base36(number // 36) + _DIGITS[number % 36]


def growing(steps: int) -> str:
    """A mangled C++ name in which each part stands for the one before it, twice."""
    parts = "".join(f"S_IS{_base36(step + 1)}_S{_base36(step + 1)}_E" for step in range(steps))
    return f"_Z1f1pI1a1aE{parts}"


def dying_in(name: str) -> str:
    """A component that traps in a function of that name."""
    return guest(f"(call ${name})", more=f"(func ${name} unreachable)")


def trap_of(component: bytes) -> GuestTrap:
    return death_of(load(component, Calls({})))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "main",
        "n" * MAX_NAME,
        "_ZN4core3ptr13drop_in_place17h0123456789abcdefE",
        "_ZN" + "5alloc" * 40 + "17h0123456789abcdefE",
        growing(12),
        "Z" * 150,
    ],
    ids=lambda name: name[:20],
)
def test_a_component_with_harmless_names_is_left_as_it_is(name: str) -> None:
    component = bytes(wat2wasm(dying_in(name)))
    assert without_harmful_names(component) == component


@pytest.mark.parametrize(
    "name",
    [
        "n" * (MAX_NAME + 1),
        growing(MAX_MANGLED // 10 + 5),
        "_Z1" + "a" * MAX_MANGLED,
        "_ZN9" + "a" * MAX_MANGLED + "E",
    ],
    ids=lambda name: name[:20],
)
def test_a_module_with_a_harmful_name_loses_its_names_and_nothing_else(name: str) -> None:
    component = bytes(wat2wasm(dying_in(name)))
    tamed = without_harmful_names(component)
    assert len(tamed) == len(component)
    assert tamed.replace(b"\x04hide", b"\x04name") == component
    assert tamed.count(b"\x04hide") == 1
    trap = trap_of(tamed)
    assert trap.detail == "wasm `unreachable` instruction executed"
    assert name[:100] not in trap.trace
    assert "wasm function" in trap.trace
    assert without_harmful_names(tamed) == tamed


def test_a_name_that_stands_for_megabytes_is_never_spelled_out() -> None:
    name = growing(36)
    chain = [f"{name[:2]}1{letter}{name[4:]}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    calls = "".join(f"(func ${caller} (call ${called}))" for called, caller in pairwise(chain))
    text = guest(f"(call ${chain[-1]})", more=f"(func ${chain[0]} unreachable) {calls}")
    trap = trap_of(without_harmful_names(bytes(wat2wasm(text))))
    assert len(trap.trace) < 2000


def test_a_harmful_name_in_a_nested_component_is_found() -> None:
    inner = dying_in("n" * 5000)
    component = bytes(wat2wasm(f"(component {inner.replace('(component', '(component $inner', 1)})"))
    assert b"\x04hide" in without_harmful_names(component)


def test_a_name_section_that_breaks_off_is_disabled() -> None:
    component = bytearray(wat2wasm(dying_in("victim")))
    at = component.index(b"\x04name") + 5
    component[at : at + 2] = b"\x01\x7f"
    assert b"\x04hide" in without_harmful_names(bytes(component))


@given(
    st.binary(max_size=80),
    st.sampled_from([b"", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0", b"\0asm\x0d\0\x01\0\x01"]),
)
def test_bytes_that_are_no_component_stay_what_they_are_in_length(data: bytes, start: bytes) -> None:
    assert len(without_harmful_names(start + data)) == len(start + data)


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_component_is_refused_or_runs_as_before(position: int, value: int) -> None:
    component = bytearray(_SMALL)
    component[position % len(component)] = value
    try:
        Component(ENGINE, bytes(component))
    except WasmtimeError:
        return
    Component(ENGINE, without_harmful_names(bytes(component)))


_SMALL = bytes(wat2wasm(dying_in("n" * (MAX_NAME + 1))))
