"""The OS process of a worker. Imports no asyncio at module level, so that the first workers can be spawned while the
node is still importing (`prespawn.py`).
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
from guesthouse.link.shared_memory import NodeMemory

_PASSED_ON: Final = ("LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR")
_NEEDED: Final = ("msgspec", "wasmtime")
"""What a worker loads besides its own code and what comes with Python."""
_CHUNK: Final = 8 * 1024
_END_SECONDS: Final = 0.5


def worker_command(confinement: Mapping[str, object] | None = None) -> list[str]:
    """Command of a worker, without `--link-fd N`. `-P` keeps the current folder out of `sys.path`; `-S` also keeps
    site-packages out and skips `.pth` files. `spawn` sets the folders that are needed.

    Args:
        confinement: how it is to confine itself (`worker.confinement.obey`); None: not at all.
    """
    how = [] if confinement is None else ["--confinement", json.dumps(confinement)]
    return [sys.executable, "-P", "-S", "-m", "guesthouse.worker", *how]


class WorkerSubprocess:
    """A spawned worker. The owner must end it by `kill`, then `wait` or `wait_blocking`.

    Attributes:
        link: the node's end of its link; to be closed by its user.
        memory: the node's end of the memory that it shares, if any; to be closed by its user.
    """

    def __init__(
        self, popen: subprocess.Popen[bytes], link: socket.socket, memory: NodeMemory | None = None
    ) -> None:
        self.link = link
        self.memory = memory
        self._popen = popen

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def kill(self) -> None:
        """Kill it and its children, unless it has exited."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def wait_blocking(self) -> int:
        """Wait for its exit status; negative for a signal."""
        return self._popen.wait()

    async def wait(self) -> int:
        """`wait_blocking` in a thread. If cancelled, the thread keeps waiting: kill it, too."""
        import asyncio

        return await asyncio.to_thread(self._popen.wait)

    async def stderr_lines(self) -> AsyncIterator[str]:
        """Lines of its standard error until its end, long ones split. Closes it."""
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
        """Kill it before its link was used, and wait for its exit."""
        assert self._popen.stderr is not None  # noqa: S101 - `spawn` pipes it
        self.link.close()
        if self.memory is not None:
            self.memory.close()
        self._popen.stderr.close()
        self.kill()
        self.wait_blocking()


def _folder_of(package: str) -> Path:
    """Where a package is, found without loading it."""
    spec = PathFinder.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(spec.origin).parent.parent


def spawn(
    command: Sequence[str],
    needed: Sequence[str] = _NEEDED,
    kind: socket.SocketKind = socket.SOCK_STREAM,
    *,
    shares_memory: bool = True,
) -> WorkerSubprocess:
    """Spawn a worker, or another subprocess of the node that has a link with it.

    Args:
        command: without `--link-fd N`.
        needed: what it loads besides the host's own code and what comes with Python.
        kind: of the link.
        shares_memory: whether large messages may cross in memory that both have.

    Raises:
        OSError: the operating system refuses.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    folders = Path(guesthouse.__file__).parent.parent, *map(_folder_of, needed)
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(map(str, folders)))
    environment["LC_ALL"] = "C.UTF-8"
    memory: NodeMemory | None = None
    ours, theirs = socket.socketpair(type=kind)
    with theirs:
        try:
            memory = _shared_memory() if shares_memory else None
            shared = () if memory is None else memory.descriptors
            options = ("--memory-fds", ",".join(map(str, shared))) if shared else ()
            popen = subprocess.Popen(  # noqa: S603 - the command is the node's own
                [*command, *options, "--link-fd", str(theirs.fileno())],
                pass_fds=(*shared, theirs.fileno()),
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
            if memory is not None:
                memory.close()
            raise
    return WorkerSubprocess(popen, ours, memory)


def _shared_memory() -> NodeMemory | None:
    """Memory to share with a worker; None where there is none, and all goes through the link's socket."""
    try:
        return NodeMemory()
    except (OSError, AttributeError):  # AttributeError: a Python or libc without memfd
        return None


async def wait_or_kill(subprocess: WorkerSubprocess) -> int:
    """Wait briefly for it to exit by itself, since its own exit status tells more."""
    import asyncio

    try:
        async with asyncio.timeout(_END_SECONDS):
            return await subprocess.wait()
    except TimeoutError:
        subprocess.kill()
        return await subprocess.wait()


def describe_exit(status: int, last_line: str) -> str:
    """How a subprocess ended, and the last line that it wrote, for people."""
    how = (
        f"exited with status {status}"
        if status >= 0
        else f"was killed by signal {-status} ({signal.strsignal(-status)})"
    )
    return f"{how}: {last_line}" if last_line else how
