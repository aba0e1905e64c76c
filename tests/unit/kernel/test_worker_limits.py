"""Every limit on workers at its edge: one less, the limit, one more. Real subprocesses, in driven time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from guesthouse.kernel.workers.health_check import LOOKS
from guesthouse.kernel.workers.placement import Isolation, NoWorkerLeft, Placement
from guesthouse.kernel.workers.pool import (
    LONGEST_PAUSE,
    READY_SECONDS,
    SILENCE_SECONDS,
    Worker,
    WorkerFailed,
    Workers,
)

from ..driven import MOMENT, SECONDS, DrivenLoop, in_driven_time
from .conftest import Lines, OnlyReady

OVERS: Final = (-1, 0, 1)
FAKE_WORKER: Final = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]
MUTE_WORKER: Final = [
    sys.executable,
    "-c",
    """import os, socket, sys
from guesthouse.link.frames import encode
from guesthouse.link.schema import PROTOCOL_VERSION
from guesthouse.link.to_node import Ready
link = socket.socket(fileno=int(sys.argv[-1]))
link.sendall(encode([Ready(PROTOCOL_VERSION, os.getpid())]))
while link.recv(65536):
    pass
""",
]
"""Says that it is ready, and nothing more."""
SILENT_WORKER: Final = [sys.executable, "-c", "import time; time.sleep(1000)"]
PATIENCE: Final = 30.0

Edge = Callable[[Path, int], Awaitable[None]]


class Nobody:
    """Whom nothing interests that workers do."""

    def worker_ready(self, worker: Worker) -> None:
        """See `WorkerEvents`."""

    def worker_lost(self, worker: Worker) -> None:
        """See `WorkerEvents`."""


def workers(
    log: Lines,
    command: list[str],
    *,
    silence_seconds: float = SILENCE_SECONDS,
    ready_seconds: float = READY_SECONDS,
    longest_pause: float = LONGEST_PAUSE,
) -> Workers:
    return Workers(
        Placement(Isolation.SHARED, 1, 1),
        log,
        lambda _, ready: OnlyReady(ready),
        Nobody(),
        command,
        silence_seconds=silence_seconds,
        ready_seconds=ready_seconds,
        longest_pause=longest_pause,
    )


async def until(is_so: Callable[[], object]) -> None:
    """Return once the operating system has done what nobody is told of; no driven time passes."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it never came"
        await asyncio.to_thread(time.sleep, 0.002)


def ended(log: Lines, lives: int) -> bool:
    return sum("starting another" in text for _, _, text in log.lines) == lives


async def most_workers(_: Path, over: int) -> None:
    placement = Placement(Isolation.PACKAGE, 1, 3)
    for number in range(2):
        placement.enter(f"package{number}:test.os")
    if over >= 0:
        placement.enter("third:test.os")
    if over > 0:
        with pytest.raises(NoWorkerLeft, match="raise most_workers"):
            placement.enter("fourth:test.os")
    assert len(placement.names) == 3 + min(over, 0)


async def worker_ready_seconds(_: Path, over: int) -> None:
    async def play(loop: DrivenLoop) -> None:
        log = Lines()
        begun = workers(log, SILENT_WORKER, ready_seconds=SECONDS)
        beginning = asyncio.ensure_future(begun.__aenter__())
        await until(begun.alive)
        await loop.pass_by(SECONDS + over * MOMENT)
        assert (begun.alive() == ()) is (over >= 0)
        if over >= 0:
            await loop.pass_by(1.0)  # in which it might end by itself
            with pytest.raises(WorkerFailed, match="not ready within 80 s"):
                await beginning
        else:
            beginning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await beginning

    await in_driven_time(play)


async def worker_silence_seconds(_: Path, over: int) -> None:
    """The first look is at what it said before; the time is over with as many more as there are in it."""

    async def play(loop: DrivenLoop) -> None:
        log = Lines()
        async with workers(log, MUTE_WORKER, silence_seconds=SECONDS) as begun:
            (worker,) = begun.alive()
            await loop.go_through(SECONDS / LOOKS)
            await loop.go_through(SECONDS + over * MOMENT)
            assert ("silent for 80 s" in log) is (over >= 0)
            if over >= 0:
                await until(lambda: worker not in begun.alive())

    await in_driven_time(play)


async def worker_longest_pause(_: Path, over: int) -> None:
    """The third pause would be longer than there may be one."""
    longest = 0.125

    async def play(loop: DrivenLoop) -> None:
        log = Lines()
        async with workers(log, FAKE_WORKER, longest_pause=longest) as begun:
            for lives, pause in ((1, 0.0), (2, 1.0), (3, longest + over * MOMENT)):
                await until(lambda: any(worker.ready for worker in begun.alive()))
                begun.alive()[0].abandon()
                await until(partial(ended, log, lives))
                await loop.pass_by(pause)
            if over >= 0:
                await until(begun.alive)
            else:
                assert begun.alive() == ()
                await loop.pass_by(MOMENT)
                await until(begun.alive)

    await in_driven_time(play)


_MAP: Final = """
import mmap, os, sys
from pathlib import Path
from guesthouse.worker.sandbox import confine
def pages(status):
    status.seek(0)
    (line,) = (line for line in status.read().splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) * 1024 // mmap.PAGESIZE
with open("/proc/self/status") as status:
    limit = pages(status) + 4096
    confine(Path(sys.argv[1]), limit * mmap.PAGESIZE)
    left = limit - pages(status)
    try:
        mmap.mmap(-1, (left + int(sys.argv[2])) * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        sys.exit(os.strerror(error.errno))
"""


async def worker_memory_bytes(folder: Path, over: int) -> None:
    """A confined subprocess is given as many pages to write to as are left; and one less, and one more."""
    command = [sys.executable, "-P", "-c", _MAP, str(folder), str(over)]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == ((1, "Cannot allocate memory\n") if over > 0 else (0, ""))


EDGES: Final[dict[str, Edge]] = {
    edge.__name__: edge
    for edge in (
        worker_silence_seconds,
        worker_ready_seconds,
        worker_longest_pause,
        most_workers,
        worker_memory_bytes,
    )
}


@pytest.mark.slow
@pytest.mark.parametrize("over", OVERS)
@pytest.mark.parametrize("name", EDGES)
async def test_a_limit_on_workers_holds_at_its_edge(tmp_path: Path, name: str, over: int) -> None:
    await EDGES[name](tmp_path, over)
