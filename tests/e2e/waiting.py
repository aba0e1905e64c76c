"""Bounded waiting, and whether subprocesses are really gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from tests.patience import PATIENCE

Value = TypeVar("Value")

_STEP = 0.05


async def until(
    ask: Callable[[], Awaitable[Value]], good: Callable[[Value], object], what: str, seconds: float = PATIENCE
) -> Value:
    """Ask again and again until the answer is good; fails after `seconds`, with the last answer."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    answer = await ask()
    while not good(answer):
        if loop.time() > end:
            raise AssertionError(f"{what}: not within {seconds:g} s, last: {answer!r}")
        await asyncio.sleep(_STEP)
        answer = await ask()
    return answer


class Subprocess(NamedTuple):
    """An OS process, told apart from a later one with the same pid by when it began."""

    pid: int
    began: str


def descendants(pid: int) -> set[Subprocess]:
    """All that a process started, and what those started."""
    children: dict[int, set[Subprocess]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), set()).add(Subprocess(int(entry.name), fields[19]))
    found: set[Subprocess] = set()
    wanted = [pid]
    while wanted:
        new = children.get(wanted.pop(), set()) - found
        found |= new
        wanted += [subprocess.pid for subprocess in new]
    return found


def alive(subprocesses: set[Subprocess]) -> set[Subprocess]:
    """Those that still run."""
    running = set()
    for subprocess in subprocesses:
        fields = _stat(subprocess.pid)
        if fields and fields[19] == subprocess.began and fields[0] != "Z":
            running.add(subprocess)
    return running


async def all_gone(subprocesses: set[Subprocess], seconds: float = PATIENCE) -> None:
    """Wait until all have ended; ends those that have not, and fails."""

    async def still() -> set[Subprocess]:
        return alive(subprocesses)

    try:
        await until(still, lambda left: not left, "subprocesses are left over", seconds)
    except AssertionError:
        for subprocess in alive(subprocesses):
            with suppress(ProcessLookupError):
                os.kill(subprocess.pid, signal.SIGKILL)
        raise


def command_line(pid: int) -> bytes:
    """The arguments of a process, each ended by a zero; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _stat(pid: int) -> list[str]:
    """`/proc/PID/stat` from the state on; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
