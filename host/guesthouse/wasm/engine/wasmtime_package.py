"""Where the `wasmtime` package is, and which version: found without loading it."""

from __future__ import annotations

import os
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

NAME: Final = "wasmtime"


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
