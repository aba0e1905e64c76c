"""A worker subprocess, and the node's end of its link driven by a benchmark: no node, no sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from compiled import FOLDER, SHARED
from guesthouse.core.config import PackageLimits, Settings
from guesthouse.link.frames import encode, from_worker
from guesthouse.link.schema import PROTOCOL_VERSION, Message
from guesthouse.link.to_node import Call, Exited, Ready, ToNode
from guesthouse.link.to_worker import Configure, GuestLimits, Open, Push, Reply, Start, Stop
from guesthouse.package.compile.compile import compile_component
from guesthouse.package.compile.compiler import Compiler
from guesthouse.wasm.artifact_files import PLAN_SUFFIX, core_path
from guesthouse.wasm.engine.engines import engine_key

_PATIENCE: Final = 120.0
PLENTY: Final = 1 << 60
"""Bytes of credit."""
_READ: Final = 1 << 20


def limits_of(settings: Settings) -> GuestLimits:
    """The limits of a process by a node's settings."""
    limits: dict[str, Any] = {}
    for section in (settings.connections, settings.process):
        limits |= {name: getattr(section, name) for name in type(section).__struct_fields__}
    limits |= {
        "message_bytes": settings.connections.message_bytes,
        "blob_bytes": settings.process.message_bytes,
    }
    return GuestLimits(**{name: limits[name] for name in GuestLimits.__struct_fields__})


def compiled(wasm: Path) -> Path:
    """The compiled form of a component, beside it; compiled as by the node's compiler, without its limits. Shared if
    nodes share compiled components.
    """
    if SHARED is not None:
        return asyncio.run(Compiler(SHARED / FOLDER, PackageLimits()).compiled(wasm))
    stem = f".{wasm.stem}-{engine_key()}"
    path = wasm.with_name(stem + PLAN_SUFFIX)
    if path.exists() and path.stat().st_mtime >= wasm.stat().st_mtime:
        return path
    made = compile_component(wasm.read_bytes())
    first, *modules = made.parts
    for number, module in enumerate(modules):
        _write(core_path(path, number), module)
    _write(path, first)
    return path


def _write(path: Path, content: bytes | bytearray) -> None:
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def opened(handle: int, channel_id: int) -> Open:
    """A channel with unlimited credit."""
    return Open(handle, channel_id, "/", "127.0.0.1:1", None, (), (), False, PLENTY, "/", None)


_M = TypeVar("_M")


class Worker:
    """One worker, answered as by a node: every binding is granted."""

    def __init__(self, link: socket.socket, subprocess_: subprocess.Popen[bytes]) -> None:
        self._link = link
        self._reader = from_worker()
        self._messages: deque[ToNode] = deque()
        self._settings = Settings()
        self._last_handle = 0
        self.pid = subprocess_.pid
        self.send(Configure(PROTOCOL_VERSION))
        self.expect(Ready)

    def send(self, *messages: Message) -> None:
        """Send messages as one frame."""
        self._link.sendall(encode(messages))

    def start(self, path: Path) -> int:
        """Start a guest without waiting; returns its handle."""
        self._last_handle += 1
        our = f"bench.os@g{self._last_handle}:bench:bench.os"
        limits = limits_of(self._settings)
        self.send(Start(self._last_handle, our, os.fsencode(path), "none", limits))
        return self._last_handle

    def open(self, handle: int, channel_id: int) -> None:
        """Tell a guest of a channel."""
        self.send(opened(handle, channel_id))

    def push(self, handle: int, channel_id: int, payload: bytes) -> None:
        """Send a guest a text message."""
        self.send(Push(handle, channel_id, 0, payload))

    def stop(self, handle: int) -> None:
        """End a guest and wait for its end."""
        self.send(Stop(handle, "the measurement is over"))
        self.expect(Exited)

    def expect(self, kind: type[_M]) -> _M:
        """Wait for the next message of a kind; others are dropped, or answered.

        Raises:
            SystemExit: a guest or the worker ended.
        """
        while True:
            while self._messages:
                message = self._messages.popleft()
                if isinstance(message, kind):
                    return message
                if isinstance(message, Exited):
                    raise SystemExit(f"guest {message.handle} ended: {message.cause}: {message.detail}")
                if isinstance(message, Call):
                    self.send(Reply(message.handle, message.call_id, None))
            data = self._link.recv(_READ)
            if not data:
                raise SystemExit("the worker ended")
            self._messages.extend(self._reader.feed(data))


@contextmanager
def worker() -> Iterator[Worker]:
    """A worker; at the end it is dead."""
    ours, theirs = socket.socketpair()
    ours.settimeout(_PATIENCE)
    with ours:
        with theirs:
            command = [sys.executable, "-m", "guesthouse.worker", "--link-fd", str(theirs.fileno())]
            child = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        try:
            yield Worker(ours, child)
        finally:
            child.kill()
            child.wait()
