"""The fake's bindings, the SDK and the contract are one: what componentize-py makes of `wit/` decides."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import guesthouse_sdk
import pytest
from guesthouse_sdk import _native
from guesthouse_sdk.build import WORLD, wit_directory

NATIVE = Path(_native.__file__).parent
MODULES = ("types", "messaging", "http_server", "system", "capabilities", "spawning", "tracing")
EXTRA = {"Err"}
"""Of componentize-py's own types, not the contract's."""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bindings")
    componentize_py = Path(sys.executable).with_name("componentize-py")
    argv: list[str | Path] = [componentize_py, "-q", "-d", wit_directory(), "-w", WORLD, "bindings", folder]
    subprocess.run(argv, check=True)
    return folder / "wit_world" / "imports"


def classes(path: Path) -> dict[str, list[str]]:
    """Each class with the names of its fields or cases, in order."""
    found: dict[str, list[str]] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name not in EXTRA:
            found[node.name] = [ast.unparse(line).split(":")[0] for line in node.body if is_field(line)]
    return found


def is_field(line: ast.stmt) -> bool:
    return isinstance(line, ast.AnnAssign | ast.Assign)


def functions(path: Path) -> dict[str, list[str]]:
    """Each function with the names of its parameters, in order."""
    return {
        node.name: [argument.arg for argument in node.args.args]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("module", MODULES)
def test_the_fakes_bindings_have_the_shapes_of_the_real_ones(generated: Path, module: str) -> None:
    real, fake = generated / f"{module}.py", NATIVE / f"{module}.py"
    assert classes(real) or functions(real)
    assert classes(fake) == classes(real)
    assert functions(fake) == functions(real)


@pytest.mark.parametrize("module", MODULES[1:])
def test_every_call_of_the_contract_is_used_by_the_sdk(generated: Path, module: str) -> None:
    sources = [path.read_text() for path in Path(guesthouse_sdk.__file__).parent.glob("*.py")]
    unused = {
        name
        for name in functions(generated / f"{module}.py")
        if not any(f"{module}.{name}(" in text for text in sources)
    }
    assert unused <= {"send_requests"}  # `Request.send` sends one at a time


def test_everything_that_the_sdk_offers_is_there_and_sorted() -> None:
    assert all(hasattr(guesthouse_sdk, name) for name in guesthouse_sdk.__all__)
    assert len(set(guesthouse_sdk.__all__)) == len(guesthouse_sdk.__all__)
