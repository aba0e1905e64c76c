"""The servers that are measured: each a subprocess that says when it is ready."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_processes"


@contextlib.contextmanager
def bare_websockets() -> Iterator[str]:
    """The bare `websockets` echo server's URL."""
    with _running([sys.executable, str(ROOT / "bench/peer_websockets.py"), "0"]) as line:
        yield f"ws://127.0.0.1:{line.split()[1]}/"


@contextlib.contextmanager
def guesthouse(*samples: str, workers: int = 1) -> Iterator[str]:
    """The URL of a node that runs the sample packages, without a path."""
    with tempfile.TemporaryDirectory() as home:
        packages = [str(SAMPLES / sample) for sample in samples]
        command = [sys.executable, "-m", "guesthouse", "run", "--home", home, "--port", "0"]
        with _running([*command, "--workers", str(workers), *packages]) as line:
            yield "ws://" + urlsplit(line.split()[1]).netloc


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[str]:
    """Start a server; yields the line it prints when it is ready."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready"):
            raise SystemExit(f"{command[1]} did not start")
        yield line
    finally:
        process.terminate()
        process.wait(10)
