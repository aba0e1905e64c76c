"""What all components in Python have in common, compiled once for all processes of a run."""

from __future__ import annotations

import asyncio
import fcntl
from functools import cache
from pathlib import Path
from typing import Final

from guesthouse.core.config import MIB, PackageLimits
from guesthouse.package.compile.compiler import Compiler

from .packages import package

KEY_FILE: Final = "compiled.key"
_INTERPRETER_BYTES: Final = 4 * MIB
"""A component that is larger has CPython in it."""


@cache
def compile_python(compiled: Path) -> None:
    """Compile the interpreter, or wait for whoever does: it takes many seconds of all CPUs, and several nodes that
    start at once would each do it.
    """
    with open(compiled / KEY_FILE) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compiler = Compiler(compiled / "compiled", PackageLimits())
        asyncio.run(compiler.compiled(package("echo") / "build/echo.wasm"))


def is_in_python(folder: Path) -> bool:
    """Whether a package that is built has a component in Python."""
    return any(wasm.stat().st_size > _INTERPRETER_BYTES for wasm in folder.glob("build/*.wasm"))
