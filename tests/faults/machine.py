"""A machine that misbehaves: what is preloaded into a node makes its writes fail, and its wall clock another."""

from __future__ import annotations

import mmap
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

_LAYOUT: Final = struct.Struct("<qii")
_SHIM: Final = Path(__file__).parent / "shim"


@cache
def _built(folder: Path) -> Path:
    library = folder / "faults-shim.so"
    source = _SHIM / "shim.c"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(
            [
                *(sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror"),
                *("-target", "native-native-gnu", "-o", str(library), str(source)),
            ],
            check=True,
            timeout=120,
        )
    return library


class Machine:
    """What one node's machine does wrong; it can be changed at any time, also while the node runs.

    Args:
        folder: where the file is by which the node is told.
        cache: where the library is kept between runs.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self._path = folder / "faults"
        self._path.write_bytes(bytes(mmap.PAGESIZE))
        with self._path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)
        self._said = (0, 0, 0)
        self.variables = {"LD_PRELOAD": str(_built(cache)), "FAULTS_FILE": str(self._path)}
        """The node's environment."""

    def clock_is_off_by(self, seconds: float) -> None:
        """The wall clock jumps: from now on it shows so much more than the machine's."""
        self._say(round(seconds * 1e9), *self._said[1:])

    def writes_fail_with(self, error: int) -> None:
        """Every write to a file fails with this `errno`; 0: none does."""
        self._say(self._said[0], error, self._said[2])

    def syncs_fail_with(self, error: int) -> None:
        """The same for `fsync` and `fdatasync`."""
        self._say(*self._said[:2], error)

    def _say(self, *said: int) -> None:
        self._said = (said[0], said[1], said[2])
        self._map[:] = _LAYOUT.pack(*said)
