"""cargo, as tests use it: what it builds is kept in one folder, since dependencies take a minute of CPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from guesthouse.package.build.rust import RUST_TARGET

ROOT: Final = Path(__file__).parents[1]
TARGET_FOLDER: Final = ROOT / "build/cargo"
_QUICK: Final = {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_INCREMENTAL": "0", "RUST_BACKTRACE": "0"}
"""Tests need no debug information: without it they are built in half the time."""


def use_one_target_folder() -> None:
    """Let all builds of the tests share what they compile, and find Rust: commands of tests have homes of their own."""
    os.environ.setdefault("CARGO_TARGET_DIR", str(TARGET_FOLDER))
    for name, folder in (("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")):
        os.environ.setdefault(name, str(Path.home() / folder))


def needs_cargo() -> None:
    """Skip a test where there is no Rust for components."""
    missing = missing_rust()
    if missing:
        pytest.skip(missing)


@cache
def missing_rust() -> str:
    """What there is not to build Rust; nothing if all is there."""
    if shutil.which("cargo") is None:
        return "cargo is not installed"
    found = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=False)
    if not Path(found.stdout.strip(), "lib/rustlib", RUST_TARGET).is_dir():
        return f"Rust's target {RUST_TARGET} is not installed"
    return ""


def cargo(folder: Path, *arguments: str) -> str:
    """What cargo says in a folder."""
    done = subprocess.run(
        ["cargo", *arguments],
        cwd=folder,
        env=os.environ | _QUICK,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
