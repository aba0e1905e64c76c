"""Counts the instructions that a worker executes for each message, by valgrind: they do not depend on the machine's
other load.

    python bench/instructions.py [--batch N …] [--guests N] [--binary] [--bytes N]

The worker's loop runs in this process, one iteration for each batch of messages to one C guest, or to several in turn;
what goes over its link is handed over without a socket. Two runs of different length are counted, and their
difference is shown: what starting takes is in both.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any, Final, TypeVar

from guesthouse.core.config import Settings
from guesthouse.link.frames import encode, from_worker
from guesthouse.link.schema import PROTOCOL_VERSION
from guesthouse.link.to_node import Call, Push, ToNode
from guesthouse.link.to_worker import Configure, Ping, Reply, Start
from guesthouse.link.to_worker import Push as Pushed
from guesthouse.wasm import self_check
from guesthouse.wasm.engine import epoch_timer
from guesthouse.worker import scheduler
from guesthouse.worker.loop import WorkerLoop
from servers import component
from worker_link import compiled, limits_of, opened

_M = TypeVar("_M", bound=ToNode)

_SHORT, _LONG = 160, 960
_SIZE: Final = 128
_WARM: Final = 480
_CHANNELS: Final = 50


class _Link:
    """A link without a socket: the worker reads what a generator makes, which is given what the worker wrote."""

    def __init__(self) -> None:
        self._answers = from_worker()
        self._ours, self._theirs = socket.socketpair()
        self._ours.close()  # so that there is always something to read
        self.written: list[bytes] = []
        self.frames: Iterator[bytes | bytearray] = iter(())

    def fileno(self) -> int:
        return self._theirs.fileno()

    def recv_into(self, buffer: memoryview) -> int:
        frame = next(self.frames, b"")
        buffer[: len(frame)] = frame
        return len(frame)

    def sendall(self, data: bytes) -> None:
        self.written.append(data)

    def taken(self, kind: type[_M]) -> list[_M]:
        """What the worker wrote since the last call, of that kind."""
        written, self.written = self.written, []
        messages = (message for data in written for message in self._answers.feed(data))
        return [message for message in messages if isinstance(message, kind)]


def frames(
    link: _Link, messages: int, batch: int, kind: int, size: int, guests: int
) -> Iterator[bytes | bytearray]:
    """What a node sends guests that answer so many messages."""
    path = os.fsencode(compiled(component("echo-c")))
    yield encode([Configure(PROTOCOL_VERSION)])
    for handle in range(1, guests + 1):
        yield encode([Start(handle, f"bench.os@g{handle}:g:bench.os", path, "none", limits_of(Settings()))])
        while not (calls := link.taken(Call)):
            yield encode([Ping()])
        while calls:
            yield encode([Reply(handle, call.call_id, None) for call in calls])
            calls = link.taken(Call)
    of_channels = [(at % guests + 1, at + 1) for at in range(_CHANNELS)]
    for handle, channel_id in of_channels:
        yield encode([opened(handle, channel_id)])
    link.taken(Push)
    pushes = [Pushed(*of_channels[at % _CHANNELS], kind, b"x" * size) for at in range(batch * _CHANNELS)]
    ready = [encode(pushes[start : start + batch]) for start in range(0, len(pushes), batch)]
    turns = (messages + _WARM) // batch
    for turn in range(turns):
        yield ready[turn % len(ready)]
        if turn < turns - 1:
            link.written.clear()  # decoding them would be counted
    answered = len(link.taken(Push))
    if answered != batch:
        raise SystemExit(f"the last {batch} messages had {answered} answers")


def drive(messages: int, batch: int, kind: int, size: int, guests: int) -> None:
    """Run a worker's loop until guests have answered so many messages."""

    def ignore(*_: object) -> None:
        """For what does not work under valgrind."""

    # Memories are at addresses that the self-check takes for others, and each slice would be long.
    setattr(self_check, "check", ignore)  # noqa: B010 - it is another's
    setattr(epoch_timer, "_timer_settime", ignore)  # noqa: B010
    setattr(scheduler, "perf_counter", count(0.0, 1e-6).__next__)  # noqa: B010
    epoch_timer.start_thread()
    link = _Link()
    link.frames = frames(link, messages, batch, kind, size, guests)
    WorkerLoop(link).run()  # type: ignore[arg-type] # all of a socket that it uses
    os._exit(0)


def counted(*arguments: object) -> int:
    """Instructions of a run of this script."""
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        sys.executable,
        __file__,
        "--drive",
    ]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"valgrind failed: {done.stderr[-2000:]}")
    return int(found[1])


def main() -> None:
    """Count and print."""
    if sys.argv[1:2] == ["--drive"]:
        messages, batch, kind, size, guests = map(int, sys.argv[2:])
        drive(messages, batch, kind, size, guests)
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[1, 8], help="messages that the worker finds at once"
    )
    parser.add_argument("--guests", type=int, default=1, help="each has every so many of the messages")
    parser.add_argument("--binary", action="store_true", help="instead of text")
    parser.add_argument("--bytes", type=int, default=_SIZE)
    options: Any = parser.parse_args()
    # Once without counting: the first run compiles the component, and modules that have changed.
    subprocess.run([sys.executable, __file__, "--drive", str(_SHORT), "1", "0", str(_SIZE), "1"], check=True)
    for batch in options.batch:
        short, long = (
            counted(count, batch, int(options.binary), options.bytes, options.guests)
            for count in (_SHORT, _LONG)
        )
        print(f"{batch} at once: {(long - short) / (_LONG - _SHORT):,.0f} instructions a message", flush=True)


if __name__ == "__main__":
    main()
