"""The OS process of a worker: spawned, listened to, waited for, killed. Imports no asyncio before it is spawned, so
that a worker can load while the node still does (`prespawn.py`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

import guesthouse

_PASSED_ON: Final = ("LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR")
_NEEDED: Final = ("msgspec", "wasmtime")
"""What a worker loads besides its own code and what comes with Python."""
_CHUNK: Final = 8 * 1024


def worker_command(confinement: Mapping[str, object] | None = None) -> list[str]:
    """The command of a worker, without its `--link-fd N`. `-P`: the current folder holds no modules; `-S`: nor do the
    folders of `site`, and what is there to be run at a start is not. `spawn` says where its modules are.

    Args:
        confinement: how it is to confine itself (`worker.confinement.obey`); None: not at all.
    """
    how = [] if confinement is None else ["--confinement", json.dumps(confinement)]
    return [sys.executable, "-P", "-S", "-m", "guesthouse.worker", *how]


class WorkerSubprocess:
    """A subprocess that was spawned. Whoever has it ends it: by `kill`, then `wait` or `wait_blocking`.

    Attributes:
        link: the node's end of its link; whoever speaks over it closes it.
    """

    def __init__(self, popen: subprocess.Popen[bytes], link: socket.socket) -> None:
        self.link = link
        self._popen = popen

    @property
    def pid(self) -> int:
        """Its number in the operating system."""
        return self._popen.pid

    def kill(self) -> None:
        """End it and whatever it started, unless it is known to have ended."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def wait_blocking(self) -> int:
        """Return its exit status once it has ended; negative for a signal."""
        return self._popen.wait()

    async def wait(self) -> int:
        """The same. When this is cancelled a thread waits on until it ends, which is to be seen to."""
        import asyncio

        return await asyncio.to_thread(self._popen.wait)

    async def stderr_lines(self) -> AsyncIterator[str]:
        """What it says on its standard error, to the end; a line that is long in pieces. Closes it."""
        import asyncio

        assert self._popen.stderr is not None  # noqa: S101 - `spawn` pipes it
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._popen.stderr
        )
        rest = b""
        try:
            while chunk := await reader.read(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _CHUNK:
                    lines, rest = [*lines, rest], b""
                for line in filter(None, lines):
                    yield line.decode(errors="replace")
            if rest:
                yield rest.decode(errors="replace")
        finally:
            transport.close()

    def abandon(self) -> None:
        """End it before anyone has spoken with it, and wait for that."""
        assert self._popen.stderr is not None  # noqa: S101 - `spawn` pipes it
        self.link.close()
        self._popen.stderr.close()
        self.kill()
        self.wait_blocking()


def _folder_of(package: str) -> Path:
    """Where a package is, found without loading it."""
    spec = PathFinder.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(spec.origin).parent.parent


def spawn(command: Sequence[str]) -> WorkerSubprocess:
    """Spawn a worker.

    Args:
        command: without `--link-fd N`.

    Raises:
        OSError: the operating system refuses.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    folders = Path(guesthouse.__file__).parent.parent, *map(_folder_of, _NEEDED)
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(map(str, folders)))
    environment["LC_ALL"] = "C.UTF-8"
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            popen = subprocess.Popen(  # noqa: S603 - the command is the node's own
                [*command, "--link-fd", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd="/",
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        except BaseException:
            ours.close()
            raise
    return WorkerSubprocess(popen, ours)
