"""Writes state and is killed, again and again: `python power_cut.py DATABASE ROUNDS`.

Each round forks a writer that stores ever higher numbers through `State` and reports each once it is told that it is
durable. At a random moment it gets SIGKILL. What is stored then has to be whole, and no older than reported.
Prints how many writes were reported in all.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import struct
import sys
import time
from pathlib import Path

from guesthouse.core.address import ProcessId
from guesthouse.kernel.storage.database import State

OWNER = ProcessId.parse("chat:chat:a.os")
NUMBER = struct.Struct("<Q")


class Silent:
    """A log that nobody reads."""

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        """See `LogPort`."""


def value_of(number: int) -> bytes:
    """What is stored for a number: a few bytes to 20 KB, and no part of it could be another's."""
    return b"%d:" % number + b"%d" % (number % 10) * (number * 7919 % 20000) + b":%d" % number


async def write(path: Path, after: int, reports: int) -> None:
    state = State(path, 1 << 20, Silent())
    loop = asyncio.get_running_loop()
    number = after
    while True:
        number += 1
        done: asyncio.Future[object] = loop.create_future()
        state.set(OWNER, value_of(number), done.set_result)
        if await done is not None:
            os._exit(3)
        os.write(reports, NUMBER.pack(number))


def one_round(path: Path, after: int, chance: random.Random) -> int:
    """Returns the last number that was reported as durable."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        asyncio.run(write(path, after, writing))
    os.close(writing)
    reported = after
    for _ in range(chance.randrange(1, 8)):
        reported = NUMBER.unpack(os.read(reading, NUMBER.size))[0]
    time.sleep(chance.random() * 0.003)
    os.kill(pid, signal.SIGKILL)
    while data := os.read(reading, NUMBER.size):
        reported = NUMBER.unpack(data)[0]
    os.close(reading)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status), "the writer ended by itself"
    return reported


def stored(path: Path) -> int:
    """The number that is stored, whole."""
    database = sqlite3.connect(path)
    (value,) = database.execute("SELECT bytes FROM state").fetchone()
    database.close()
    number = int(bytes(value).partition(b":")[0])
    assert value == value_of(number), "torn"
    return number


def main(path: Path, rounds: int) -> None:
    chance, last, writes = random.Random(4), 0, 0
    for _ in range(rounds):
        reported = one_round(path, last, chance)
        number = stored(path)
        assert number in (reported, reported + 1), f"{number} is stored, {reported} was reported"
        writes += reported - last
        last = number
    print(writes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
