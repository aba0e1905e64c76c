"""Builds a process: `python -m guesthouse_sdk.build app.py -o build/app.wasm`; or, with `--development`, the component
of `guesthouse run --dev`, which gets its modules from the node.

The module must define `main`: a `Process` subclass, or a function that takes the
process's own address. Its folder is on the import path, so it may import modules beside it.

Errors are one line on stderr, and the exit code is 1. Needs `componentize-py`, whose components are changed
to free the bytes that they send (`freeing.py`), and to share what they were built with (`lasting.py`).
"""

from __future__ import annotations

import argparse
import keyword
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from guesthouse_sdk.freeing import UnknownRuntimeError, with_bytes_freed
from guesthouse_sdk.lasting import with_lasting_objects

COMPONENTIZE_PY: Final = "0.25.1"
"""The version of componentize-py that this SDK was tested with, and whose components `freeing` supports."""

ENTRY_MODULE: Final = "guesthouse_guest"
WORLD: Final = "process"

_SDK_ROOT: Final = Path(__file__).resolve().parent.parent
_ENTRY_SOURCE: Final = """\
import {module} as app
from guesthouse_sdk.entry import guest

Guest = guest(app)
"""
_DEVELOPMENT_SOURCE: Final = """\
from guesthouse_sdk.development import development_guest

Guest = development_guest()
"""
_MOUNT = re.compile(r'(?m)^(\s*File ")/\d+/')
"""Where componentize-py mounts the import path: `/1/app.py` is the author's `app.py`."""
_AUTHOR_FRAME = re.compile(r'\s*File "((?!/|guesthouse_sdk/)[^"]+)", line (\d+)')
_OWN_FRAME = re.compile(rf'(?m)^  File "{ENTRY_MODULE}\.py".*\n(?:    .*\n)*')
_RESERVED: Final = frozenset({ENTRY_MODULE, "guesthouse_sdk", "wit_world", WORLD})


class BuildError(Exception):
    """A process could not be built; the message is for its author."""


def wit_directory() -> Path:
    """The contract's WIT files: in the installed SDK, or beside `guest_sdk/`.

    Raises:
        BuildError: they are in neither place.
    """
    for folder in (Path(__file__).resolve().parent / "wit", _SDK_ROOT.parent.parent / "wit"):
        if (folder / "world.wit").is_file():
            return folder
    raise BuildError(f"the contract's WIT files are missing beside {_SDK_ROOT}: install the SDK again")


def componentize_argv(source: Path, output: Path, stage: Path) -> list[str]:
    """Write the entry module to the folder `stage`, and return the command that builds `output`.

    Args:
        source: the user's module, such as `app.py`.
        output: the `.wasm` to write.
        stage: an empty folder that lives until the command has ended.

    Raises:
        BuildError: `source` is not a Python file, or its name cannot be imported.
    """
    module = _module_name(source)
    return _argv(_ENTRY_SOURCE.format(module=module), (source.resolve().parent,), output, stage)


def _argv(entry: str, folders: Sequence[Path], output: Path, stage: Path) -> list[str]:
    (stage / f"{ENTRY_MODULE}.py").write_text(entry, encoding="utf-8")
    return [
        _componentize_py(),
        *("--quiet", "--wit-path", str(wit_directory()), "--world", WORLD),
        *("componentize", ENTRY_MODULE),
        *(part for folder in (stage, *folders, _SDK_ROOT) for part in ("--python-path", str(folder))),
        *("--output", str(output)),
    ]


def build(source: Path, output: Path) -> None:
    """Build the module `source` into the component `output`; takes about ten seconds.

    `output` is replaced only when the build succeeds.

    Raises:
        BuildError: what is wrong with the module.
    """
    _build(source.name, output, lambda built, stage: componentize_argv(source, built, stage))


def build_development(output: Path) -> None:
    """Build the component of `guesthouse run --dev`, which is the same for all apps: see `development.py`.

    Raises:
        BuildError: it cannot be built.
    """

    def argv(built: Path, stage: Path) -> list[str]:
        (stage / "app").mkdir()  # in the author's place, so that other folders have their usual numbers
        return _argv(_DEVELOPMENT_SOURCE, (stage / "app",), built, stage)

    _build("the interpreter for development", output, argv)


