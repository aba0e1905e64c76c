"""`make test` leaves out what is marked `thorough`, and `make test ALL=1` nothing."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from tests import whole
from tests.conftest import WHOLLY_THOROUGH
from tests.tiers import thorough_after, thorough_but

ROOT: Final = Path(__file__).parents[2]
MARKS: Final = ("alone", "slow", "thorough")
THOROUGH: Final = "pytest.mark.thorough"
MAKEFILE: Final = (ROOT / "Makefile").read_text()
TESTS: Final = sorted((ROOT / "tests").rglob("test_*.py"))
THOROUGH_FILES: Final = [file for file in TESTS if WHOLLY_THOROUGH.search(file.read_text())]


def test_there_are_no_other_marks_that_a_run_could_choose_by() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert tuple(sorted(line.partition(":")[0] for line in settings["markers"])) == MARKS
    assert "--strict-markers" in settings["addopts"]
    assert not re.search(r"(^| )-m\\b", settings["addopts"])


def combinations() -> Iterator[tuple[str, ...]]:
    return itertools.chain.from_iterable(
        itertools.combinations(MARKS, size) for size in range(len(MARKS) + 1)
    )


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a test for each combination of marks."""
    folder = tmp_path_factory.mktemp("marked")
    lines = ["import pytest"]
    for marks in combinations():
        lines += [*(f"@pytest.mark.{mark}" for mark in marks), f"def test_{'_'.join(marks)}(): pass"]
    (folder / "test_marked.py").write_text("\n".join(lines))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n" + "\n".join(f"    {mark}" for mark in MARKS))
    return folder


def taken(folder: Path, selected: tuple[str, ...]) -> list[str]:
    """The tests that a run takes."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *selected]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return re.findall(r"::test_(\w*)$", done.stdout, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("cpus", [2, 4])
def test_each_test_runs_once_and_only_thorough_ones_wait_for_all(
    marked: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpus: int, everything: bool
) -> None:
    asked: list[str] = []

    def run(*arguments: str, tests: str | None = None) -> int:
        selected = arguments[arguments.index("-m") :][:2] if "-m" in arguments else ()
        asked.extend(taken(marked, selected))
        return 0

    monkeypatch.setattr(whole, "run", run)
    monkeypatch.setattr(whole, "CPUS", cpus)
    monkeypatch.setattr(whole, "CACHE", tmp_path)
    monkeypatch.setenv("ALL", "1" if everything else "")
    assert whole.main("3") == 0
    all_of_them = ["_".join(marks) for marks in combinations() if everything or "thorough" not in marks]
    assert sorted(asked) == sorted(all_of_them)


@pytest.mark.parametrize(
    ("given", "examples"), [({"ALL": "1"}, None), ({}, "0.25"), ({"GUESTHOUSE_EXAMPLES": "3"}, "3")]
)
def test_what_is_tried_at_random_is_tried_less_often_without_all(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], examples: str | None
) -> None:
    for name in ("ALL", "GUESTHOUSE_EXAMPLES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environments: list[dict[str, str]] = []

    def pytest_run(*_: object, env: dict[str, str], **__: object) -> subprocess.CompletedProcess[str]:
        environments.append(env)
        return subprocess.CompletedProcess((), 0)

    monkeypatch.setattr(subprocess, "run", pytest_run)
    whole.run("-q")
    assert [each.get("GUESTHOUSE_EXAMPLES") for each in environments] == [examples]


@pytest.mark.parametrize("file", THOROUGH_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_that_is_not_loaded_has_nothing_but_thorough_tests(file: Path) -> None:
    tree = ast.parse(file.read_text())
    own = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    of_scenarios = re.findall(r"\bscenarios\.(\w+)\(", file.read_text())
    if of_scenarios:
        assert set(of_scenarios) == {"again"}
        assert not [node.name for node in own if node.name.lower().startswith("test")]
    else:
        assigned = [ast.unparse(node) for node in tree.body if "pytestmark" in ast.unparse(node)]
        assert len(assigned) == 1
        assert re.match(rf"pytestmark = (\[{THOROUGH}, |{THOROUGH}$)", assigned[0])


def test_every_folder_has_tests_that_run_without_all() -> None:
    """What it is about is a feature, an attack or a layer."""
    folders = {file.parent for file in TESTS}
    assert {file.parent for file in set(TESTS) - set(THOROUGH_FILES)} == folders


@cache
def first_tier(file: Path) -> dict[str, bool]:
    """The tests of a file, and which of them run without ALL: with all parameters, or the first."""
    wholly = file in THOROUGH_FILES
    functions = [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    marked = {node.name for node in functions if THOROUGH in map(ast.unparse, node.decorator_list)}
    return {node.name: not wholly and node.name not in marked for node in functions}


def test_a_file_whose_tests_are_all_thorough_says_so_once() -> None:
    """`pytestmark = pytest.mark.thorough`, or that first in a list: it is not loaded then."""
    marked = [file for file in set(TESTS) - set(THOROUGH_FILES) if THOROUGH in file.read_text()]
    assert [str(file) for file in marked if not any(first_tier(file).values())] == []


def test_every_kind_of_attack_is_made_without_all() -> None:
    for file in sorted((ROOT / "tests/attacks").rglob("test_*.py")):
        assert [name for name, runs in first_tier(file).items() if not runs] == [], file


@pytest.mark.parametrize("page", ["guarantees.md", "security.md"])
def test_what_a_promise_rests_on_runs_without_all(page: str) -> None:
    """Of the tests that a row names one at least does."""
    rows = [
        re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", line)
        for line in (ROOT / "docs" / page).read_text().splitlines()
        if line.startswith("|")
    ]

    def runs(path: str, name: str) -> bool:
        tests = first_tier(ROOT / path)
        return tests.get(name, False) if name else any(tests.values())

    assert [row for row in rows if row and not any(runs(*named) for named in row)] == []


def test_only_such_parameters_are_thorough_as_are_not_the_first() -> None:
    kept, more = thorough_but(["a", "b"], "a")
    assert (kept, more.values, [mark.name for mark in more.marks]) == ("a", ("b",), ["thorough"])
    with pytest.raises(AssertionError, match="'c'"):
        thorough_but(["a", "b"], "c")


def test_parameters_after_so_many_are_thorough_with_the_marks_and_names_that_they_have() -> None:
    skipped = pytest.param(3, 4, marks=pytest.mark.slow, id="last")
    first, second, third = thorough_after(1, [(1, 2), (5, 6), skipped], names=2)
    assert first == (1, 2)
    assert (second.values, [mark.name for mark in second.marks]) == ((5, 6), ["thorough"])
    assert (third.values, third.id, [mark.name for mark in third.marks]) == (
        (3, 4),
        "last",
        ["slow", "thorough"],
    )
    with pytest.raises(AssertionError, match="there are 2 parameters"):
        thorough_after(2, ["a", "b"])


def test_continuous_integration_runs_all_and_the_quick_tests_are_of_the_first_tier() -> None:
    assert "\nexec make test ALL=1\n" in (ROOT / ".ci/run").read_text()
    assert "run: make test ALL=1\n" in (ROOT / ".github/workflows/tests.yml").read_text()
    assert '-m "not slow and not alone and not thorough"' in MAKEFILE
    assert "@ALL=$(ALL) $(BIN)/python -m tests.whole $(JOBS) $(PYTEST_ARGS)" in MAKEFILE
