"""What begins before the node has loaded its own code, so that both go on in parallel: the first workers, and reading
compiled components. How many workers the settings ask for, and their command line, is therefore decided here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from guesthouse.core.config import Settings
from guesthouse.core.home import Home
from guesthouse.kernel.workers.placement import Isolation, Placement
from guesthouse.kernel.workers.worker_process import WorkerSubprocess, spawn, worker_command

if TYPE_CHECKING:
    from guesthouse.package.compile.read_ahead import ReadAhead


class PrespawnedWorkers:
    """Spawns a node's first workers on entry, and ends those that nobody took on exit.

    A worker that cannot be spawned is skipped: the pool tries again and reports why.

    Args:
        settings: with `home` set.

    Raises:
        HomeError: on entry: the home cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._spawned: list[WorkerSubprocess] = []

    def __enter__(self) -> Self:
        settings, home = self._settings, Home(Path(self._settings.home))
        home.prepare()
        command = command_of_workers(settings, home)
        with suppress(OSError):
            for _ in placement(settings).names:
                self._spawned.append(spawn(command))
        return self

    def __exit__(self, *_: object) -> None:
        while (left := self.take()) is not None:
            left.abandon()

    def take(self) -> WorkerSubprocess | None:
        """Take one over; None when there is none left."""
        return self._spawned.pop() if self._spawned else None


def placement(settings: Settings) -> Placement:
    """How many workers there are at first, and who may share one."""
    return Placement(Isolation(settings.isolation), _worker_count(settings), settings.most_workers)


def command_of_workers(settings: Settings, home: Home) -> list[str]:
    """The command that spawns a worker, without `--link-fd N`. Creates the folder that workers may read."""
    home.prepare_compiled()
    return worker_command(
        {
            "components": str(home.compiled),
            "required": settings.worker_confinement == "required",
            "memory_bytes": settings.worker_memory_bytes,
            "inspectable": settings.inspectable or settings.dev,
        }
    )


def read_ahead(settings: Settings, arguments: Sequence[str]) -> ReadAhead:
    """Reads the compiled components of the packages that are installed or named on the command line.

    Args:
        settings: with `home` set.
        arguments: as on the command line.
    """
    from guesthouse.package.compile.read_ahead import ReadAhead
    from guesthouse.package.store.installed import read_installed

    home = Home(Path(settings.home))

    def folders() -> set[Path]:
        named = {Path(argument.rpartition("=")[2]).resolve() for argument in arguments}
        unpacked = home.unpacked.resolve()
        current = (item.current.hash for item in read_installed(home.path).packages.values())
        return named.union(unpacked / each for each in current)

    return ReadAhead(home.compiled, folders)


def _worker_count(settings: Settings) -> int:
    """The number of workers; by default one for each CPU except the node's own."""
    return settings.workers or max(1, len(os.sched_getaffinity(0)) - 1)
