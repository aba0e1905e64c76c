"""Programs of other people, of Debian's packages, which `make test` unpacks without installing them."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Final

import pytest

UNPACKED: Final = Path(__file__).resolve().parents[2] / ".venv/unpacked/usr"


def found(name: str) -> str | None:
    """The path of a program, unpacked or installed."""
    places = [str(UNPACKED / folder) for folder in ("bin", "sbin")]
    return shutil.which(name, path=os.pathsep.join(places)) or shutil.which(name)


def needed(name: str) -> str:
    """The path of a program; the test is skipped where it cannot be had."""
    path = found(name)
    if path is None:
        pytest.skip(f"{name} is not there: `make test` fetches it where Debian's packages can be had")
    return path


def environment() -> dict[str, str]:
    """What such a program needs to find the libraries that were unpacked with it."""
    libraries = [str(path) for path in (UNPACKED / "lib").glob("*-linux-gnu")]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
