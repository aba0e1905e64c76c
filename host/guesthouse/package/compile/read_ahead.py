"""Hashes compiled components beside a node that loads its own code, so that they can be mapped sooner.

A fork of the node does that, while it has one thread and little memory: a thread would take turns with it for the
interpreter. It has the lowest priority, and is ended before the first process starts. Nothing is decided here:
`CompileCache.find` checks each file as ever, and knows the hash of one that has not changed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, Self

from guesthouse.core.errors import GuesthouseError
from guesthouse.linux import privileges
from guesthouse.package.compile.cache import CompileCache
from guesthouse.package.compile.private_files import UntrustedFile
from guesthouse.wasm.engine.engines import engine_key

_PIPE_BYTES: Final = 1 << 20
"""What is found in the end: some hundred components. Where that is full, no more is read ahead."""
_CHUNK: Final = 1 << 16
_LEAST_PRIORITY: Final = 19


class ReadAhead:
    """Reads the compiled code of components that the cache knows from earlier starts. A context manager, to be entered
    before there is a thread: leaving it ends what it has begun.

    Args:
        cache_dir: the folder of the cache.
        folders: returns the folders of which the components are read, or these themselves.
    """

    def __init__(self, cache_dir: Path, folders: Callable[[], AbstractSet[Path]]) -> None:
        self.cache = CompileCache(cache_dir, engine_key())
        """Knows what was read, after `finish`."""
        self._folders = folders
        self._child: int | None = None
        self._found = -1

    def __enter__(self) -> Self:
        if not self.cache.components.are_kept():
            return self
        with suppress(OSError):  # too many processes or open files: nothing is read ahead
            self._found, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                self._child = os.fork()
                if self._child == 0:
                    self._be_child(writing)
            finally:
                os.close(writing)
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
        self.reap()

    def finish(self) -> None:
        """Take over what was found until now, and have the child end, which takes a while where the CPUs are busy."""
        if self._found < 0:
            return
        found = b""
        with suppress(BlockingIOError):
            while chunk := os.read(self._found, _CHUNK):
                found += chunk
        os.close(self._found)
        self._found = -1
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)
        for line in found.split(b"\n")[:-1]:  # the last may be incomplete
            name, stamp, digest = json.loads(line)
            self.cache.digests.learn(self.cache.folder / name, tuple(stamp), digest)

    def reap(self) -> None:
        """Wait until the child has ended."""
        if self._child is not None:
            os.waitpid(self._child, 0)
            self._child = None

    def _be_child(self, writing: int) -> NoReturn:
        try:
            privileges.end_with_parent()
            # Not `SCHED_IDLE`: on a busy machine it would take seconds to end, and only root could help it.
            os.nice(_LEAST_PRIORITY)
            with suppress(OSError):
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._read(writing)
        finally:
            # What went wrong is found again, and said, by who needs it.
            os._exit(0)

    def _read(self, writing: int) -> None:
        with suppress(GuesthouseError, OSError, RuntimeError):
            folders = self._folders()
            for path, digest in self.cache.components.unchanged():
                if not folders.isdisjoint((path, *path.parents)):
                    self._read_compiled(digest, writing)

    def _read_compiled(self, digest: str, writing: int) -> None:
        with suppress(ValueError, KeyError, TypeError, AttributeError, FileNotFoundError, UntrustedFile):
            for path in self.cache.files_of(digest):
                if self.cache.digests.known(path) is None:
                    self.cache.digests.of(path)
                    known = self.cache.digests.known(path)
                    if known is not None:
                        os.write(writing, json.dumps([path.name, *known]).encode() + b"\n")
