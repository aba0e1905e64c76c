"""The table of `docs/architecture.md` says what each folder imports: no more, and no less. One name is of one thing."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

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
    **dict.fromkeys(("Piece", "Whole"), "in either direction of the link"),
}


def imported() -> dict[str, set[str]]:
    """The folders that each folder of the host imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in HOST.rglob("*.py"):
        folder = path.relative_to(HOST).parts[0]
        for statement in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("guesthouse."):
                found[folder].add((statement.module or "").split(".")[1])
    return {folder: others - {folder} for folder, others in found.items() if not folder.endswith(".py")}


def documented() -> dict[str, set[str]]:
    """The same, as the documentation has it."""
    table = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| `host/guesthouse/(\w+)/` \|.*\|(.*)\|$", table, re.MULTILINE)
    return {folder: set(re.findall(r"`(\w+)`", others)) for folder, others in rows}


def test_the_architecture_says_which_folder_imports_which() -> None:
    assert imported() == documented()


def test_no_folder_is_too_full_to_look_through() -> None:
    folders = {path.parent for path in HOST.rglob("*.py")}
    assert {str(folder) for folder in folders if len(list(folder.glob("*.py"))) > 20} == set()


def test_no_two_modules_have_one_name() -> None:
    counted = Counter(path.stem for path in HOST.rglob("*.py"))
    assert {name for name, count in counted.items() if count > 1} == SAME_MODULES.keys()


def test_no_two_public_classes_have_one_name() -> None:
    trees = (ast.parse(path.read_bytes()) for path in HOST.rglob("*.py"))
    counted = Counter(each.name for tree in trees for each in tree.body if isinstance(each, ast.ClassDef))
    twice = {name for name, count in counted.items() if count > 1 and not name.startswith("_")}
    assert twice == SAME_CLASSES.keys()


def test_nothing_is_raised_in_an_except_star() -> None:
    """Python 3.11.2, Debian 12's, wraps it in a group, which nobody catches."""
    trees = {path: ast.parse(path.read_bytes()) for path in HOST.rglob("*.py")}
    groups = [
        (path, node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.TryStar)
    ]
    raising = [path for path, node in groups if any(isinstance(each, ast.Raise) for each in ast.walk(node))]
    assert raising == []
