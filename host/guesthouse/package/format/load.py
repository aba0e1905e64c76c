"""Turns a command line argument (a folder, an archive, a bare component) into a `Package`."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from guesthouse.core.address import ProcessId, is_runtime_module
from guesthouse.core.config import PackageLimits
from guesthouse.core.errors import BadProcessId, GuesthouseError
from guesthouse.core.files.regular_file import NotRegular, open_regular
from guesthouse.package.errors import PackageError
from guesthouse.package.format.archive import remove_unpacked, unpacked
from guesthouse.package.format.kinode_packages import find_kinode, read_kinode_manifest
from guesthouse.package.format.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    Manifest,
    ProcessEntry,
    parse_manifest,
)
from guesthouse.package.spec import OnExit, Package, ProcessSpec

LOCAL_PUBLISHER: Final = "local.os"
"""The publisher of a bare component."""

_ZIP_MAGIC: Final = b"PK"

Components = Mapping[ProcessId, Path]
_OWN: Final[Components] = MappingProxyType({})


def load_package(
    argument: str, limits: PackageLimits, unpack_dir: Path, components: Components = _OWN
) -> Package:
    """Load a package named on the command line. Blocks on the file system.

    Args:
        argument: a package folder (also one of the Kinode OS), its `.zip`, a bare `.wasm` (process
            `name:name:local.os`), or `process:package:publisher=file.wasm`. A `.wasm` may be followed by
            `?on-exit=none` or `?on-exit=restart`, the default.
        limits: sizes above which it is refused.
        unpack_dir: where archives are unpacked, each in a folder named by its hash.
        components: what processes of a folder run in the place of their own components.

    Raises:
        PackageError: it does not exist, is none of these, or is refused; one line with the remedy.
        BadProcessId: the text before `=` is not a process id.
    """
    whole, on_exit = _on_exit(argument)
    name, equals, file = whole.partition("=")
    path = Path(whole)
    try:
        if equals and ":" in name and _mode(path) is None:
            return _bare(Path(file), ProcessId.parse(name), limits, on_exit)
        if whole != argument and (stat.S_ISDIR(_mode(path) or 0) or _starts_with(path, _ZIP_MAGIC)):
            raise PackageError(
                f"{argument}: only a bare .wasm takes ?on-exit=: set it in the {MANIFEST_NAME}"
            )
        if stat.S_ISDIR(_mode(path) or 0):
            return _from_folder(path, path, limits, f"build it with 'guesthouse build {path}'", components)
        if _starts_with(path, _ZIP_MAGIC):
            return _from_archive(path, limits, unpack_dir)
        return _bare(path, _local_id(path), limits, on_exit)
    except OSError as error:
        raise PackageError(f"{argument} cannot be read: {error.strerror or error}; check the path") from None


def read_manifest(folder: Path) -> Manifest:
    """Read the `package.toml` of a package folder, or the manifest of a Kinode package.

    Raises:
        PackageError: there is none, or it is refused.
    """
    path = folder / MANIFEST_NAME
    try:
        with open_regular(path) as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        place = find_kinode(folder)
        if place is not None:
            return read_kinode_manifest(folder, place)
        raise PackageError(
            f"{folder} has no {MANIFEST_NAME}: name a package, or make one with 'guesthouse new NAME'"
        ) from None
    except OSError as error:
        remedy = "put a file in its place" if isinstance(error, NotRegular) else "check its permissions"
        raise PackageError(f"{path} cannot be read: {error.strerror}; {remedy}") from None
    return parse_manifest(content, str(path))


def _from_archive(path: Path, limits: PackageLimits, unpack_dir: Path) -> Package:
    folder, new = unpacked(path, limits, unpack_dir)
    try:
        return _from_folder(folder, path, limits, "build it again with 'guesthouse build DIR -o FILE'")
    except GuesthouseError as error:
        if new:
            remove_unpacked(folder)
        raise named_as(error, folder, path) from None


def named_as(error: GuesthouseError, folder: Path, path: Path) -> GuesthouseError:
    """The error with the path that the user gave instead of that of the unpacked folder."""
    text = str(error).replace(str(folder.resolve()), str(path)).replace(str(folder), str(path))
    return PackageError(text) if isinstance(error, PackageError) else error


def _from_folder(
    folder: Path, source: Path, limits: PackageLimits, remedy: str, components: Components = _OWN
) -> Package:
    manifest = read_manifest(folder)
    if len(manifest.processes) > limits.processes:
        raise PackageError(
            f"{source} has over {limits.processes} processes: remove some, or raise package.processes "
            "in guesthouse.toml"
        )
    of_package = tuple(dict.fromkeys(right for entry in manifest.processes for right in entry.requests))
    return Package(
        name=manifest.name,
        publisher=manifest.publisher,
        version=manifest.version,
        description=manifest.description,
        source=source,
        processes=tuple(
            replace(
                _process(folder, entry, manifest.version, limits, remedy, components.get(entry.id)),
                of_package=of_package,
            )
            for entry in manifest.processes
        ),
    )


def _process(
    folder: Path, entry: ProcessEntry, version: str, limits: PackageLimits, remedy: str, instead: Path | None
) -> ProcessSpec:
    _check_id(entry.id)
    component = instead or inside(folder, entry.wasm)
    if not component.exists():
        raise PackageError(f"{component}, the component of {entry.id}, does not exist: {remedy}")
    _check_component(component, limits)
    ui = None if entry.ui is None else inside(folder, entry.ui)
    if ui is not None and not ui.is_dir():
        raise PackageError(f"{ui}, the ui of {entry.id}, is not a folder: create it, or remove 'ui'")
    return ProcessSpec(
        *(entry.id, component, entry.on_exit, entry.public, ui, entry.requests, entry.grants),
        handover=entry.handover,
        version=version,
    )


def inside(folder: Path, relative: PurePosixPath) -> Path:
    """Return the path in a package folder, links resolved.

    Raises:
        PackageError: a link leads out of the package.
    """
    root = folder.resolve()
    path = root.joinpath(*relative.parts).resolve()
    if not path.is_relative_to(root):
        raise PackageError(f"{folder / relative} leads out of the package: replace it by the file")
    return path


def _mode(path: Path) -> int | None:
    """A file's mode; None when it does not exist. (`Path.exists` of Python 3.14 ignores all errors.)

    Raises:
        OSError: it cannot be determined.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: a null byte
        return None


