"""`python -m guesthouse …` without its imports, which are half of the CPU time of a node's start: a fork of an
interpreter that has them (`fork_server.py`), which each process of a run has one of.

A fork is an OS process like any other: with a pid, standard streams, descriptors, variables and a folder of its own.
Its parent is the fork server, and its command line reads as that one's.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Self

_SCRIPT: Final = Path(__file__).with_name("fork_server.py")
_HIGHEST: Final = 100
"""A descriptor that a fork is given has no higher number."""
_OF_STARTS: Final = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "COV_", "COVERAGE_", "MALLOC_")
"""Variables that are read when an interpreter starts: with others than the fork server's, a fork would not do."""


class Report(asyncio.Protocol):
    """What the fork server says of a fork: its pid, and in the end its exit code and CPU seconds."""

    def __init__(self) -> None:
        self._received = b""
        loop = asyncio.get_running_loop()
        self.pid: asyncio.Future[int] = loop.create_future()
        self.code: asyncio.Future[int] = loop.create_future()
        self._transport: asyncio.BaseTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        global _used
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            number, *seconds = line.split()
            (self.code if seconds else self.pid).set_result(int(number))
            _used += sum(map(float, seconds))
        if self.code.done():
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for each in (self.pid, self.code):
            if not each.done():
                each.set_exception(RuntimeError("the fork server ended"))
                each.exception()  # perhaps nobody waits for it


class Forked:
    """A fork: what is used of `asyncio.subprocess.Process`."""

    def __init__(
        self, report: Report, pid: int, stdout: asyncio.StreamReader, pipes: Sequence[asyncio.BaseTransport]
    ) -> None:
        self._report = report
        self.pid = pid
        self.stdout = stdout
        self._pipes = pipes

    @property
    def returncode(self) -> int | None:
        """The exit code, or the number of the signal that ended it, negative; None while it runs."""
        return self._report.code.result() if self._report.code.done() else None

    async def wait(self) -> int:
        """Wait for its end, and return that. What it wrote and was not read is lost then."""
        await asyncio.wait([self._report.code])
        for each in self._pipes:
            each.close()
        await asyncio.sleep(0)  # the event loop closes them
        return self._report.code.result()

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # the report of its end is on the way
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class _ForkServer:
    """The fork server of this process, which `stop` ends, and so does the end of this process."""

    def __init__(self) -> None:
        self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            self._process = subprocess.Popen(
                [sys.executable, str(_SCRIPT), str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**kept, "PYTHONWARNINGS": "default"},
                pass_fds=(other.fileno(),),
            )

    def ask(self, request: bytes, descriptors: Sequence[int]) -> None:
        """Have it fork."""
        socket.send_fds(self._control, [request], descriptors)

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    def stop(self) -> None:
        """End it; what it forked runs on."""
        self._control.close()
        self._process.wait()


_server: _ForkServer | None = None
_used = 0.0


def used_seconds() -> float:
    """CPU time of forks that have ended. Once the fork server has ended, it counts with them as any subprocess."""
    return _used


def server_pid() -> int | None:
    """The pid of the fork server of this process, if there is one."""
    return None if _server is None else _server.pid


def stop() -> None:
    """End the fork server of this process, if there is one."""
    global _server, _used
    if _server is not None:
        _server.stop()
        _server, _used = None, 0.0


def can_fork(environment: Mapping[str, str], descriptors: Sequence[int] = ()) -> bool:
    """Whether a fork is what a new interpreter with these variables would be. Coverage is measured in new ones."""
    own = {**os.environ, "PYTHONWARNINGS": "default"}
    names = {name for name in (*own, *environment) if name.startswith(_OF_STARTS)}
    python = {name for name in names if name.startswith("PYTHON") and name not in environment}
    same = all(own.get(name) == environment.get(name) for name in names - python)
    return (
        same
        and not any(name.startswith(("COV_", "COVERAGE_")) for name in names)
        and max(descriptors, default=0) < _HIGHEST
    )


async def fork(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    stdin: int | None = None,
    stderr: IO[bytes],
    descriptors: Sequence[int] = (),
) -> Forked:
    """Run `python -m guesthouse ARGUMENTS…`.

    Args:
        arguments: of the command.
        environment: all its variables.
        folder: that it runs in.
        stdin: a descriptor; nothing is read where there is none.
        stderr: where it writes its errors; its output is read from `Forked.stdout`.
        descriptors: that it inherits, under the same numbers.
    """
    global _server
    if _server is None:
        _server = _ForkServer()
        atexit.register(stop)
    request = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "folder": str(folder),
        "descriptors": list(descriptors),
    }
    with _Pipe() as told, _Pipe() as output, _Pipe() as nothing:
        given = nothing.read.fileno() if stdin is None else stdin
        _server.ask(
            json.dumps(request).encode(),
            [told.write, given, output.write, stderr.fileno(), *descriptors],
        )
        loop = asyncio.get_running_loop()
        reports, report = await loop.connect_read_pipe(Report, told.take_read())
        stdout = asyncio.StreamReader()
        outputs, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdout), output.take_read()
        )
    return Forked(report, await report.pid, stdout, (reports, outputs))


class _Pipe:
    """A pipe whose ends are closed at the end of the block, but for the one that was taken."""

    def __enter__(self) -> Self:
        read, self.write = os.pipe()
        self.read: IO[bytes] = open(read, "rb", buffering=0)
        self._taken = False
        return self

    def take_read(self) -> IO[bytes]:
        """The end to read from; whoever takes it closes it."""
        self._taken = True
        return self.read

    def __exit__(self, *_: object) -> None:
        os.close(self.write)
        if not self._taken:
            self.read.close()
