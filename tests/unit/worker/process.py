"""A real worker subprocess, and the node's end of its link as a test drives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.wire import FrameReader, ToNode, ToWorker, to_worker
from wasmtime import wat2wasm

from guesthouse.link.frames import MOST_MESSAGES
from guesthouse.link.schema import PROTOCOL_VERSION
from guesthouse.package.compile.compile import compile_component
from guesthouse.wasm.artifact_files import PLAN_SUFFIX, core_path

PATIENCE: Final = 30.0
"""Seconds after which something that must come is said not to come."""
PLENTY: Final = 1 << 40
"""Credit for tests that are not about it."""
NODE: Final = "n.os"
OUR: Final = "n.os@tiny:tests:guesthouse.os"

LIMITS: Final[dict[str, Any]] = {
    "memory_bytes": 64 << 20,
    "table_elements": 10_000,
    "cpu_seconds_per_message": 20.0,
    "start_seconds": 20.0,
    "cpu_share": 1.0,
    "host_calls_per_second": 10_000_000,
    "log_lines_per_second": 200,
    "log_line_bytes": 8192,
    "wasi_handles": 64,
    "message_bytes": 1 << 20,
    "blob_bytes": 16 << 20,
}


class Worker:
    """One worker. A context manager: in the end it is dead.

    Args:
        folder: where compiled guests go.
        program: what Python runs.
        memory: descriptors of memory that is shared with it.
    """

    def __init__(
        self,
        folder: Path,
        program: Sequence[str] = ("-m", "guesthouse.worker"),
        memory: Sequence[int] = (),
    ) -> None:
        self._folder = folder
        self._compiled: dict[str, Path] = {}
        self._reader = FrameReader(of_worker=True)
        self._got: deque[list[Any]] = deque()
        self.frames: list[list[list[Any]]] = []
        """Operations frame by frame, since the last `forget`."""
        self._last_handle = 0
        self.handles: set[int] = set()
        self.link, theirs = socket.socketpair()
        self.link.settimeout(PATIENCE)
        with theirs:
            self.subprocess = subprocess.Popen(
                [
                    *(sys.executable, *program, "--link-fd", str(theirs.fileno())),
                    *(("--memory-fds", ",".join(map(str, memory))) if memory else ()),
                ],
                pass_fds=[theirs.fileno(), *memory],
                stderr=subprocess.PIPE,
                text=True,
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.link.close()
        self.subprocess.kill()
        self.subprocess.communicate()

    def configure(self) -> None:
        """Greet it, and wait until it is ready."""
        self.send([ToWorker.CONFIGURE, PROTOCOL_VERSION, {}])
        assert self.expect(ToNode.READY) == [ToNode.READY, PROTOCOL_VERSION, self.subprocess.pid]

    # Operations

    def send(self, *operations: list[Any]) -> None:
        """Send operations at once, in as many frames as it takes."""
        frames = range(0, len(operations), MOST_MESSAGES)
        self.link.sendall(b"".join(to_worker(*operations[at : at + MOST_MESSAGES]) for at in frames))

    def read(self) -> None:
        """Take what the worker sent next.

        Raises:
            EOFError: it closed the link.
            TimeoutError: it sends nothing.
        """
        data = self.link.recv(1 << 20)
        if not data:
            raise EOFError("the worker closed the link")
        for operation in self._reader.feed(data):
            self._got.append(operation)

    def expect(self, *start: Any) -> list[Any]:
        """Wait for the next operation that begins with these fields; others stay for later."""
        while True:
            for index, operation in enumerate(self._got):
                if operation[: len(start)] == list(start):
                    del self._got[index]
                    return operation
            self.read()

    def got(self, *start: Any) -> list[list[Any]]:
        """The operations that are there already and begin with these fields."""
        return [operation for operation in self._got if operation[: len(start)] == list(start)]

    def forget(self) -> None:
        """Drop what is there and was not asked for."""
        self._got.clear()

    def raw_frames(self, count: int) -> Iterator[list[list[Any]]]:
        """Read whole frames one by one, past `expect`."""
        for _ in range(count):
            size = int.from_bytes(self._exactly(4), "little")
            yield list(
                FrameReader(of_worker=True, whole=False).feed(
                    size.to_bytes(4, "little") + self._exactly(size)
                )
            )

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.link.recv(size - len(data))
        return data

    # Guests

    def compiled(self, wat: str) -> Path:
        """The file of a compiled guest; each text is compiled once."""
        path = self._compiled.get(wat)
        if path is None:
            made = compile_component(bytes(wat2wasm(wat)))
            path = self._compiled[wat] = self._folder / f"{len(self._compiled)}{PLAN_SUFFIX}"
            first, *modules = made.parts
            path.write_bytes(first)
            for number, module in enumerate(modules):
                core_path(path, number).write_bytes(module)
        return path

    def start(self, guest: str | Path, **limits: Any) -> Guest:
        """Start a guest, WAT or a compiled file, and wait for nothing."""
        self._last_handle += 1
        handle = self._last_handle
        path = guest if isinstance(guest, Path) else self.compiled(guest)
        settings = {"our": OUR, "component": str(path), "on_exit": "none", **LIMITS, **limits}
        self.send([ToWorker.START, handle, settings])
        self.handles.add(handle)
        return Guest(self, handle)

    def is_alive(self) -> bool:
        """Whether it still answers: a new guest echoes."""
        from .guests import ECHO

        guest = self.start(ECHO)
        guest.open(4_000_000_000)
        guest.push(4_000_000_000, b"alive?")
        alive = guest.pushed(4_000_000_000) == b"alive?"
        guest.stop()
        return alive

    # Its end

    def rss_kib(self) -> int:
        """What it has of memory now."""
        pages = int(Path(f"/proc/{self.subprocess.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 1024

    def end(self) -> tuple[int, str]:
        """Wait until it ends by itself; returns its exit code and what it wrote for people."""
        _, text = self.subprocess.communicate(timeout=PATIENCE)
        return self.subprocess.returncode, text

    def kill(self) -> None:
        """SIGKILL."""
        self.subprocess.send_signal(signal.SIGKILL)


class Guest:
    """One guest of a worker, as the node sees it."""

    def __init__(self, worker: Worker, handle: int) -> None:
        self.worker = worker
        self.handle = handle

    def started(self) -> Guest:
        """Wait until it asked for its first message."""
        self.worker.expect(ToNode.STARTED, self.handle)
        return self

    def open(self, channel_id: int, credit: int = PLENTY) -> None:
        """A client opens a channel."""
        self.send(
            ToWorker.OPEN, channel_id, "/", "127.0.0.1:1", None, [["id", "7"]], [], False, credit, "/", None
        )

    def push(self, channel_id: int, payload: bytes, message_type: int = 0) -> None:
        """A client sends a message."""
        self.send(ToWorker.PUSH, channel_id, message_type, payload)

    def send(self, operation: ToWorker, *fields: Any) -> None:
        """Send an operation that names this guest."""
        self.worker.send([operation, self.handle, *fields])

    def expect(self, operation: ToNode, *start: Any) -> list[Any]:
        """Wait for an operation of this guest; returns it without what names it."""
        return self.worker.expect(operation, self.handle, *start)[2:]

    def pushed(self, channel_id: int) -> bytes:
        """Wait for what it pushes next to a channel."""
        payload: bytes = self.expect(ToNode.PUSH, channel_id)[2]
        return payload

    def stop(self) -> list[Any]:
        """End it; returns cause and detail."""
        self.send(ToWorker.STOP, "the test is over")
        return self.death()

    def death(self) -> list[Any]:
        """Wait for its end; returns cause and detail."""
        found = self.expect(ToNode.EXITED)
        self.worker.handles.discard(self.handle)
        return found

    def log(self) -> list[str]:
        """The lines of its log that are there already."""
        return [operation[4] for operation in self.worker.got(ToNode.LOG, self.handle)]
