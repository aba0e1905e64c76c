"""The engine is checked before the first component, once for each that is installed. A node starts with no other."""

# ruff: noqa: ASYNC240 - a test may block its own loop

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from guesthouse.core.config import PackageLimits
from guesthouse.package.compile import compiler, compiler_process
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.compile.job import WRONG_ENGINE, Job, Task
from guesthouse.package.compile.main import _compile
from guesthouse.package.errors import CompileError
from guesthouse.wasm.core import core_capi
from guesthouse.wasm.engine import wasmtime_package
from guesthouse.wasm.engine.engines import engine_key, layout_key
from guesthouse.wasm.engine.wasmtime_package import library_hash, library_path

LIMITS: Final = PackageLimits()
WRONG: Final = "an extern's size is 40 in this wasmtime, not 32: install wasmtime==50.0.1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "compiled"


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that finds another engine than that of this host."""
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!/bin/sh\necho "{WRONG}" >&2\nexit {WRONG_ENGINE}\n')
    stand_in.chmod(0o700)
    monkeypatch.setattr(compiler_process, "sys", SimpleNamespace(executable=str(stand_in)))


@pytest.mark.slow
async def test_the_engine_is_checked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await Compiler(folder, LIMITS).check_engine()
    (mark,) = folder.iterdir()
    assert mark.stat().st_mode & 0o077 == 0

    def again(limits: PackageLimits) -> None:
        raise AssertionError("it is checked again")

    monkeypatch.setattr(compiler, "CompileRun", again)
    await Compiler(folder, LIMITS).check_engine()
    monkeypatch.setattr(compiler, "layout_key", lambda: "another")
    with pytest.raises(AssertionError, match="checked again"):
        await Compiler(folder, LIMITS).check_engine()


@pytest.mark.usefixtures("wrong")
async def test_another_engine_is_refused_in_one_line_each_time(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(CompileError) as refusal:
            await Compiler(folder, LIMITS).check_engine()
        assert str(refusal.value) == f"wasmtime cannot be used here: {WRONG}"
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("wrong")
async def test_a_component_is_not_said_to_be_at_fault(folder: Path, guest: Path) -> None:
    with pytest.raises(CompileError) as refusal:
        await Compiler(folder, LIMITS).compiled(guest)
    assert str(refusal.value) == f"{guest} cannot be used here: {WRONG}"


async def test_a_compiler_that_is_killed_says_nothing_of_the_engine(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\nkill -9 $$\n")
    stand_in.chmod(0o700)
    monkeypatch.setattr(compiler_process, "sys", SimpleNamespace(executable=str(stand_in)))
    await Compiler(folder, LIMITS).check_engine()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("task", Task)
def test_each_job_begins_with_the_check(
    task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(core_capi, "EXTERN_SIZE", 40)
    job = Job(task, os.getppid(), 0, 0, 0, 0, 0)
    assert _compile(b"", job) == WRONG_ENGINE
    assert (
        capsys.readouterr().err == "an extern's size is 32 in this wasmtime, not 40: install wasmtime==50.0.1"
    )


def test_another_build_of_the_library_has_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = engine_key(), layout_key()
    monkeypatch.setattr("guesthouse.wasm.engine.engines.library_hash", lambda: "another")
    assert not {engine_key(), layout_key()} & set(keys)


def test_the_hash_of_the_library_is_its_linkers_or_of_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library_hash.cache_clear()
    with open(library_path(), "rb") as file:
        head = file.read(65_536)
    known = library_hash()
    assert bytes.fromhex(known) in head or len(known) == 64
    copy = tmp_path / "library.so"
    monkeypatch.setattr(wasmtime_package, "library_path", lambda: str(copy))
    hashes = {known}
    for content in (head.replace(bytes.fromhex(known), b"x" * (len(known) // 2)), b"no note", b"other"):
        library_hash.cache_clear()
        copy.write_bytes(content)
        hashes.add(library_hash())
    library_hash.cache_clear()
    assert len(hashes) == 4


NODE: Final = """
import sys
from types import SimpleNamespace
from guesthouse.package.compile import compiler_process
compiler_process.sys = SimpleNamespace(executable=sys.argv.pop(1))
from guesthouse.cli.main import main
main()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("wrong")
async def test_a_node_does_not_start_with_another_engine(tmp_path: Path) -> None:
    home = tmp_path / "node"
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", NODE, str(tmp_path / "python"), "run", "--home", str(home), "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await node.communicate()
    assert out == b""
    last = err.decode().strip().splitlines()[-1]
    assert f"wasmtime cannot be used here: {WRONG}" in last
    assert node.returncode == 1
