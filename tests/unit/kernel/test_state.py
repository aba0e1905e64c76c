from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guesthouse.address import ProcessId
from guesthouse.kernel.state import State, StateError

CHAT, OTHER = ProcessId.parse("chat:chat:a.os"), ProcessId.parse("other:other:b.os")


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, source: str, level: str, text: str, *, stream: str = "host") -> None:
        self.lines.append(text)


async def asked(call: Any, *arguments: Any) -> Any:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    call(*arguments, future.set_result)
    return await future


async def test_state_survives_closing_and_is_each_process_own(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 100, Lines())
    assert await asked(state.get, CHAT) is None
    assert await asked(state.set, CHAT, b"\x00one") is None
    assert await asked(state.set, OTHER, b"two") is None
    await state.close()
    state = State(tmp_path / "s", 100, Lines())
    assert await asked(state.get, CHAT) == b"\x00one"
    assert await asked(state.clear, CHAT) is None
    assert await asked(state.get, CHAT) is None
    assert await asked(state.get, OTHER) == b"two"
    await state.close()


async def test_the_quota_holds_to_the_byte_and_leaves_what_was_there(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 10, Lines())
    assert await asked(state.set, CHAT, b"x" * 10) is None
    assert await asked(state.set, CHAT, b"y" * 11) == "too-big"
    assert await asked(state.get, CHAT) == b"x" * 10
    await state.close()


async def test_a_commit_syncs_the_log_to_the_disk(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 10, Lines())
    database = state._database
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    await state.close()


async def test_calls_are_answered_in_order(tmp_path: Path) -> None:
    state = State(tmp_path / "s", 10, Lines())
    answers: list[Any] = []
    for number in range(1000):
        state.set(CHAT, str(number).encode(), answers.append)
        state.get(CHAT, answers.append)
    await state.close()
    await asyncio.sleep(0)
    assert answers == [value for number in range(1000) for value in (None, str(number).encode())]


async def test_storage_that_fails_is_said_to_the_process_and_logged(tmp_path: Path) -> None:
    log = Lines()
    state = State(tmp_path / "s", 10, log)
    other = sqlite3.connect(tmp_path / "s")
    other.execute("DROP TABLE state")
    other.close()
    assert await asked(state.set, CHAT, b"x") == "storage"
    assert "no such table" in log.lines[0]
    await state.close()


async def test_what_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"this is not a database, and long enough to be seen as none" * 20)
    with pytest.raises(StateError, match="not a database: make it readable"):
        State(tmp_path / "s", 10, Lines())


WRITER = """
import asyncio, sys
from pathlib import Path
from guesthouse.address import ProcessId
from guesthouse.kernel.state import State

class Lines:
    def write(self, *_, **__):
        pass

async def main():
    loop = asyncio.get_running_loop()
    state = State(Path(sys.argv[1]), 1 << 20, Lines())
    owner = ProcessId.parse("chat:chat:a.os")
    number = int(sys.argv[2])
    while True:
        number += 1
        done = loop.create_future()
        state.set(owner, b"%d:" % number + b"x" * (number * 7919 % 20000) + b":%d" % number, done.set_result)
        assert await done is None
        print(number, flush=True)

asyncio.run(main())
"""


async def stored_bytes(path: Path) -> bytes:
    state = State(path, 1 << 20, Lines())
    stored = await asked(state.get, CHAT)
    await state.close()
    assert isinstance(stored, bytes)
    return stored


def write_until_killed(path: Path, after: int, acknowledgements: int) -> int:
    """Returns the last number whose storing was acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(after)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(acknowledgements):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    rest = writer.stdout.read().splitlines()
    writer.stdout.close()
    writer.wait()
    return max([after + acknowledgements, *map(int, rest)])


def test_what_was_acknowledged_survives_sigkill_at_random_moments(tmp_path: Path) -> None:
    last, chance = 0, random.Random(4)
    for _ in range(12):
        acknowledged = write_until_killed(tmp_path / "s", last, chance.randrange(1, 40))
        first, filling, second = asyncio.run(stored_bytes(tmp_path / "s")).split(b":")
        last = int(first)
        assert first == second, "torn"
        assert filling == b"x" * (last * 7919 % 20000), "torn"
        assert last in (acknowledged, acknowledged + 1), "older than acknowledged"
