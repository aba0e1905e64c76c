"""The packages that the tests run, built once."""

from __future__ import annotations

import fcntl
import filecmp
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from tests.rust import needs_cargo

from guesthouse.package.build.build_package import build_package

ROOT: Final = Path(__file__).parents[2]
_GUESTS: Final = ROOT / "tests/e2e/guests"
_PLACES: Final = (_GUESTS, ROOT / "sample_processes")
MODULES: Final = ROOT / "tests/e2e/node_modules"
"""What the tests take from npm."""
_PYTHON: Final = "python"
"""The package whose component is that of all test guests in Python."""


@cache
def package(name: str) -> Path:
    """The folder of a sample or a test guest, with its components built from what stands there now."""
    (folder,) = (place / name for place in _PLACES if (place / name).is_dir())
    if (folder / "Cargo.toml").is_file():
        needs_cargo()
    in_python = (_GUESTS / _PYTHON / f"{name}.py").is_file()
    component = package(_PYTHON) / f"build/{_PYTHON}.wasm" if in_python else None
    with _alone_in(folder):
        if component is not None:
            _copy(component, folder / f"build/{name}.wasm")
        if (folder / "package.json").is_file() and not (folder / MODULES.name).exists():
            (folder / MODULES.name).symlink_to(MODULES)
        return build_package(folder)


def built(folder: Path) -> Path:
    """A package of the tests of an SDK, built where it is from what stands there now, unless it is already."""
    with _alone_in(folder):
        return build_package(folder)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Other processes of this run want the same."""
    with open(folder / "package.toml") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _copy(component: Path, to: Path) -> None:
    to.parent.mkdir(exist_ok=True)
    if not (to.is_file() and filecmp.cmp(component, to, shallow=False)):
        partial = to.with_suffix(".partial")
        shutil.copyfile(component, partial)
        partial.replace(to)
