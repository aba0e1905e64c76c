"""Shares compiled components between the nodes of a benchmark, since compiling is not measured.

If `BENCH_COMPILED` names a folder of compiled components and their key, all nodes use that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

KEPT: Final = Path(__file__).resolve().parent / ".compiled"
_KEY: Final = "compiled.key"
FOLDER: Final = "compiled"
_MOST: Final = 20
"""Components."""
_NOTES: Final = "*.json"
"""There is one for each."""
SHARED: Final = Path(os.environ["BENCH_COMPILED"]) if "BENCH_COMPILED" in os.environ else None


def give(home: Path) -> None:
    """Copy the shared components and their key to a new home."""
    if SHARED is not None:
        if not (home / FOLDER).exists():
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            (home / FOLDER).symlink_to(SHARED / FOLDER)
            shutil.copy2(SHARED / _KEY, home / _KEY)
    elif (KEPT / _KEY).exists() and not (home / FOLDER).exists():
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copytree(KEPT / FOLDER, home / FOLDER)
        shutil.copy2(KEPT / _KEY, home / _KEY)


def keep(home: Path) -> None:
    """Add a home's compiled components to the shared ones, unless its key differs."""
    if SHARED is not None or not (home / _KEY).exists():
        return
    if not KEPT.exists():
        _keep_all(home)
    elif (KEPT / _KEY).read_bytes() == (home / _KEY).read_bytes():
        for path in (home / FOLDER).glob("[0-9a-f]*"):
            if not (KEPT / FOLDER / path.name).exists():
                _copy(path, KEPT / FOLDER)
        if sum(1 for _ in (KEPT / FOLDER).glob(_NOTES)) > _MOST:
            shutil.rmtree(KEPT)


def _copy(path: Path, folder: Path) -> None:
    partial = folder / f".new-{path.name}"
    shutil.copy2(path, partial)
    partial.replace(folder / path.name)


def _keep_all(home: Path) -> None:
    """Atomically, because another benchmark may do the same."""
    with tempfile.TemporaryDirectory(dir=KEPT.parent, prefix=".compiled-") as work:
        made = Path(work) / "made"
        shutil.copytree(home / FOLDER, made / FOLDER)
        shutil.copy2(home / _KEY, made / _KEY)
        with contextlib.suppress(OSError):  # the other was first
            made.rename(KEPT)
