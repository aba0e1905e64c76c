"""Where the `wasmtime` package is, and which version and build: found without loading it."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

NAME: Final = "wasmtime"
_HEAD_BYTES: Final = 65_536
_BUILD_ID: Final = re.compile(rb"\x04\0\0\0[\x10-\x40]\0\0\0\x03\0\0\0GNU\0")
"""The start of an ELF note of that kind: sizes of name and hash, kind, name."""


@cache
def package_folder() -> Path:
    """The folder of the package.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = PathFinder.find_spec(NAME)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {NAME!r}", name=NAME)
    return Path(spec.origin).parent


def library_path() -> str:
    """The library, as the package names it."""
    return str(package_folder() / f"linux-{os.uname().machine}" / "_libwasmtime.so")


@cache
def installed_version() -> str:
    """The version that is installed: what its metadata are named by, where there are those of one version alone."""
    beside = list(package_folder().parent.glob(f"{NAME}-*.dist-info"))
    if len(beside) == 1:
        return beside[0].name.removeprefix(f"{NAME}-").removesuffix(".dist-info")
    from importlib.metadata import version  # takes as long to load as a quarter of a worker's start

    return version(NAME)


@cache
def library_hash() -> str:
    """A hash of the library: what its linker wrote of its content (the build id), or else of all of it."""
    import hashlib

    with open(library_path(), "rb") as file:
        head = file.read(_HEAD_BYTES)
        note = _BUILD_ID.search(head)
        if note is not None:
            return head[note.end() : note.end() + note.group()[4]].hex()
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()
