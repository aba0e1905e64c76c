"""What instances of modules take is known before there is any."""

from __future__ import annotations

from typing import Final

import pytest
from wasmtime import wat2wasm

from guesthouse.wasm.binary.core_module import read_module
from guesthouse.wasm.plan.weight import (
    MAX_BYTES,
    MAX_MICROSECONDS,
    MAX_TOTAL_MICROSECONDS,
    Weight,
    problem,
    weigh,
)

EMPTY: Final = Weight(1024, 10)


def weight(fields: str, *, small: bool = True) -> Weight:
    return weigh(read_module(bytes(wat2wasm(f"(module {fields})"))), small=small)


def data(size: int, at: str = "(i32.const 0)") -> str:
    return f'(data {at} "{"x" * size}")'


MEMORY: Final = "(memory 400)"
OTHER: Final = "(memory 1) (i32.const 0)"
FAR_IN_OTHER: Final = "(memory 1) (i32.const 20000000)"
IMPORTED_MEMORY: Final = '(import "h" "m" (memory 1))'
TABLE: Final = "(func $f) (table 1000 funcref)"
IMPORTED_TABLE: Final = '(import "h" "t" (table 1000 funcref)) (func $f)'
THOUSAND: Final = " $f" * 1000


def test_what_an_instance_takes_grows_with_what_is_in_it() -> None:
    assert weight("") == EMPTY
    assert weight("(global i64 (i64.const 1))" * 1000).bytes == 1024 + 16_000
    assert weight('(import "h" "f" (func))' * 1000) == Weight(1024 + 200_000, 1010)
    assert weight("".join(f'(func (export "{n}"))' for n in range(1000))).bytes == 1024 + 32_000
    assert weight("(table 1000 funcref) (table 500 5000 externref)").bytes == 1024 + 12_000
    assert weight(f"(func $f) (elem func{THOUSAND})").bytes == 1024 + 48_000


@pytest.mark.parametrize(
    ("fields", "microseconds"),
    [
        (f"{TABLE} (elem (i32.const 0) func{THOUSAND})", 11),
        (f"{IMPORTED_TABLE} (elem (i32.const 0) func{THOUSAND})", 442),
        (f"{TABLE} (elem (table 0) (i32.const 0) funcref {'(ref.func $f)' * 1000})", 441),
        (f"(func $f) (elem func{THOUSAND})", 441),
        (f"(func $f) (elem funcref {'(ref.func $f)' * 1000})", 441),
        (f"(func $f) (elem declare func{THOUSAND})", 11),
    ],
)
def test_elements_that_are_made_with_the_instance_take_time(fields: str, microseconds: int) -> None:
    assert weight(fields).microseconds == microseconds


@pytest.mark.parametrize(
    ("fields", "small", "microseconds"),
    [
        (f"{MEMORY} {data(1_000_000)}", True, 1010),
        (f"{MEMORY} {data(1_000_000)}", False, 10),
        (f"{MEMORY} {data(1)} {data(1, '(i32.const 20000000)')}", False, 10),
        (f"(memory 400) (global i32 (i32.const 0)) {data(1_000_000, '(global.get 0)')}", False, 1010),
        (f"{IMPORTED_MEMORY} {data(1_000_000)}", False, 1010),
        (f"{MEMORY} {MEMORY} {data(1_000_000)} {data(1_000_000, OTHER)}", False, 10),
        (
            f"{MEMORY} {MEMORY} {data(1)} {data(1, '(i32.const 20000000)')} {data(1_000_000, OTHER)}",
            False,
            1010,
        ),
        (f"{MEMORY} {MEMORY} {data(1)} {data(1, FAR_IN_OTHER)}", False, 10),
        (f"{MEMORY} {MEMORY} {data(1_000_000)} {data(1, OTHER)} {data(1, FAR_IN_OTHER)}", False, 1010),
        (f'(data "{"x" * 1_000_000}")', True, 10),
    ],
)
def test_data_that_is_copied_takes_time(fields: str, small: bool, microseconds: int) -> None:
    assert weight(fields, small=small).microseconds == pytest.approx(microseconds, abs=1)


def test_expressions_that_compute_take_time() -> None:
    long = "(i32.add (i32.const 0) " * 1000 + "(i32.const 0)" + ")" * 1000
    assert weight(f"(global i32 {long})").microseconds > 50
    assert weight(f"{IMPORTED_MEMORY} {data(1, long)}").microseconds > 50


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([], None),
        ([Weight(MAX_BYTES, MAX_MICROSECONDS)], None),
        ([Weight(MAX_BYTES, 0), EMPTY], f"over {MAX_BYTES}"),
        ([Weight(0, MAX_MICROSECONDS + 1)], "have less data"),
        ([Weight(0, MAX_TOTAL_MICROSECONDS // 100 + 1)] * 100, "have less data"),
    ],
)
def test_a_component_over_a_bound_is_refused_in_one_line(weights: list[Weight], words: str | None) -> None:
    said = problem(weights)
    assert (said is None) == (words is None)
    assert words is None or (words in (said or "") and "\n" not in (said or ""))