def _on_exit(argument: str) -> tuple[str, OnExit]:
    """An argument without `?on-exit=…`, and what that says. A file of that very name is meant as it is."""
    text, mark, options = argument.rpartition("?")
    if not mark or _mode(Path(argument)) is not None:
        return argument, "restart"
    key, _, value = options.partition("=")
    if key != "on-exit" or value not in ("none", "restart"):
        raise PackageError(f"{argument}: {options!a} is not known: write ?on-exit=none or ?on-exit=restart")
    return text, "restart" if value == "restart" else "none"


def _bare(path: Path, process: ProcessId, limits: PackageLimits, on_exit: OnExit) -> Package:
    if _mode(path) is None:
        raise PackageError(f"{path} does not exist: name a package folder, its .zip, or a .wasm component")
    _check_id(process)
    _check_component(path, limits)
    spec = ProcessSpec(process, path.resolve(), on_exit=on_exit, public=False, ui=None)
    return Package(
        name=process.package_name,
        publisher=process.publisher_node,
        version="0",
        description="",
        source=path,
        processes=(spec,),
    )


def _check_id(process: ProcessId) -> None:
    if is_runtime_module(process):
        raise PackageError(f"{process} is a part of the node itself: rename the process")


def _local_id(path: Path) -> ProcessId:
    if path.exists() and path.suffix != ".wasm":
        raise PackageError(f"{path} is not a package: name a package folder, its .zip, or a .wasm component")
    try:
        return ProcessId.parse(f"{path.stem}:{path.stem}:{LOCAL_PUBLISHER}")
    except BadProcessId:
        raise PackageError(
            f"{path} has a name that is invalid for a process: give one, as in 'name:name:{LOCAL_PUBLISHER}={path}'"
        ) from None


def _check_component(path: Path, limits: PackageLimits) -> None:
    if not path.is_file():
        raise PackageError(f"{path} is not a file: name a .wasm component")
    if path.stat().st_size > limits.component_bytes:
        raise PackageError(
            f"{path} is over {limits.component_bytes} bytes: make it smaller, or raise "
            "package.component_bytes in guesthouse.toml"
        )


def _starts_with(path: Path, magic: bytes) -> bool:
    if not path.is_file():
        return False
    with open_regular(path) as file:
        return file.read(len(magic)) == magic
