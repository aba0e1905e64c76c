"""`liar.py LIES_FILE COMMAND… --link-fd N`: starts a real worker by that command and carries its frames. At SIGUSR1
it tells the lie that is named in the file, to the node or to the worker: if the process `one` runs there, and no other.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import cbor2

from guesthouse.link.frames import MAX_FRAME, encode
from guesthouse.link.ops import ToNode, ToWorker

LENGTH: Final = struct.Struct("<I")


def _frame(body: bytes, length: int | None = None) -> bytes:
    return LENGTH.pack(len(body) if length is None else length) + body


def _deep() -> bytes:
    return b"\x81" * 100_000 + b"\x80"


TO_NODE: Final[dict[str, Callable[[int, bytes], bytes]]] = {
    "noise": lambda run, frame: b"\xff" * 64,
    "more than a frame may hold": lambda run, frame: LENGTH.pack(MAX_FRAME + 1),
    "not CBOR": lambda run, frame: _frame(b"\xff\x00\xfe" * 9),
    "no list": lambda run, frame: _frame(cbor2.dumps({"a": 1})),
    "no operation": lambda run, frame: _frame(cbor2.dumps([[], "x"])),
    "too deep": lambda run, frame: _frame(_deep()),
    "a frame that ends early": lambda run, frame: _frame(frame[4:-3]),
    "a length that is too short": lambda run, frame: _frame(frame[4:], len(frame) - 4 - 3),
    "a frame with its middle cut out": lambda run, frame: (
        frame[: len(frame) // 2 - 1] + frame[len(frame) // 2 :] * 9
    ),
    "an operation that does not exist": lambda run, frame: encode([[99, run]]),
    "fields of the wrong kind": lambda run, frame: encode([[ToNode.LOG, run, 1, 2, 3]]),
    "a run that it was not given": lambda run, frame: encode([[ToNode.CONSUMED, 9_999, 1]]),
    "the first runs of the node, which are not all its own": lambda run, frame: encode(
        [[ToNode.EXITED, handle, "trap", ""] for handle in (1, 2) if handle != run]
    ),
    "more consumed than was sent": lambda run, frame: encode([[ToNode.CONSUMED, run, 100_000]]),
    "another version of the link": lambda run, frame: encode([[ToNode.READY, 999, 1]]),
    "a cause that does not exist": lambda run, frame: encode([[ToNode.EXITED, run, "fun", ""]]),
}
TO_WORKER: Final[dict[str, Callable[[int, bytes], bytes]]] = {
    "noise to the worker": lambda run, frame: b"\xff" * 64,
    "not CBOR to the worker": lambda run, frame: _frame(b"\xff\x00\xfe" * 9),
    "an operation that does not exist to the worker": lambda run, frame: encode([[99, run]]),
}
SILENT: Final = "half a frame, and then nothing"


class Liar:
    """Carries frames between `node` and `worker`; one end's end is the other's."""

    def __init__(self, node: socket.socket, worker: socket.socket, lies: Path) -> None:
        self._ends = {node: worker, worker: node}
        self._node, self._lies = node, lies
        self._buffers = {node: bytearray(), worker: bytearray()}
        self._lie: str | None = None
        self._runs: dict[int, str] = {}

    def asked(self, *_: object) -> None:
        """SIGUSR1: tell the lie of the file at the next chance."""
        if [our.partition("@")[2].partition(":")[0] for our in self._runs.values()] == ["one"]:
            self._lie = self._lies.read_text()

    def carry(self) -> None:
        """Until an end is closed."""
        while True:
            readable, _, _ = select.select(list(self._ends), [], [], 0.02)
            for end in readable:
                data = end.recv(262_144)
                if not data:
                    return
                self._buffers[end] += data
            for end, other in self._ends.items():
                self._carry_frames(end, other)
            if self._lie in TO_WORKER:
                self._tell(TO_WORKER[self._lie], self._ends[self._node], b"")

    def _carry_frames(self, end: socket.socket, other: socket.socket) -> None:
        buffer = self._buffers[end]
        while len(buffer) >= 4 and len(buffer) >= (size := 4 + LENGTH.unpack_from(buffer)[0]):
            frame = bytes(buffer[:size])
            del buffer[:size]
            if end is self._node:
                self._note_runs(cbor2.loads(frame[4:]))
            elif self._lie in TO_NODE:
                self._tell(TO_NODE[self._lie], other, frame)
                continue
            elif self._lie == SILENT:
                other.sendall(frame[: len(frame) // 2])
                os._exit(0)
            other.sendall(frame)

    def _tell(self, lie: Callable[[int, bytes], bytes], to: socket.socket, frame: bytes) -> None:
        self._lie = None
        to.sendall(lie(next(iter(self._runs)), frame))

    def _note_runs(self, operations: list[Any]) -> None:
        for operation in operations:
            if operation[0] == ToWorker.START:
                self._runs[operation[1]] = operation[2]["our"]
            elif operation[0] == ToWorker.STOP:
                self._runs.pop(operation[1], None)


def main() -> None:
    node = socket.socket(fileno=int(sys.argv[-1]))
    ours, theirs = socket.socketpair()
    command = [*sys.argv[2:-1], str(theirs.fileno())]
    worker = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
    theirs.close()
    liar = Liar(node, ours, Path(sys.argv[1]))
    signal.signal(signal.SIGUSR1, liar.asked)
    with suppress(BrokenPipeError, ConnectionResetError):
        liar.carry()
    ours.close()
    sys.exit(worker.wait())


if __name__ == "__main__":
    main()
