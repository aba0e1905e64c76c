"""Watches folders for changes: with inotify, or by polling every second where that is not possible."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct
from watchfiles import awatch

LOOK_SECONDS: Final = 1.0
"""Between two polls, without inotify."""


class WatchedPath(Struct, frozen=True):
    """What to watch: a folder with everything below it, or one file."""

    path: Path
    enters: Callable[[str], bool]
    """Whether to descend into a folder of this name."""
    matters: Callable[[Path], bool]
    """Whether changes of this file count."""

    def look(self) -> dict[Path, tuple[int, int, int]]:
        """Each relevant file, with numbers that change when it does. Blocks on the file system."""
        found = {}
        for path in self._files():
            try:
                status = path.stat()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                found[path] = status.st_mtime_ns, status.st_size, status.st_ino
        return found

    def _files(self) -> Iterator[Path]:
        if not self.path.is_dir():
            yield self.path
            return
        for place, folders, names in os.walk(self.path):
            folders[:] = [name for name in folders if self.enters(name)]
            yield from filter(self.matters, (Path(place, name) for name in names))


async def changes(place: WatchedPath, say: Callable[[str], None]) -> AsyncGenerator[None, None]:
    """Yield whenever something changed, until cancelled. Yields once by itself within some seconds of the start, for
    changes made before.

    Args:
        place: what to watch.
        say: called with a line that says why it is polled, if it is.
    """
    try:
        async for _ in _notified(place):
            yield
    except (OSError, RuntimeError, UnicodeError, ExceptionGroup) as error:
        say(f"{place.path} cannot be watched ({_reason(error)}): polling it every second instead")
    async for _ in _looked_at(place):
        yield


async def _notified(place: WatchedPath) -> AsyncGenerator[None, None]:
    """By inotify.

    Raises:
        OSError: no watches are left.
        RuntimeError, UnicodeError, ExceptionGroup: a name is not UTF-8, which the library does not support.
    """
    whole = place.path.is_dir()
    stream = awatch(
        place.path if whole else place.path.parent,
        watch_filter=lambda _, path: place.matters(Path(path)),
        recursive=whole,
        yield_on_timeout=True,
    )
    first = True
    async for found in stream:
        if found or first:
            first = False
            yield


async def _looked_at(place: WatchedPath) -> AsyncGenerator[None, None]:
    before = await asyncio.to_thread(place.look)
    yield
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = await asyncio.to_thread(place.look)
        if now != before:
            before = now
            yield


def _reason(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, UnicodeError):
        return "its path is not UTF-8"
    return " ".join(str(error).split())
