"""Components with a core module that takes long to compile, which some of them have in common."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import wasmtime

from guesthouse.package.compile.job import Task
from guesthouse.wasm.binary.byte_reader import MODULE as PREAMBLE
from guesthouse.wasm.binary.byte_reader import sections
from guesthouse.wasm.binary.core_module import CODE
from guesthouse.wasm.engine.engines import SMALL_COMPONENT, new_compiling_engine
from guesthouse.wasm.plan.evaluator import evaluate

Runs = list[tuple[Task, bytes]]
"""What compiler subprocesses did, and what they got."""

_STEP: Final = "(local.set 0 (i32.mul (local.get 0) (i32.add (local.get 0) (i32.const 3))))"
_FUNCTION: Final = f"(func (param i32) {_STEP * 50})"
"""Of 500 bytes."""


def library(result: int, *, body: str = "", functions: int = 280) -> str:
    """A module with much code, whose exported function gives that number."""
    return f'(core module (func (export "number") (result i32) {body} i32.const {result}) {_FUNCTION * functions})'


def component(own: str, *libraries: str, padding: int = SMALL_COMPONENT) -> bytes:
    """A component of these libraries and a module of its own, in which there is that text."""
    data = own + "." * padding
    numbers = range(len(libraries))
    imports = "".join(f'(import "{n}" "number" (func (result i32)))' for n in numbers)
    text = "\n".join(
        (
            "(component",
            *libraries,
            f'(core module {imports} (memory 5) (data (i32.const 0) "{data}") (func (export "run")))',
            *(f"(core instance $i{n} (instantiate {n}))" for n in numbers),
            f"(core instance $own (instantiate {len(libraries)}",
            *(f'(with "{n}" (instance $i{n}))' for n in numbers),
            "))",
            '(func $run (canon lift (core func $own "run")))',
            '(instance $guest (export "run" (func $run)))',
            '(export "guesthouse:process/guest@0.1.0" (instance $guest)))',
        )
    )
    return bytes(wasmtime.wat2wasm(text))


def modules_of(content: bytes) -> list[bytes]:
    """The core modules of a component. Without an engine, as this is asked when tests are collected: pytest sets up its
    handler of faults after that, and wasmtime's has to come later still.
    """
    return [module.content for module in evaluate(content).linking.modules]


def code_bytes(module: bytes) -> int:
    """How much code a module has."""
    return sum(
        each.end - each.body for each in sections(module, 0, len(module), PREAMBLE) if each.kind == CODE
    )


def digest(content: bytes) -> str:
    """What a file is called that stands for that."""
    return hashlib.sha256(content).hexdigest()


def written(folder: Path, name: str, content: bytes) -> Path:
    """A component in a file."""
    path = folder / f"{name}.wasm"
    path.write_bytes(content)
    return path


def tasks(runs: Runs) -> list[Task]:
    """What subprocesses did."""
    return [task for task, _ in runs]


def shared(cache_dir: Path, module: bytes) -> Path:
    """The file of a module that is shared."""
    (path,) = cache_dir.glob(f"{digest(module)}-*.module")
    return path


def code(module: bytes) -> bytes:
    """What a module is compiled to."""
    return bytes(wasmtime.Module(new_compiling_engine(), module).serialize())


ONE, TWO = library(1), library(2)
A, B, BOTH = component("a", ONE), component("b", ONE), component("both", ONE, TWO)
MODULE: Final = modules_of(A)[0]
"""What A, B and BOTH have in common."""
OTHER: Final = modules_of(BOTH)[1]
