from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from guesthouse.core.config import Settings
from guesthouse.core.home import HomeError
from guesthouse.kernel.workers.placement import Isolation, Placement
from guesthouse.kernel.workers.pool import Worker, WorkerFailed, Workers
from guesthouse.kernel.workers.worker_process import WorkerSubprocess, spawn
from guesthouse.node import prespawn
from guesthouse.node.prespawn import PrespawnedWorkers

from ..kernel.conftest import Lines, OnlyReady

FAKE_WORKER: Final = [sys.executable, str(Path(__file__).parents[1] / "kernel" / "fake_worker.py")]


class Nobody:
    """Whom nothing interests that workers do."""

    def worker_ready(self, worker: Worker) -> None:
        """See `WorkerEvents`."""

    def worker_lost(self, worker: Worker) -> None:
        """See `WorkerEvents`."""


class Ahead:
    """Workers that were spawned by these commands."""

    def __init__(self, *commands: Sequence[str]) -> None:
        self._spawned = [spawn(command) for command in commands]
        self.pids = {one.pid for one in self._spawned}

    def take(self) -> WorkerSubprocess | None:
        return self._spawned.pop() if self._spawned else None


def settings(home: Path, workers: int) -> Settings:
    return Settings(home=str(home), workers=workers)


def there(pid: int) -> bool:
    """Whether there is such a subprocess, or what is left of one that nobody waited for."""
    return Path(f"/proc/{pid}").exists()


def workers(log: Lines, ahead: Ahead, count: int = 2) -> Workers:
    placement = Placement(Isolation.SHARED, count, count)
    return Workers(placement, log, lambda _, ready: OnlyReady(ready), Nobody(), FAKE_WORKER, ahead.take)


def test_as_many_workers_have_a_head_start_as_there_are_to_be(tmp_path: Path) -> None:
    with PrespawnedWorkers(settings(tmp_path, 3)) as begun:
        taken = [begun.take() for _ in range(4)]
        spawned = [one for one in taken if one is not None]
        assert len({one.pid for one in spawned}) == 3
        assert taken[3] is None
    for one in spawned:
        assert there(one.pid)  # whoever took it has it
        one.abandon()


def test_with_isolation_by_package_the_spare_worker_alone_has_a_head_start(tmp_path: Path) -> None:
    isolated = Settings(home=str(tmp_path), workers=3, isolation="package")
    with PrespawnedWorkers(isolated) as begun:
        (one, none) = (begun.take(), begun.take())
        assert one is not None
        one.abandon()
        assert none is None


def test_workers_that_nobody_took_have_ended_with_the_block(tmp_path: Path) -> None:
    def pids() -> set[int]:
        return set(map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))

    before = pids()
    with PrespawnedWorkers(settings(tmp_path, 2)):
        begun = pids() - before
        assert len(begun) == 2
    assert not any(there(pid) for pid in begun)


def test_a_home_that_cannot_be_used_is_said_before_anything_is_spawned(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(HomeError, match="cannot be used as the node's home"),
        PrespawnedWorkers(settings(tmp_path / "file", 1)),
    ):
        pass


def test_what_cannot_be_spawned_ahead_is_left_to_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Sequence[str]) -> WorkerSubprocess:
        raise OSError(errno.EAGAIN, "no more")

    monkeypatch.setattr(prespawn, "spawn", refused)
    with PrespawnedWorkers(settings(tmp_path, 2)) as begun:
        assert begun.take() is None


@pytest.mark.slow
async def test_a_node_takes_those_that_are_there_and_spawns_the_rest() -> None:
    ahead = Ahead(FAKE_WORKER)
    async with workers(Lines(), ahead) as begun:
        pids = {worker.os_pid for worker in begun.alive()}
        assert len(pids) == 2
        assert ahead.pids < pids
    assert not any(there(pid) for pid in pids)


async def test_one_that_ended_before_it_was_taken_is_said_with_its_last_words() -> None:
    ahead = Ahead([*FAKE_WORKER, "--dies"])
    with pytest.raises(WorkerFailed, match="status 3: this machine is too old"):
        await workers(Lines(), ahead, 1).__aenter__()
    assert ahead.take() is None


def test_nothing_of_the_node_is_loaded_before_the_workers_are_spawned() -> None:
    script = (
        "import sys, guesthouse.cli.main, guesthouse.cli.run, guesthouse.core.config, guesthouse.node.prespawn\n"
        "print([name for name in ('asyncio', 'uvloop', 'uvicorn', 'guesthouse.node.node') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("lacking", ["socket.socketpair", "subprocess.Popen"])
def test_a_worker_that_cannot_be_spawned_leaves_no_memory_and_no_link(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node spawns again and again until it succeeds."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = sorted(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(lacking, refuse)
    for _ in range(3):
        with pytest.raises(OSError, match="Too many open files"):
            spawn(FAKE_WORKER)
    assert sorted(os.listdir("/proc/self/fd")) == before
