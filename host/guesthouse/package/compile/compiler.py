"""Compiles components in subprocesses with limits, once each, and keeps the results.

One subprocess takes a component apart. The core modules with much code it hands back: each is compiled by a
subprocess of its own, unless another component had it before.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from guesthouse.core.config import PackageLimits, ProcessLimits
from guesthouse.core.ports import LogPort
from guesthouse.package.compile.cache import Artifact, CompileCache, Made
from guesthouse.package.compile.compile_turns import CompileTurns
from guesthouse.package.compile.compiler_process import CompileRun, Failed
from guesthouse.package.compile.description import Description
from guesthouse.package.compile.digest_cache import DigestCache
from guesthouse.package.compile.job import Task
from guesthouse.package.compile.private_files import UntrustedFile, copy, new_file
from guesthouse.package.errors import CompileError, CompileUnfinished
from guesthouse.package.format.header import HEADER_BYTES, magic_fault
from guesthouse.wasm.engine.engines import engine_key

_T = TypeVar("_T")

_DIGEST_CACHE: Final = ".digests"
"""Beside the cache's folder, which workers can read: it tells where components are."""


class Compiler:
    """Turns a component into code that workers map.

    Nothing has to be closed: a compile that is cancelled kills its subprocess before it ends, and a
    subprocess dies with the node.
    """

    def __init__(
        self,
        cache_dir: Path,
        limits: PackageLimits,
        log: LogPort | None = None,
        begins: Callable[[Path], None] = lambda component: None,
        process: ProcessLimits | None = None,
    ) -> None:
        """Args:
        cache_dir: where results are kept; made when needed, for this user alone.
        limits: of component size, compile time and memory.
        log: told when a cached file is not what was stored.
        begins: told of each component that has to be compiled.
        process: the limits under which components are to run; those of the settings' defaults without.
        """
        self._limits = limits
        self._process = process or ProcessLimits()
        self._log = log
        self._begins = begins
        self._cache = CompileCache(cache_dir, engine_key())
        self._digests = DigestCache(cache_dir.with_name(cache_dir.name + _DIGEST_CACHE), self._cache.key)
        """Of components. Each start of a process asks for that of its own."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # One compile keeps all CPUs busy, and its limit of memory is its own. What components share is compiled once.
        self._turns = CompileTurns()

    async def compiled(self, component: Path, package: str = "") -> Path:
        """Return the compiled form of a component, from the cache if it is there: its plan, or all of its code.

        Args:
            component: the file.
            package: for which it is; packages take turns.

        Raises:
            CompileError: the file is not a component, or goes over a limit; one line with the remedy.
        """
        return (await self._artifact(component, package)).path

    async def runnable(self, component: Path, package: str = "") -> Path:
        """The same as `compiled`, of a component that this host can run.

        Raises:
            CompileError: as for `compiled`, or a worker would not run it.
        """
        artifact = await self._artifact(component, package)
        for problem in artifact.description.all_problems(self._process):
            raise CompileError(f"{component} {problem}")
        return artifact.path

    async def described(self, component: Path) -> Description:
        """Return what a component imports and exports. It is compiled for it, unless it was before.

        Raises:
            CompileError: as for `compiled`.
        """
        return (await self._artifact(component, "")).description

    async def _artifact(self, component: Path, package: str) -> Artifact:
        digest = await asyncio.to_thread(self._read, component)
        lock = self._locks.setdefault(digest, asyncio.Lock())
        try:
            async with lock:
                found = await asyncio.to_thread(self._find, digest)
            if found is not None:
                return found
            async with (
                self._turns.turn(package),
                lock,
            ):  # not the other way: that would wait for another's turn
                found = await asyncio.to_thread(self._find, digest)
                if found is not None:
                    return found
                self._begins(component)
                return await self._compile_or_retry(component, digest)
        except OSError as error:
            raise CompileError(
                f"{component} cannot be compiled: {self._cache.folder}: {error.strerror}; see that the disk has "
                "room and is writable, and that this node may have more files open"
            ) from None

    def _read(self, component: Path) -> str:
        """The SHA-256 of a file that looks like a component."""
        try:
            with component.open("rb") as file:
                problem = magic_fault(file.peek(HEADER_BYTES)[:HEADER_BYTES])
                if problem is not None:
                    raise CompileError(f"{component} {problem}")
                if os.fstat(file.fileno()).st_size > self._limits.component_bytes:
                    raise CompileError(
                        f"{component} is over {self._limits.component_bytes} bytes: make it smaller, "
                        "or raise package.component_bytes in guesthouse.toml"
                    )
                return self._digests.of_open(component, file)
        except OSError as error:
            raise CompileError(f"{component} cannot be read: {error.strerror}; check the path") from None

    def _find(self, digest: str) -> Artifact | None:
        self._digests.keep(self._cache.prepare())
        return self._found(self._cache.find, digest)

    def _found(self, find: Callable[[str], _T | None], digest: str) -> _T | None:
        try:
            return find(digest)
        except UntrustedFile as error:
            if self._log is not None:
                self._log.write("compiler", "warning", f"{error}; compiling it again")
            return None

    async def _compile_or_retry(self, component: Path, digest: str) -> Artifact:
        """A compiler that someone killed, as the kernel does when memory runs out, may have been unlucky."""
        try:
            return await self._compile(component, digest)
        except Failed as failure:
            if not failure.unfinished or failure.over:
                raise _error(component, failure) from None
        try:
            return await self._compile(component, digest)
        except Failed as failure:
            raise _error(component, failure) from None

    async def _compile(self, component: Path, digest: str) -> Artifact:
        folder, run = self._cache.prepare(), CompileRun(self._limits)
        with new_file(folder) as code, component.open("rb") as source:
            made = await run.made(Task.COMPONENT, source, digest, code)
            try:
                shared = await self._share(made, run)
            except Failed as failure:
                if not failure.refused:
                    raise
                # A module of it is faulty. The engine says what is wrong in words of the component.
                await run.made(Task.FAULT, source, digest, code)
                raise  # it found none: a compiler that was broken into says what it likes
            return await asyncio.to_thread(self._cache.store, digest, made, shared)

    async def _share(self, made: Made, run: CompileRun) -> dict[int, str]:
        """See that the modules that were handed back are in the cache; returns their digests, by number."""
        shared = {}
        at = 0
        for number, size in enumerate(made.sizes, -1):
            if number in made.handed_back:
                module, shared[number] = await asyncio.to_thread(_taken_out, made.file, at, size)
                with module:
                    await self._share_one(module, shared[number], run)
            at += size
        return shared

    async def _share_one(self, module: FileIO, digest: str, run: CompileRun) -> None:
        """The digest is this node's own, and the subprocess sees that module alone: see `shared_modules.py`."""
        if await asyncio.to_thread(self._found, self._cache.modules.find, digest) is None:
            with new_file(self._cache.folder) as code:
                await run.made(Task.MODULE, module, digest, code)
                await asyncio.to_thread(self._cache.store_module, digest, code)


def _error(component: Path, failure: Failed) -> CompileError:
    kind = CompileUnfinished if failure.unfinished else CompileError
    return kind(f"{component} {failure}")


def _taken_out(file: Path, at: int, size: int) -> tuple[FileIO, str]:
    """Copy part of a file that a subprocess wrote to one that it has never had; returns that, open, and its digest."""
    with ExitStack() as undo:
        # It is this thread's own until then: a task that is cancelled does not close it under the thread.
        taken = undo.enter_context(tempfile.TemporaryFile(dir=file.parent, buffering=0))
        with file.open("rb") as source:
            copy(source.fileno(), at, size, taken.fileno())
        taken.seek(0)
        digest = hashlib.file_digest(taken, "sha256").hexdigest()
        undo.pop_all()
    return taken, digest
