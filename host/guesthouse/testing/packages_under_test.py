"""Builds what tests run."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

from msgspec import Struct

from guesthouse.core.config import PackageLimits
from guesthouse.core.errors import GuesthouseError
from guesthouse.package.build.build_package import build_package
from guesthouse.package.format.load import load_package, read_manifest
from guesthouse.package.format.manifest import MANIFEST_NAME
from guesthouse.testing.kit_errors import NodeFailed


class BuiltPackage(Struct, frozen=True):
    """A package that a node can run."""

    argument: str
    """What `guesthouse run` takes."""
    processes: tuple[str, ...]


def built(package: str | Path, *, build: bool = True) -> BuiltPackage:
    """Build a package if it is a folder with sources that are newer than its components.

    Raises:
        NodeFailed: it is no package, or cannot be built; says what the tools said.
    """
    folder = Path(package)
    lines: list[str] = []
    try:
        if build and (folder / MANIFEST_NAME).is_file():
            with open(folder / MANIFEST_NAME) as lock:  # tests that run side by side want the same
                fcntl.flock(lock, fcntl.LOCK_EX)
                build_package(folder, report=lines.append)
        if folder.is_dir():
            ids = tuple(str(entry.id) for entry in read_manifest(folder).processes)
        else:
            with tempfile.TemporaryDirectory(prefix="guesthouse-") as unpacked:
                loaded = load_package(str(package), PackageLimits(), Path(unpacked))
                ids = tuple(str(spec.id) for spec in loaded.processes)
    except GuesthouseError as error:
        raise NodeFailed("\n".join((f"{package} cannot be built: {error}", *lines))) from None
    return BuiltPackage(str(folder.absolute()) if folder.exists() else str(package), ids)
