"""Components with a function of their own as entry: made, inspected."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

from guesthouse.core.config import PackageLimits
from guesthouse.package.build.componentize import make_component
from guesthouse.package.compile.inspect import inspect_component
from guesthouse.package.errors import BuildError

LIMITS = PackageLimits()
WIT = """
package kinode:process@1.0.0;
interface standard {
  print-to-terminal: func(verbosity: u8, message: string);
}
world process {
  import standard;
  import wasi:random/random@0.2.0-rc-2023-11-10;
  export init: func(our: string);
}
"""
RANDOM = """
package wasi:random@0.2.0-rc-2023-11-10;
interface random { get-random-u64: func() -> u64; }
"""
CORE = """(module
  (import "kinode:process/standard@1.0.0" "print-to-terminal" (func $print (param i32 i32 i32)))
  (import "wasi:random/random@0.2.0-rc-2023-11-10" "get-random-u64" (func $random (result i64)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "init") (param i32 i32) (drop (call $random))
    (call $print (i32.const 0) (local.get 0) (local.get 1))))"""


@pytest.fixture
def wit(tmp_path: Path) -> Path:
    folder = tmp_path / "wit"
    (folder / "deps/random").mkdir(parents=True)
    (folder / "standard.wit").write_text(WIT)
    (folder / "deps/random/random.wit").write_text(RANDOM)
    return folder


def component_of(text: str, wit: Path) -> bytes:
    core = wit.with_name("core.wasm")
    core.write_bytes(wasmtime.wat2wasm(text))
    return make_component(core, wit, "process", "app.c")


@pytest.mark.slow
async def test_a_component_that_exports_init_is_runnable(wit: Path, tmp_path: Path) -> None:
    component = tmp_path / "app.wasm"
    component.write_bytes(component_of(CORE, wit))
    inspection = await inspect_component(component, LIMITS, tmp_path / "compiled")
    assert inspection.problems == ()
    assert [(item.name, item.kind) for item in inspection.exports] == [("init", "function")]


def test_a_module_without_the_function_that_its_world_exports_is_refused(wit: Path) -> None:
    with pytest.raises(BuildError, match="failed to find export of function `init`"):
        component_of(CORE.replace('"init"', '"begin"'), wit)


@pytest.mark.slow
async def test_what_is_not_offered_to_kinode_guests_is_said(wit: Path, tmp_path: Path) -> None:
    for imports, problem in (
        (
            '(import "kinode:process/standard@1.0.0" (instance (export "get-block" (func))))',
            "imports get-block of",
        ),
        (
            '(import "kinode:process/standard@0.4.0" (instance (export "receive" (func))))',
            "imports receive of",
        ),
    ):
        component = tmp_path / "app.wasm"
        exported = """(core module $m (memory (export "memory") 1) (func (export "init") (param i32 i32))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
          (core instance $m (instantiate $m)) (alias core export $m "memory" (core memory $memory))
          (alias core export $m "realloc" (core func $realloc))"""
        lifted = """(func $init (param "our" string)
            (canon lift (core func $m "init") (memory $memory) (realloc $realloc)))
          (export "init" (func $init))"""
        component.write_bytes(wasmtime.wat2wasm(f"(component {imports} {exported} {lifted})"))
        inspection = await inspect_component(component, LIMITS, tmp_path / "compiled")
        assert [problem in text for text in inspection.problems] == [True]
