"""The measured servers: subprocesses that report when they are ready."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import compiled
from guesthouse.package.build.build_package import build_package
from usage import Usage, children

ROOT: Final = Path(__file__).resolve().parent.parent
PEERS: Final = ROOT / "bench" / "peers"
SAMPLES: Final = ROOT / "sample_processes"
_PACKAGES: Final = (ROOT / "bench" / "guests", SAMPLES)
_STOP_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    url: str
    """Its WebSocket URL, without a path."""
    pid: int

    def own(self) -> Usage:
        """The usage of its first subprocess: all of a peer; a node without its workers."""
        return Usage.of(self.pid)

    def workers(self) -> Usage:
        """The usage of a node's workers."""
        return Usage.of(*children(self.pid))

    def all(self) -> Usage:
        """The total usage."""
        return Usage.of(self.pid, *children(self.pid))


def package(name: str) -> Path:
    """The folder of a sample package or one of `bench/guests`, built if necessary."""
    (folder,) = (place / name for place in _PACKAGES if (place / name).is_dir())
    return build_package(folder)


def component(name: str) -> Path:
    """The component of such a package with one process."""
    return package(name) / "build" / f"{name}.wasm"


@contextlib.contextmanager
def peer(name: str, certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """A server of `bench/peers`; with a certificate and its key by TLS, where it can."""
    files = [str(path) for path in certificate or ()]
    with _running([sys.executable, str(PEERS / f"{name}.py"), "0", *files]) as (line, pid):
        yield Server(f"{'wss' if files else 'ws'}://127.0.0.1:{line.split()[1]}", pid)


@contextlib.contextmanager
def guesthouse(
    *packages: str | Path,
    workers: int = 1,
    settings: Mapping[str, object] | None = None,
    home: Path | None = None,
) -> Iterator[Server]:
    """A node that runs packages.

    Args:
        packages: names for `package`, or what `guesthouse run` takes.
        workers: worker subprocesses.
        settings: as `{"process_cpu_seconds_per_message": …}`, against the defaults.
        home: its folder; a new one when None.
    """
    with contextlib.ExitStack() as stack:
        folder = home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="guesthouse-bench-")))
        arguments = [str(each if _is_argument(each) else package(str(each))) for each in packages]
        command = [sys.executable, "-m", "guesthouse", "run", "--home", str(folder), "--port", "0"]
        command += ["--workers", str(workers), *arguments]
        compiled.give(folder)
        line, pid = stack.enter_context(_running(command, settings))
        compiled.keep(folder)
        url = urlsplit(line.split()[1])
        yield Server(f"{'wss' if url.scheme == 'https' else 'ws'}://{url.netloc}", pid)


def environment(settings: Mapping[str, object] | None = None) -> dict[str, str]:
    """The environment of a node: this one's without Guesthouse's settings, and with those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUESTHOUSE_")}
    return kept | {f"GUESTHOUSE_{name.upper()}": str(value) for name, value in (settings or {}).items()}


def _is_argument(name: str | Path) -> bool:
    return isinstance(name, Path) or "=" in name


@contextlib.contextmanager
def _running(
    command: Sequence[str], settings: Mapping[str, object] | None = None
) -> Iterator[tuple[str, int]]:
    """Start a server; yields the line that it prints when it is ready, and its pid. Its log is kept for errors at
    the start.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(settings)
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("ready"):
                process.wait(_STOP_SECONDS)
                log.seek(0)
                last = " / ".join(log.read().splitlines()[-3:])
                raise SystemExit(f"{' '.join(command[1:4])[:200]} did not start: {last[:1000]}")
            yield line, process.pid
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
