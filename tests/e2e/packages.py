"""The packages that the tests run, built once."""

from __future__ import annotations

import fcntl
from functools import cache
from pathlib import Path
from typing import Final

from guesthouse.package.build import build_package

ROOT: Final = Path(__file__).parents[2]
_PLACES: Final = (ROOT / "tests/e2e/guests", ROOT / "sample_processes")


@cache
def package(name: str) -> Path:
    """The folder of a sample or a test guest, with its components built from what stands there now."""
    (folder,) = (place / name for place in _PLACES if (place / name).is_dir())
    with open(folder / "package.toml") as lock:  # other processes of this run want the same
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build_package(folder)