def _build(name: str, output: Path, argv_of: Callable[[Path, Path], list[str]]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="guesthouse-build-") as folder:
        built = output.with_name(f".{output.name}.{os.getpid()}")
        argv = argv_of(built, Path(folder))
        try:
            done = subprocess.run(  # noqa: S603 - a list of our own making, no shell
                argv,
                env={**os.environ, "RUST_BACKTRACE": "0"},
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            if done.returncode != 0 or not built.is_file():
                raise BuildError(explain(name, done.stderr + done.stdout))
            _change(built)
            built.replace(output)
        finally:
            built.unlink(missing_ok=True)


def _change(component: Path) -> None:
    """Make a component free the bytes that it sends, and share what it was built with. Those of other versions of
    componentize-py are left alone, because they may do so themselves.
    """
    try:
        found = version("componentize-py")
    except PackageNotFoundError:
        found = "of an unknown version"
    if found != COMPONENTIZE_PY:
        print(
            f"componentize-py is {found}, not {COMPONENTIZE_PY}: bytes that the process sends may never be freed",
            file=sys.stderr,
        )
        return
    try:
        component.write_bytes(with_lasting_objects(with_bytes_freed(component.read_bytes())))
    except UnknownRuntimeError as error:
        raise BuildError(
            f"componentize-py made an unknown component ({error}): install componentize-py=={COMPONENTIZE_PY} again"
        ) from None


def explain(name: str, output: str) -> str:
    """Reduce componentize-py's output to what the author of the module `name` needs to know."""
    stub = "called trapping stub: "
    if stub in output:
        call = output.partition(stub)[2].split()[0].rpartition("#")[2]
        return (
            f"{name} calls {call} while it is imported: call the host only from main or from what main calls"
        )
    bad_main = "guesthouse_sdk.entry.BadMain: "
    if bad_main in output:
        return f"{name} cannot be built: {output.partition(bad_main)[2].splitlines()[0]}"
    report = output.partition("Stack backtrace:")[0].partition("\nCaused by:")[0]
    report = _MOUNT.sub(r"\1", report.rpartition("AssertionError: ")[2])
    lines = _OWN_FRAME.sub("", report).strip().splitlines()
    if not lines:
        return f"{name} cannot be built: componentize-py said nothing"
    return f"{_place_of(lines, name)}: error: {lines[-1]}" + "".join(f"\n{line}" for line in lines[:-1])


def _place_of(lines: Sequence[str], name: str) -> str:
    """File and line of an error in a traceback without mount points; the last is where it was raised."""
    places = [found for line in lines if (found := _AUTHOR_FRAME.match(line))]
    return f"{places[-1][1]}:{places[-1][2]}" if places else name


def _module_name(source: Path) -> str:
    if source.suffix != ".py" or not source.is_file():
        raise BuildError(f"{source} is not a Python file: give the module that has main, such as app.py")
    module = source.stem
    if not module.isidentifier() or keyword.iskeyword(module):
        raise BuildError(
            f"{source.name} cannot be imported: rename it to a Python identifier, such as app.py"
        )
    if module in _RESERVED:
        raise BuildError(
            f"{source.name} would hide a module of the same name: rename it, for example to app.py"
        )
    return module


def _componentize_py() -> str:
    beside = Path(sys.executable).with_name("componentize-py")
    if beside.is_file():
        return str(beside)
    raise BuildError(f"componentize-py is not installed: pip install componentize-py=={COMPONENTIZE_PY}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m guesthouse_sdk.build", description="Build a process.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("source", nargs="?", type=Path, help="the module that has main, such as app.py")
    what.add_argument("--development", action="store_true", help="the component of `guesthouse run --dev`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .wasm to write")
    options = parser.parse_args(arguments)
    try:
        if options.development:
            build_development(options.output)
        else:
            build(options.source, options.output)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
