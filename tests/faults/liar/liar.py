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

import msgspec

from guesthouse.link.frames import MAX_FRAME, MOST_MESSAGES
from guesthouse.link.schema import PROTOCOL_VERSION

READY, EXITED, CONSUMED, PUSH, PUSH_MANY, SEND, LOG, PONG, PLACED, RELEASED = 0, 2, 3, 4, 5, 8, 12, 14, 24, 25
START, STOP = 1, 2
"""Messages by their numbers: what a liar says is not what the product's own types let one say."""
LENGTH: Final = struct.Struct("<I")


def _frame(body: bytes, length: int | None = None) -> bytes:
    return LENGTH.pack(len(body) if length is None else length) + body


def _said(*messages: Any) -> bytes:
    return _frame(msgspec.msgpack.encode(messages))


def _array(count: int) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big")


def _send(run: int, number: int) -> list[Any]:
    target = "none@two:lies:test.os" if number % 2 else f"nowhere{number}:lies:test.os"
    return [SEND, run, target, b"flood", False, 5, None, None, None, None, 0, 0, []]


FLOOD: Final = 3_000
"""Frames of a flood: millions of messages would say no more, and take as long on any machine."""

TO_NODE: Final[dict[str, Callable[[int, bytes], bytes]]] = {
    "noise": lambda run, frame: b"\xff" * 64,
    "more than a frame may hold": lambda run, frame: LENGTH.pack(MAX_FRAME + 1),
    "not MessagePack": lambda run, frame: _frame(b"\xc1\x00\xfe" * 9),
    "no list": lambda run, frame: _frame(msgspec.msgpack.encode({"a": 1})),
    "no message": lambda run, frame: _said([], "x"),
    "too deep": lambda run, frame: _frame(b"\x91" * 60_000_000),
    "a frame that ends early": lambda run, frame: _frame(frame[4:-3]),
    "a length that is too short": lambda run, frame: _frame(frame[4:], len(frame) - 4 - 3),
    "a frame with its middle cut out": lambda run, frame: (
        frame[: len(frame) // 2 - 1] + frame[len(frame) // 2 :] * 9
    ),
    "a message that does not exist": lambda run, frame: _said([99, run]),
    "fields of the wrong kind": lambda run, frame: _said([LOG, run, 1, 2, 3]),
    "a field too many": lambda run, frame: _said([PONG, 1]),
    "a run that it was not given": lambda run, frame: _said([CONSUMED, 9_999, 1]),
    "the first runs of the node, which are not all its own": lambda run, frame: _said(
        *([EXITED, handle, "trap", ""] for handle in (1, 2) if handle != run)
    ),
    "more consumed than was sent": lambda run, frame: _said([CONSUMED, run, 100_000]),
    "another version of the link": lambda run, frame: _said([READY, 999, 1]),
    "that it is ready, again": lambda run, frame: _said([READY, PROTOCOL_VERSION, 1]),
    "a cause that does not exist": lambda run, frame: _said([EXITED, run, "fun", ""]),
    "a dictionary of large integers": lambda run, frame: _said({number << 61: 0 for number in range(8)}),
    "large integers of one hash, in tags of CBOR": lambda run, frame: _frame(
        b"\xba\x00\x06\x1a\x80" + b"\xc2\x4a\x20\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00" * 400_000
    ),
    "a regular expression, in a tag of CBOR": lambda run, frame: _frame(b"\x81\xd8\x23\x6a(a+)+(a+)+b"),
    "an extension type": lambda run, frame: _frame(b"\x91\xc7\x0c\xff" + bytes(12)),
    "sixty million empty lists": lambda run, frame: _frame(_array(60_000_000) + b"\x90" * 60_000_000),
    "sixty million channels": lambda run, frame: _frame(
        b"\x91\x95\x05" + bytes([run]) + _array(60_000_000) + b"\x01" * 60_000_000
    ),
    "four million answers in a frame": lambda run, frame: _frame(_array(4_000_000) + b"\x91\x0e" * 4_000_000),
    "answers to nothing, without end": lambda run, frame: _said(*[[PONG]] * MOST_MESSAGES) * FLOOD,
    "a payload beyond the memory that it shares": lambda run, frame: _said(
        [PLACED, [PUSH, run, 1, 1, b""], 2**32 - 65_536, 65_536]
    ),
    "a payload larger than that memory": lambda run, frame: _said(
        [PLACED, [PUSH, run, 1, 1, b""], 0, 2**32 - 1]
    ),
    "a payload of another kind of message there": lambda run, frame: _said([PLACED, [LOG, run], 0, 65_536]),
    "that it took what it was not sent": lambda run, frame: _said([RELEASED, 2**32 - 1]),
    "text that is no text": lambda run, frame: _frame(
        b"\x91\x95\x0c" + bytes([run]) + b"\xa4host\xa4info\xa3\xed\xa0\x80"
    ),
}
FLOODS: Final[dict[str, Callable[[int, bytes], bytes]]] = {
    "requests to nobody": lambda run, frame: (
        _said(*(_send(run, number) for number in range(MOST_MESSAGES))) * FLOOD
    ),
    "pushes to channels that there are not": lambda run, frame: (
        _said(*[[PUSH_MANY, run, list(range(10_000, 11_024)), 0, b"x"]] * MOST_MESSAGES) * (FLOOD // 100)
    ),
    "lines": lambda run, frame: _said(*[[LOG, run, "host", "debug", "x"]] * MOST_MESSAGES) * (FLOOD // 3),
}
"""What a correct worker may say too, if less of it: nobody is ended for it, and the real worker goes on."""
TO_WORKER: Final[dict[str, Callable[[int, bytes], bytes]]] = {
    "noise to the worker": lambda run, frame: b"\xff" * 64,
    "not MessagePack to the worker": lambda run, frame: _frame(b"\xc1\x00\xfe" * 9),
    "a message that does not exist to the worker": lambda run, frame: _said([99, run]),
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
                self._note_runs(msgspec.msgpack.decode(frame[4:]))
            elif self._lie in TO_NODE:
                self._tell(TO_NODE[self._lie], other, frame)
                continue
            elif self._lie in FLOODS:
                self._tell(FLOODS[self._lie], other, frame)
            elif self._lie == SILENT:
                other.sendall(frame[: len(frame) // 2])
                os._exit(0)
            other.sendall(frame)

    def _tell(self, lie: Callable[[int, bytes], bytes], to: socket.socket, frame: bytes) -> None:
        self._lie = None
        to.sendall(lie(next(iter(self._runs)), frame))

    def _note_runs(self, messages: list[Any]) -> None:
        for message in messages:
            if message[0] == START:
                self._runs[message[1]] = message[2]
            elif message[0] == STOP:
                self._runs.pop(message[1], None)


def main() -> None:
    node = socket.socket(fileno=int(sys.argv[-1]))
    ours, theirs = socket.socketpair()
    command = [*sys.argv[2:-1], str(theirs.fileno())]
    shared = command[command.index("--memory-fds") + 1].split(",") if "--memory-fds" in command else []
    worker = subprocess.Popen(command, pass_fds=(*map(int, shared), theirs.fileno()))
    theirs.close()
    liar = Liar(node, ours, Path(sys.argv[1]))
    signal.signal(signal.SIGUSR1, liar.asked)
    with suppress(BrokenPipeError, ConnectionResetError):
        liar.carry()
    ours.close()
    sys.exit(worker.wait())


if __name__ == "__main__":
    main()
