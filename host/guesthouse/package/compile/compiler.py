"""Compiles each component once, in subprocesses with limits, and caches the results.

One subprocess plans a component and leaves large core modules uncompiled: each of these is compiled by a
subprocess of its own, unless it is cached.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from guesthouse.core.config import PackageLimits, ProcessLimits
from guesthouse.core.files.regular_file import open_regular
from guesthouse.core.ports import LogPort
from guesthouse.package.compile.cache import Artifact, CompileCache, Made
from guesthouse.package.compile.compile_turns import CompileTurns
from guesthouse.package.compile.compiler_process import CompileRun, Failed
from guesthouse.package.compile.description import Description
from guesthouse.package.compile.job import Task
from guesthouse.package.compile.private_files import UntrustedFile, copy, new_file
from guesthouse.package.errors import CompileError, CompileUnfinished
from guesthouse.package.format.header import HEADER_BYTES, magic_fault
from guesthouse.wasm.engine.engines import engine_key, layout_key

_T = TypeVar("_T")

_CHECKED: Final = ".engine-"
"""Starts the name of a file that says which engine was checked."""


class Compiler:
    """Turns a component into code that workers map.

    Needs no closing: a cancelled compile kills its subprocess before it ends, and
    subprocesses die with the node.
    """

    def __init__(
        self,
        cache_dir: Path,
        limits: PackageLimits,
        log: LogPort | None = None,
        begins: Callable[[Path], None] = lambda component: None,
        process: ProcessLimits | None = None,
        cache: CompileCache | None = None,
    ) -> None:
        """Args:
        cache_dir: where results are kept; created when needed, private to this user.
        limits: of component size, compile time and memory.
        log: for cached files that are not what was stored.
        begins: called with each component that has to be compiled.
        process: the limits under which components run; the settings' defaults by default.
        cache: the cache in that folder, if there is one already, which may have hashed some of its files.
        """
        self._limits = limits
        self._process = process or ProcessLimits()
        self._log = log
        self._begins = begins
        self._cache = cache or CompileCache(cache_dir, engine_key())
        self._digests = self._cache.components
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By component: each process that starts requests its own."""
        # One at a time: a compile uses all CPUs and has its own memory limit, and shared modules are compiled once.
        self._turns = CompileTurns()
        self.compiles = 0
        """How many components were compiled, or refused by the compiler."""
        self.compile_seconds = 0.0
        """How long that took, all together."""

    async def check_engine(self) -> None:
        """Check that the engine is the one that this host was written for; once, and again when either is another.

        Raises:
            CompileError: it is not, so that no component may run; one line with the remedy.
        """
        mark = self._cache.prepare() / f"{_CHECKED}{layout_key()}"
        if mark.exists():
            return
        with tempfile.TemporaryFile(dir=mark.parent) as nothing, new_file(mark.parent) as code:
            try:
                await CompileRun(self._limits).made(Task.CHECK, nothing, hashlib.sha256().hexdigest(), code)
            except Failed as failure:
                if failure.wrong_engine:
                    raise CompileError(f"wasmtime {failure}") from None
                return  # components that are compiled already may run; what is compiled is checked before
            code.rename(mark)

    async def compiled(self, component: Path, package: str = "") -> Path:
        """Return the path of a component's plan, compiling it unless it is cached.

        Args:
            component: the file.
            package: its package; packages take turns.

        Raises:
            CompileError: the file is not a component, or exceeds a limit; one line with the remedy.
        """
        return (await self._artifact(component, package)).path

    async def runnable(self, component: Path, package: str = "") -> Path:
        """`compiled`, for a component that has to be runnable on this host.

        Raises:
            CompileError: as for `compiled`, or a worker would not run it.
        """
        artifact = await self._artifact(component, package)
        for problem in artifact.description.all_problems(self._process):
            raise CompileError(f"{component} {problem}")
        return artifact.path

    async def described(self, component: Path) -> Description:
        """Return what a component imports and exports, compiling it unless it is cached.

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
            ):  # in this order, so as not to wait for another's turn with the lock held
                found = await asyncio.to_thread(self._find, digest)
                if found is not None:
                    return found
                self._begins(component)
                began = time.monotonic()
                try:
                    return await self._compile_or_retry(component, digest)
                finally:
                    self.compiles += 1
                    self.compile_seconds += time.monotonic() - began
        except OSError as error:
            raise CompileError(
                f"{component} cannot be compiled: {self._cache.folder}: {error.strerror}; see that the disk has "
                "room and is writable, and that the limit on open files is not reached"
            ) from None

    def _read(self, component: Path) -> str:
        """The SHA-256 of a file, after a check of its header."""
        try:
            with open_regular(component) as file:
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
        """Retry once when the compiler was killed, as the kernel does when memory runs out."""
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
        with new_file(folder) as code, open_regular(component) as source:
            made = await run.made(Task.COMPONENT, source, digest, code)
            try:
                shared = await self._share(made, run)
            except Failed as failure:
                if not failure.refused:
                    raise
                # A module is invalid. The engine reports it in terms of the component.
                await run.made(Task.FAULT, source, digest, code)
                raise  # it found none: a compromised compiler can claim anything
            return await asyncio.to_thread(self._cache.store, digest, made, shared)

    async def _share(self, made: Made, run: CompileRun) -> dict[int, str]:
        """Compile shared modules that are not cached; returns their digests, by number."""
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
        """The node computes the digest itself, and the subprocess sees that module only: see `shared_modules.py`."""
        if await asyncio.to_thread(self._found, self._cache.modules.find, digest) is None:
            with new_file(self._cache.folder) as code:
                await run.made(Task.MODULE, module, digest, code)
                await asyncio.to_thread(self._cache.store_module, digest, code)


def _error(component: Path, failure: Failed) -> CompileError:
    kind = CompileUnfinished if failure.unfinished else CompileError
    return kind(f"{component} {failure}")


def _taken_out(file: Path, at: int, size: int) -> tuple[FileIO, str]:
    """Copy part of a subprocess's output to a file that it cannot write; returns that, open, and its digest."""
    with ExitStack() as undo:
        # Owned by this thread until it returns, so that a cancelled task does not close it meanwhile.
        taken = undo.enter_context(tempfile.TemporaryFile(dir=file.parent, buffering=0))
        with file.open("rb") as source:
            copy(source.fileno(), at, size, taken.fileno())
        taken.seek(0)
        digest = hashlib.file_digest(taken, "sha256").hexdigest()
        undo.pop_all()
    return taken, digest
