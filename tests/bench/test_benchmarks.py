"""Each benchmark, for a moment and on a small scale: that it works and finds figures, not what they are."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.e2e.compiles import compile_python
from tests.e2e.conftest import compiled

__all__ = ("compiled",)

ROOT: Final = Path(__file__).parents[2]
NAMES: Final = (
    "echo", "sizes", "web", "boundary", "wire", "broadcast", "idle", "guests", "cold", "neighbour", "workers", "growth",
)  # fmt: skip
A_MOMENT: Final = ("--rounds", "1", "--seconds", "0.1", "--scale", "0.001")


def bench(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench/run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)


@pytest.mark.thorough
def test_the_one_of_gateways_runs_when_it_is_named(tmp_path: Path) -> None:
    ran = bench("gateways", *A_MOMENT, "--out", tmp_path)
    assert ran.returncode == 0, ran.stderr
    tables = json.loads((tmp_path / "gateways.json").read_text())["tables"]
    assert [len(table["rows"]) for table in tables] == [6, 6, 2, 2]
    pushes = tables[2]["medians"]
    assert pushes["at 3 gateways"]["frames sent by the home"] >= 3
    assert pushes["at the home"]["to the home"] == 1


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """The folder with what all of them found, which one process runs as `make bench` does."""
    compile_python(compiled)
    folder = tmp_path_factory.mktemp("bench")
    ran = bench(*A_MOMENT, "--out", folder, BENCH_COMPILED=str(compiled))
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_and_keeps_what_it_found(name: str, found: Path) -> None:
    _holds_together(name, found)


@pytest.mark.thorough
def test_one_benchmark_runs_by_its_name(tmp_path: Path) -> None:
    ran = bench("idle", *A_MOMENT, "--out", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert {file.name for file in tmp_path.glob("*.json")} == {"idle.json"}
    _holds_together("idle", tmp_path)


def _holds_together(name: str, found: Path) -> None:
    result = json.loads((found / f"{name}.json").read_text())
    assert result["tables"]
    for place, table in enumerate(result["tables"]):
        assert any(row.startswith("Guesthouse") for row in table["rows"])
        for cells in table["rows"].values():
            assert cells
            assert all(rounds and all(map(math.isfinite, rounds)) for rounds in cells.values())
        assert "<svg" in (found / f"{name}-{place + 1}.svg").read_text()
    assert result["about"]["commit"]
    assert result["about"]["versions"]["websockets"]
    assert result["goals"] or name == "growth"
    assert all(goal["rounds"] for goal in result["goals"])


def test_a_benchmark_that_does_not_exist_is_named_with_those_that_do() -> None:
    ran = bench("ecko")
    assert ran.returncode == 2
    assert "there is no benchmark 'ecko': echo, sizes, web, boundary" in ran.stderr


def test_the_figures_of_the_page_are_those_of_the_results() -> None:
    command = [sys.executable, str(ROOT / "bench/report.py"), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_page_has_a_section_for_each_benchmark() -> None:
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"<!-- bench:{name} -->" not in page] == []


@pytest.mark.thorough
def test_the_benchmark_of_resumable_channels_runs() -> None:
    command = [sys.executable, str(ROOT / "bench/resume.py"), *A_MOMENT]
    paths = {"PYTHONPATH": str(ROOT / "clients/python")}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | paths)
    assert ran.returncode == 0, ran.stderr
    assert "channel resumed" in ran.stdout
