"""From WIT and a core module to a component."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from wasmtime.component import Component
from wasmtime.component._types import ComponentInstanceType

from guesthouse.package.build.componentize import make_component
from guesthouse.package.build.sdk_files import wit_folder
from guesthouse.package.errors import BuildError
from guesthouse.wasm.engine.engines import new_compiling_engine

GUEST_RUN = "guesthouse:process/guest@0.1.0#run"
MEMORY = '(memory (export "memory") 1) (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)'
RUN = f'(func (export "{GUEST_RUN}") (param i32 i32 i32 i32 i32 i32 i32 i32))'


def core(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {text})"))


def component_of(content: bytes, tmp_path: Path, where: str = "x") -> bytes:
    (tmp_path / "core.wasm").write_bytes(content)
    return make_component(tmp_path / "core.wasm", wit_folder(), "process", where)


def imports_of(component: bytes) -> dict[str, list[str]]:
    engine = new_compiling_engine()
    type_ = Component(engine, component).type
    found = {}
    for name, extern in type_.imports(engine).items():
        assert isinstance(extern.ty, ComponentInstanceType)
        found[name] = list(extern.ty.exports(engine))
    return found


def test_a_component_imports_the_functions_that_its_module_uses_and_no_others(tmp_path: Path) -> None:
    module = core(
        '(import "guesthouse:process/messaging@0.1.0" "has-blob" (func (result i32)))'
        '(import "guesthouse:process/http-server@0.1.0" "send-ws-text" (func (param i32 i32 i32 i32)))'
        f"{MEMORY} {RUN}"
    )
    imports = imports_of(component_of(module, tmp_path))
    functions = {
        name: [f for f in inner if f in ("has-blob", "send-ws-text")] for name, inner in imports.items()
    }
    assert functions == {
        "guesthouse:process/types@0.1.0": [],
        "guesthouse:process/messaging@0.1.0": ["has-blob"],
        "guesthouse:process/http-server@0.1.0": ["send-ws-text"],
    }
    assert "receive" not in imports["guesthouse:process/messaging@0.1.0"]


def test_a_module_without_imports_makes_a_component(tmp_path: Path) -> None:
    component = component_of(core(MEMORY + RUN), tmp_path)
    assert list(imports_of(component)) == ["guesthouse:process/types@0.1.0"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RUN, "does not export a memory"),
        ('(memory (export "memory") 1)' + RUN, "does not export a function named `cabi_realloc`"),
        (MEMORY, "failed to find export .* `run`"),
        (MEMORY + RUN + '(import "env" "malloc" (func))', "requires an import interface named `env`"),
        (MEMORY + RUN + '(import "guesthouse:process/system@0.1.0" "fly" (func))', "missing function `fly`"),
        (
            MEMORY + RUN + '(import "guesthouse:process/guest@0.1.0" "run" (func))',
            "an import interface .*guest@",
        ),
        (MEMORY + RUN + '(import "env" "g" (global i32))', "only allowed to import functions"),
        (
            MEMORY + RUN + '(import "guesthouse:process/messaging@0.1.0" "has-blob" (func (param i64)))',
            "type mismatch for function `has-blob`",
        ),
    ],
)
def test_a_module_that_does_not_fit_the_world_is_refused(text: str, says: str, tmp_path: Path) -> None:
    fields = text.split("(import")
    ordered = "".join(f"(import{field}" for field in fields[1:]) + fields[0]
    with pytest.raises(BuildError, match=says) as caught:
        component_of(core(ordered), tmp_path, "src/echo.c")
    assert str(caught.value).startswith("src/echo.c cannot be made a component: ")
    assert "\n" not in str(caught.value)


def test_a_component_is_the_same_each_time(tmp_path: Path) -> None:
    module = core(
        f'(import "guesthouse:process/messaging@0.1.0" "has-blob" (func (result i32))) {MEMORY} {RUN}'
    )
    assert component_of(module, tmp_path) == component_of(module, tmp_path)


def test_what_is_no_core_module_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0\x01\x05\0"):
        with pytest.raises(BuildError, match="cannot be made a component") as caught:
            component_of(content, tmp_path)
        assert "\n" not in str(caught.value)
