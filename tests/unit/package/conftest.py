"""What tests of packages share: tiny components, folders and archives."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import pytest
import wasmtime

from guesthouse.core.config import PackageLimits
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.compile.compiler_process import CompileRun
from guesthouse.package.compile.job import Task

from .large import A, B, Runs, written

MANIFEST = """
[package]
name = "chat"
publisher = "guesthouse.os"
version = "0.1.0"
description = "Talk"

[[process]]
name = "chat"
wasm = "build/chat.wasm"
on-exit = "restart"
public = true
ui = "ui"
"""

TYPES = "guesthouse:process/types@0.1.0"
PROCESS = f"""
(component
  (import "{TYPES}" (instance $types
    (type $process-id'
      (record (field "process-name" string) (field "package-name" string) (field "publisher-node" string)))
    (export "process-id" (type $process-id (eq $process-id')))
    (type $address' (record (field "node" string) (field "process" $process-id)))
    (export "address" (type $address (eq $address')))))
  (alias export $types "address" (type $address))
  (core module $m (memory (export "memory") 1)
    (func (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (func $run (param "our" $address) (canon lift (core func $i "run") (memory $memory) (realloc $realloc)))
  (instance $guest (export "run" (func $run)))
  (export "guesthouse:process/guest@0.1.0" (instance $guest))
)
"""
"""The smallest component of a process that can be run."""

GUEST = """
(component
  (core module $m (func (export "run")))
  (core instance $i (instantiate $m))
  (func $run (canon lift (core func $i "run")))
  (instance $guest (export "run" (func $run)))
  (export "guesthouse:process/guest@0.1.0" (instance $guest))
)
"""
"""Exports what every process exports and does nothing."""


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """The smallest component of a process."""
    path = tmp_path / "guest.wasm"
    path.write_bytes(wasmtime.wat2wasm(GUEST))
    return path


MakePackage = Callable[..., Path]


@pytest.fixture
def make_package(tmp_path: Path) -> MakePackage:
    """Makes a package folder."""

    def make(manifest: str = MANIFEST, *, name: str = "package") -> Path:
        folder = tmp_path / name
        (folder / "build").mkdir(parents=True)
        (folder / "ui").mkdir()
        (folder / "ui" / "index.html").write_text("<p>hello</p>")
        (folder / "build" / "chat.wasm").write_bytes(wasmtime.wat2wasm(GUEST))
        (folder / "package.toml").write_text(manifest)
        return folder

    return make


def write_zip(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write an archive."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def package_members() -> dict[str, bytes]:
    """The content of a package that loads."""
    return {
        "package.toml": MANIFEST.encode(),
        "build/chat.wasm": bytes(wasmtime.wat2wasm(GUEST)),
        "ui/index.html": b"<p>hello</p>",
    }


@pytest.fixture(scope="session")
def home_with_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which A is compiled."""
    folder = tmp_path_factory.mktemp("with-a")
    asyncio.run(Compiler(folder / "compiled", PackageLimits()).compiled(written(folder, "a", A)))
    return folder


@pytest.fixture
def cache_with_a(tmp_path: Path, home_with_a: Path) -> Path:
    """A cache that has A."""
    home = tmp_path / "home"
    shutil.copytree(home_with_a, home)
    return home / "compiled"


@pytest.fixture
def a(cache_with_a: Path) -> Path:
    """The component A."""
    return cache_with_a.with_name("a.wasm")


@pytest.fixture
def b(tmp_path: Path) -> Path:
    """The component B, which has a module of A's."""
    return written(tmp_path, "b", B)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """What compiler subprocesses get, in their order."""
    seen: Runs = []
    real = CompileRun._run

    async def watched(run: CompileRun, task: Task, source: IO[bytes], *rest: IO[bytes]) -> int | None:
        seen.append((task, os.pread(source.fileno(), 1 << 30, 0)))
        return await real(run, task, source, *rest)

    monkeypatch.setattr(CompileRun, "_run", watched)
    return seen


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by each file that is read."""
    seen: list[int] = []
    real: Callable[..., Any] = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        seen.append(1)
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return seen


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files were written some time ago."""
    real = time.time_ns
    monkeypatch.setattr(
        "guesthouse.package.compile.private_files.time.time_ns", lambda: real() + 10_000_000_000
    )
