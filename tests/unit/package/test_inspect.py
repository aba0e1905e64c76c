"""What a component needs, and whether this host has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from tests.tiers import thorough_after

from guesthouse.core.config import PackageLimits
from guesthouse.package.compile.description import MAX_IMPORTS, MAX_NAMES
from guesthouse.package.compile.inspect import Inspection, inspect_component
from guesthouse.package.errors import CompileError
from guesthouse.wasm.plan.planner import MAX_LIFTED

from .conftest import PROCESS, TYPES

pytestmark = pytest.mark.slow

LIMITS = PackageLimits()


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "compiled"


def write(guest: Path, text: str) -> None:
    guest.write_bytes(wasmtime.wat2wasm(text))


async def inspected(text: str, guest: Path, cache_dir: Path) -> Inspection:
    write(guest, text)
    return await inspect_component(guest, LIMITS, cache_dir)


def importing(imports: str) -> str:
    return PROCESS.replace("(component", f"(component {imports}", 1)


async def test_a_component_that_fits_is_runnable(guest: Path, cache_dir: Path) -> None:
    imports = importing(
        '(import "guesthouse:process/messaging@0.1.0" (instance (export "has-blob" (func (result bool)))))'
    )
    inspection = await inspected(imports, guest, cache_dir)
    assert inspection.runnable
    assert [(item.name, item.functions) for item in inspection.imports] == [
        ("guesthouse:process/messaging@0.1.0", ("has-blob",)),
        (TYPES, ()),
    ]
    assert [(item.name, item.functions) for item in inspection.exports] == [
        ("guesthouse:process/guest@0.1.0", ("run",))
    ]


@pytest.mark.parametrize(
    ("imports", "names"),
    [
        (
            '(import "evil:host/shell@1.0.0" (instance (export "exec" (func))))',
            ["exec", "evil:host/shell@1.0.0"],
        ),
        (
            '(import "guesthouse:process/messaging@0.1.0" (instance (export "fly" (func))))',
            ["fly", "messaging"],
        ),
    ],
)
async def test_an_unknown_import_is_named(
    imports: str, names: list[str], guest: Path, cache_dir: Path
) -> None:
    inspection = await inspected(importing(imports), guest, cache_dir)
    assert not inspection.runnable
    (problem,) = inspection.problems
    assert all(name in problem for name in names)


@pytest.mark.parametrize(
    ("imports", "names"),
    thorough_after(
        1,
        [
            ('(import "alone" (func))', "imports 'alone'"),
            ('(import "module" (core module))', "of the kind 3"),
        ],
        names=2,
    ),
)
async def test_an_import_that_is_no_interface_is_refused(
    imports: str, names: str, guest: Path, cache_dir: Path
) -> None:
    with pytest.raises(CompileError, match=f"cannot run here: it .*{names}"):
        await inspected(importing(imports), guest, cache_dir)


@pytest.mark.parametrize(
    "text",
    thorough_after(
        1,
        [
            "(component)",
            PROCESS.replace("guest@0.1.0", "guest@0.2.0"),
            PROCESS.replace('(export "run" (func $run))', '(export "ran" (func $run))'),
        ],
    ),
)
async def test_a_missing_export_is_named(text: str, guest: Path, cache_dir: Path) -> None:
    inspection = await inspected(text, guest, cache_dir)
    assert not inspection.runnable
    assert any("guesthouse:process/guest@0.1.0" in problem for problem in inspection.problems)


async def test_a_file_that_is_no_component_is_refused(guest: Path, cache_dir: Path) -> None:
    write(guest, "(module)")
    with pytest.raises(CompileError, match="is a core module"):
        await inspect_component(guest, LIMITS, cache_dir)


@pytest.mark.thorough
async def test_more_imports_than_a_process_needs_are_refused(guest: Path, cache_dir: Path) -> None:
    """One interface and its functions: a worker would look at each while no guest runs."""
    functions = [f'(export "f{number}" (func))' for number in range(MAX_IMPORTS - 1)]  # and those types
    with pytest.raises(CompileError, match=f"imports over {MAX_IMPORTS} names"):
        await inspected(importing(f'(import "a:b/c" (instance {"".join(functions)}))'), guest, cache_dir)
    inspection = await inspected(
        importing(f'(import "a:b/c" (instance {"".join(functions[1:])}))'), guest, cache_dir
    )
    assert not inspection.runnable


@pytest.mark.thorough
async def test_more_names_than_a_process_needs_are_refused(guest: Path, cache_dir: Path) -> None:
    names = "".join(f'(export "n{number}" (func $run))' for number in range(MAX_NAMES + 1))
    with pytest.raises(CompileError, match=f"over ({MAX_NAMES} names|{MAX_LIFTED} functions)"):
        await inspected(f"{PROCESS.rstrip()[:-1]} {names})", guest, cache_dir)


async def test_an_import_that_wasmtime_itself_refuses_is_named(guest: Path, cache_dir: Path) -> None:
    with pytest.raises(CompileError, match="component imports are not supported"):
        await inspected(importing('(import "inner" (component))'), guest, cache_dir)


async def test_a_run_function_that_would_not_be_started_is_said(guest: Path, cache_dir: Path) -> None:
    """`inspect` promises nothing that a worker refuses."""
    text = PROCESS.replace('(param "our" $address)', "").replace(
        " (param i32 i32 i32 i32 i32 i32 i32 i32)", ""
    )
    inspection = await inspected(text, guest, cache_dir)
    assert [problem.startswith("exports 'run' of") for problem in inspection.problems] == [True]
