"""The packages that the tests run, built once."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_PLACES: Final = (ROOT / "tests/e2e/guests", ROOT / "sample_processes")
_BUILD_SECONDS: Final = 180


def package(name: str) -> Path:
    """The folder of a sample or a test guest, with its components built from what stands there now."""
    (folder,) = (place / name for place in _PLACES if (place / name).is_dir())
    if _is_stale(folder):
        subprocess.run(
            [sys.executable, "-m", "guesthouse", "build", str(folder)], check=True, timeout=_BUILD_SECONDS
        )
    return folder


def _is_stale(folder: Path) -> bool:
    manifest = tomllib.loads((folder / "package.toml").read_text())
    languages = {process["build"]["language"] for process in manifest["process"]}
    sources = [folder, ROOT / "wit", *(ROOT / "guest_sdk" / language for language in languages)]
    built = [folder / process["wasm"] for process in manifest["process"]]
    if not all(wasm.exists() for wasm in built):
        return True
    return min(map(_time, built)) < max(_time(path) for source in sources for path in _files(source))


def _files(source: Path) -> list[Path]:
    passed_over = {"build", "ui", "tests", "testing", "__pycache__", "target"}
    return [
        path
        for path in source.rglob("*")
        if path.is_file() and not passed_over & set(path.relative_to(source).parts)
    ]


def _time(path: Path) -> float:
    return path.stat().st_mtime
