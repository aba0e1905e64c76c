"""What `docs/guarantees.md` promises is checked by the tests that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.faults import rounds

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text()
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """The cells of each row of a table, without the tables' heads."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in lines
        if not line.startswith("|--")
    ]
    return [row for row in cells if "checked by" not in row[-1]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_promise_names_a_test(row: list[str]) -> None:
    assert _NAMED.search(row[-1]), f"nothing checks: {row[0]}"


@pytest.mark.slow
@pytest.mark.parametrize(("path", "name"), sorted(set(_NAMED.findall(PAGE))))
def test_each_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in tree.body if isinstance(node, functions)}


def test_each_row_says_something_in_each_column() -> None:
    head = next(line for line in PAGE.splitlines() if line.startswith("| event |"))
    columns = head.count("|") - 1
    events = [row for row in rows() if len(row) == columns]
    assert len(events) >= 15
    assert all(all(row) for row in events)


def test_every_test_of_faults_in_a_node_is_named() -> None:
    named = {name for path, name in _NAMED.findall(PAGE) if path.startswith("tests/faults/")}
    files = {path.name for path in (ROOT / "tests/faults").glob("test_*.py")}
    assert files == {Path(path).name for path, _ in _NAMED.findall(PAGE) if path.startswith("tests/faults/")}
    assert len(named) >= len(files)


def test_two_hundred_rounds_are_played() -> None:
    workers, nodes = rounds.WORKER_KILLS + rounds.WORKER_STOPS, rounds.NODE_KILLS + rounds.NODE_STOPS
    assert workers + nodes + rounds.COMPILER_KILLS + rounds.COMPILER_STOPS == 200 * rounds.TIMES
