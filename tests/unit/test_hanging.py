"""A test that hangs, or whose process dies, fails by its name, and all others run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = [pytest.mark.thorough, pytest.mark.slow]

ROOT: Final = Path(__file__).parents[2]
PLUGINS: Final = ("conftest", "cpu_time", "examples", "forked", "hanging", "patience", "rust", "scheduling")

HANGING: Final = """
import asyncio, signal, threading, time
import pytest

async def nothing():
    await asyncio.Event().wait()

async def test_coroutine():
    await nothing()

async def test_tasks():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(nothing())
        tasks.create_task(nothing())

def test_lock():
    threading.Lock().acquire() and threading.Event().wait()

@pytest.fixture
def hanging():
    yield
    threading.Event().wait()

def test_fixture(hanging): pass

@pytest.mark.parametrize("number", range(40))
def test_many(number): pass
"""
DYING: Final = """
import os, signal, threading
import pytest

@pytest.mark.parametrize("number", range(20))
def test_before(number): pass

def test_unreachable():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    threading.Event().wait()

def test_exits():
    os._exit(3)

@pytest.mark.parametrize("number", range(40))
def test_after(number): pass
"""


def outcome(folder: Path, tests: str, *arguments: str) -> tuple[set[str], str]:
    """The names of the tests that do not pass, with the settings and plugins of all tests, and the last line."""
    (folder / "tests/unit").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in PLUGINS:
        shutil.copy(ROOT / f"tests/{name}.py", folder / "tests")
    (folder / "tests/unit/test_them.py").write_text(tests)
    quick = ("-o", "timeout=2", "-o", "timeout_grace=1", "-n", "2", "--dist", "loadgroup")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *quick, *arguments, "tests"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TESTS"))},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = ran.stdout.splitlines()
    bad = [line.split()[1] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return {name.rpartition("::")[2].partition("@")[0] for name in bad}, f"{lines[-1]}{ran.stderr}"


def test_a_test_that_hangs_fails_by_its_name(tmp_path: Path) -> None:
    failed, last = outcome(tmp_path, HANGING)
    assert failed == {"test_coroutine", "test_tasks", "test_lock", "test_fixture"}, last
    assert "41 passed" in last


def test_when_its_process_dies_the_other_tests_run(tmp_path: Path) -> None:
    failed, last = outcome(tmp_path, DYING)
    assert failed == {"test_unreachable", "test_exits"}, last
    assert "60 passed" in last
    assert "in test_unreachable" in last  # the stack
