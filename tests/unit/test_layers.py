"""The table of `docs/architecture.md` says what each folder imports: no more, and no less. One name is of one thing."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
HOST: Final = ROOT / "host/guesthouse"

SAME_MODULES: Final = {
    "__init__": "every folder's",
    "__main__": "what `python -m` runs",
    "main": "what a program begins with: the command line, and the compiler",
    "errors": "the errors of one layer",
    "capabilities": "what they are, and the interface of `wit/` for them: `worker/calls` has one module for each",
}
SAME_CLASSES: Final = {
    **dict.fromkeys(("Request", "Response"), "of processes; on the link; and between nodes"),
    **dict.fromkeys(("HttpResponse", "LogLine"), "of a process, and on the link"),
    "Push": "of a client on its way to a guest, and of a guest on its way to a client",
    **dict.fromkeys(("Piece", "Placed", "Released", "Whole"), "in either direction of the link"),
}


class Module(NamedTuple):
    """What is looked at in a file of the host."""

    imports: set[str]
    """Folders of the host."""
    classes: list[str]
    raises_in_except_star: bool


@cache
def modules() -> dict[Path, Module]:
    """All, read once: it takes a second."""
    return {path: _module(ast.parse(path.read_bytes())) for path in HOST.rglob("*.py")}


def _module(tree: ast.Module) -> Module:
    nodes = list(ast.walk(tree))
    froms = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    groups = [node for node in nodes if isinstance(node, ast.TryStar)]
    return Module(
        {name.split(".")[1] for name in froms if name.startswith("guesthouse.")},
        [node.name for node in tree.body if isinstance(node, ast.ClassDef)],
        any(isinstance(node, ast.Raise) for group in groups for node in ast.walk(group)),
    )


def imported() -> dict[str, set[str]]:
    """The folders that each folder of the host imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, module in modules().items():
        found[path.relative_to(HOST).parts[0]] |= module.imports
    return {folder: others - {folder} for folder, others in found.items() if not folder.endswith(".py")}


def documented() -> dict[str, set[str]]:
    """The same, as the documentation has it."""
    table = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| `host/guesthouse/(\w+)/` \|.*\|(.*)\|$", table, re.MULTILINE)
    return {folder: set(re.findall(r"`(\w+)`", others)) for folder, others in rows}


@pytest.mark.slow
def test_the_architecture_says_which_folder_imports_which() -> None:
    assert imported() == documented()


def test_no_folder_is_too_full_to_look_through() -> None:
    folders = {path.parent for path in HOST.rglob("*.py")}
    assert {str(folder) for folder in folders if len(list(folder.glob("*.py"))) > 20} == set()


def test_no_two_modules_have_one_name() -> None:
    counted = Counter(path.stem for path in HOST.rglob("*.py"))
    assert {name for name, count in counted.items() if count > 1} == SAME_MODULES.keys()


def test_no_two_public_classes_have_one_name() -> None:
    counted = Counter(name for module in modules().values() for name in module.classes)
    twice = {name for name, count in counted.items() if count > 1 and not name.startswith("_")}
    assert twice == SAME_CLASSES.keys()


def test_nothing_is_raised_in_an_except_star() -> None:
    """Python 3.11.2, Debian 12's, wraps it in a group, which nobody catches."""
    assert [path for path, module in modules().items() if module.raises_in_except_star] == []
