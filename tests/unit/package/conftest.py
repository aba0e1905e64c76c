"""What tests of packages share: tiny components, folders and archives."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import wasmtime

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
