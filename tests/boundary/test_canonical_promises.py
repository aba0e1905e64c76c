"""What `inspect` and `install` say of a component is what a worker does with it, for all kinds of shapes."""

from __future__ import annotations

from typing import Final

import pytest
from wasmtime import WasmtimeError, wat2wasm

from guesthouse.core.config import ProcessLimits
from guesthouse.core.errors import GuesthouseError
from guesthouse.package.compile.compile import compile_component
from guesthouse.package.compile.description import Description
from guesthouse.wasm.binary.byte_reader import UnsupportedComponent
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.wasm.engine.fiber import MAX_TABLES, StoreLimits
from guesthouse.wasm.plan.plan import MAX_MEMORIES, MAX_WITH_PAGES
from guesthouse.worker.calls import ENTRIES, HostCalls

from ..unit.worker.guests import Wasi, process
from ..unit.worker.wasi import POLL
from .harness import apart, fiber_of, finish_step

LIMITS: Final = ProcessLimits()
PAGES: Final = LIMITS.memory_bytes // WASM_PAGE
PROCESS: Final = process(("system.our",), "")
RECEIVER: Final = process(("messaging.receive", "messaging.get-blob"), "")
STUB: Final = """
  (component $stub (core module $s (memory (export "memory") 0) (func (export "f") unreachable))
    (core instance $s (instantiate $s)) (func (export "f") (canon lift (core func $s "f"))))
  (instance $stub (instantiate $stub)) (core func $stub (canon lower (func $stub "f")))
  (core module $calls (import "" "f" (func)))
  (core instance (instantiate $calls (with "" (instance (export "f" (func $stub))))))"""
OWN: Final = """
  (core module $d (func (export "d") (param i32))) (core instance $d (instantiate $d))
  (type $own (resource (rep i32) (dtor (core func $d "d"))))
  (core func $own-new (canon resource.new $own)) (core func $own-drop (canon resource.drop $own))
  (core module $makes (import "" "new" (func $new (param i32) (result i32))) (import "" "drop" (func $drop (param i32)))
    (func $f (call $drop (call $new (i32.const 1)))) (start $f))
  (core instance (instantiate $makes
    (with "" (instance (export "new" (func $own-new)) (export "drop" (func $own-drop))))))"""


def beside(text: str, of: str = PROCESS) -> str:
    """The process with this before its own module."""
    changed = of.replace("(core module $main", f"{text} (core module $main", 1)
    assert changed != of
    return changed


def module(fields: str, times: int = 1, of: str = PROCESS) -> str:
    return beside(f"(core module $more {fields})" + "(core instance (instantiate $more))" * times, of)


def with_pages(pages: int) -> str:
    changed = PROCESS.replace('(memory (export "memory") 4)', f'(memory (export "memory") {pages})')
    assert changed != PROCESS
    return changed


RUN: Final = {
    "a process": PROCESS,
    "one with all the memory it may have": with_pages(PAGES),
    "another memory without pages": module("(memory 0)"),
    "as many memories as there may be": module("(memory 0)", MAX_MEMORIES - 1),
    "as many with pages as there may be": module("(memory 1)", MAX_WITH_PAGES - 1),
    "as many tables as there may be": module("(table 1 funcref)", MAX_TABLES),
    "as many tables as there may be, of one that has batches": module(
        "(table 1 funcref)", MAX_TABLES, RECEIVER
    ),
    "a table as large as it may be": module(f"(table {LIMITS.table_elements} funcref)"),
    "globals beside its memory": module("(global i64 (i64.const 1))" * 20_000, 10),
    "a component within that traps": beside(STUB),
    "resources of its own": beside(OWN),
    "clocks": process((), "", wasi=(POLL,)),
}
REFUSED: Final = {
    "more memory than it may have": with_pages(PAGES + 1),
    "no room for its globals beside its memory": module("(global i64 (i64.const 1))" * 20_000, 10).replace(
        '(memory (export "memory") 4)', f'(memory (export "memory") {PAGES})'
    ),
    "more memories than there may be": module("(memory 0)", MAX_MEMORIES),
    "more memories with pages than there may be": module("(memory 1)", MAX_WITH_PAGES),
    "more memories in one module than there may be": module("(memory 1) (memory 2)"),
    "memories of more pages than others may have": module("(memory 300)"),
    "more tables than there may be": module("(table 1 funcref)", MAX_TABLES + 1),
    "a table that is larger than it may be": module(f"(table {LIMITS.table_elements + 1} funcref)"),
    "too many instances": module("", 513),
    "too many globals": module("(global i64 (i64.const 1))" * 90_000, 20),
    "a component within that does something": beside(STUB.replace("unreachable", "")),
    "WASI's HTTP": process(
        (),
        "",
        wasi=(Wasi("wasi:http/types@0.2.0", '(export "fields" (type (sub resource)))', {}, ("fields",)),),
    ),
    "no run function": PROCESS.replace(
        '"guesthouse:process/guest@0.1.0"', '"guesthouse:process/ghost@0.1.0"'
    ),
}


def described(content: bytes) -> Description | None:
    """What is said of a component; None if that is that it cannot be compiled."""
    try:
        return compile_component(content).description
    except (ValueError, WasmtimeError):
        return None


def starts(content: bytes) -> bool:
    """Whether a worker starts it."""
    try:
        component = apart(content, HostCalls(), *ENTRIES)
        with fiber_of(component, limits=StoreLimits(LIMITS.memory_bytes, LIMITS.table_elements)) as fiber:
            finish_step(fiber)
    except (UnsupportedComponent, GuesthouseError):
        return False
    return True


@pytest.mark.parametrize("name", RUN)
def test_what_is_said_to_run_is_started(name: str) -> None:
    content = bytes(wat2wasm(RUN[name]))
    description = described(content)
    assert description is not None
    assert description.all_problems(LIMITS) == ()
    assert starts(content)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_started_was_said_not_to_run(name: str) -> None:
    content = bytes(wat2wasm(REFUSED[name]))
    description = described(content)
    assert description is None or description.all_problems(LIMITS)
    assert not starts(content)


def test_what_a_process_may_have_is_what_the_settings_say() -> None:
    description = described(bytes(wat2wasm(with_pages(PAGES + 1))))
    assert description is not None
    (problem,) = description.all_problems(LIMITS)
    assert problem == (
        f"has {LIMITS.memory_bytes + WASM_PAGE} bytes of memory from the start, where a process may have "
        f"{LIMITS.memory_bytes} in all: take less, or raise process.memory_bytes"
    )
    assert not description.all_problems(ProcessLimits(memory_bytes=LIMITS.memory_bytes + WASM_PAGE))
    assert Description.from_json(description.to_json()) == description
