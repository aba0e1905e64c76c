"""Compiles components in a subprocess with limits, once each, and keeps the results."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final
from weakref import WeakValueDictionary

from guesthouse.config import PackageLimits
from guesthouse.package.cache import MAX_MODULES, MAX_NOTE_BYTES, Artifact, CompileCache, Made, Tampered
from guesthouse.package.compile_main import REFUSED, Job
from guesthouse.package.description import Description
from guesthouse.package.errors import CompileError
from guesthouse.package.header import HEADER_BYTES, fault
from guesthouse.ports import LogPort
from guesthouse.worker.boundary.engine import engine_key

_MODULE: Final = "guesthouse.package.compile_main"
_REASON_BYTES: Final = 600
_CUT_OFF: Final = ("unexpected end", "is out of bounds (bound")
"""What wasmtime says of a file that ends too early."""
_CPUS: Final = os.cpu_count() or 1


class Compiler:
    """Turns a component into code that workers map.

    Nothing has to be closed: a compile that is cancelled kills its subprocess before it ends, and a
    subprocess dies with the node.
    """

    def __init__(self, cache_dir: Path, limits: PackageLimits, log: LogPort | None = None) -> None:
        """Args:
        cache_dir: where results are kept; made when needed, for this user alone.
        limits: of component size, compile time and memory.
        log: told when a cached file is not what was stored.
        """
        self._limits = limits
        self._log = log
        self._cache = CompileCache(cache_dir, engine_key())
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # One compile keeps all CPUs busy, and its limit of memory is its own.
        self._one_at_a_time = asyncio.Semaphore(1)

    async def compiled(self, component: Path) -> Path:
        """Return the compiled form of a component, from the cache if it is there: its plan, or all of its code.

        Raises:
            CompileError: the file is not a component, or goes over a limit; one line with the remedy.
        """
        return (await self._artifact(component)).path

    async def described(self, component: Path) -> Description:
        """Return what a component imports and exports. It is compiled for it, unless it was before.

        Raises:
            CompileError: as for `compiled`.
        """
        return (await self._artifact(component)).description

    async def _artifact(self, component: Path) -> Artifact:
        digest = await asyncio.to_thread(self._read, component)
        lock = self._locks.setdefault(digest, asyncio.Lock())
        try:
            async with lock:
                found = await asyncio.to_thread(self._find, digest)
                if found is not None:
                    return found
                async with self._one_at_a_time:
                    return await self._compile(component, digest)
        except OSError as error:
            raise CompileError(
                f"{component} cannot be compiled: {self._cache.folder}: {error.strerror}; see that the disk has "
                "room and is writable, and that this node may have more files open"
            ) from None

    def _read(self, component: Path) -> str:
        """The SHA-256 of a file that looks like a component."""
        try:
            with component.open("rb") as file:
                problem = fault(file.peek(HEADER_BYTES)[:HEADER_BYTES])
                if problem is not None:
                    raise CompileError(f"{component} {problem}")
                if os.fstat(file.fileno()).st_size > self._limits.component_bytes:
                    raise CompileError(
                        f"{component} is over {self._limits.component_bytes} bytes: make it smaller, "
                        "or raise package.component_bytes in guesthouse.toml"
                    )
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CompileError(f"{component} cannot be read: {error.strerror}; check the path") from None

    def _find(self, digest: str) -> Artifact | None:
        self._cache.prepare()
        try:
            return self._cache.find(digest)
        except Tampered as error:
            if self._log is not None:
                self._log.write("compiler", "warning", f"{error}; compiling it anew")
            return None

    async def _compile(self, component: Path, digest: str) -> Artifact:
        with _new_file(self._cache.prepare()) as code, _unnamed(code.parent) as (note, reason):
            with component.open("rb") as source, code.open("wb") as output:
                status = await self._run(source, output, note, reason)
            if status != 0:
                raise CompileError(f"{component} {self._complaint(status, reason)}")
            compiled_digest, made = _reply(note, code)
            if compiled_digest != digest:
                raise CompileError(f"{component} changed while it was compiled: try again")
            return await asyncio.to_thread(self._cache.store, digest, made)

    async def _run(
        self, source: IO[bytes], output: IO[bytes], note: IO[bytes], reason: IO[bytes]
    ) -> int | None:
        """The subprocess's exit code; negative for a signal, None when its time was over."""
        limits = self._limits
        job = Job(
            parent=os.getpid(),
            reply_fd=note.fileno(),
            component_bytes=limits.component_bytes,
            memory_bytes=limits.compile_memory_bytes,
            cpu_seconds=math.ceil(limits.compile_seconds * _CPUS),
        )
        subprocess = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", _MODULE, job.to_argument()),
            stdin=source,
            stdout=output,
            stderr=reason,
            pass_fds=(note.fileno(),),
            env={},
            cwd="/",
            start_new_session=True,
        )
        try:
            return await asyncio.wait_for(subprocess.wait(), limits.compile_seconds)
        except TimeoutError:
            return None
        finally:
            if subprocess.returncode is None:
                subprocess.kill()
                await subprocess.wait()

    def _complaint(self, status: int | None, reason: IO[bytes]) -> str:
        """Why there is no result, to go after the file's name."""
        reason.seek(0)
        said = " ".join(reason.read(_REASON_BYTES).decode("utf-8", "replace").split())
        if status == -signal.SIGKILL:
            return (
                "was not compiled, as its compiler was killed from outside, most likely for this machine's lack of "
                "memory: try again, or make it smaller"
            )
        if status is None or status == -signal.SIGXCPU:
            return (
                f"did not compile within {self._limits.compile_seconds:g} s: make it smaller, "
                "or raise package.compile_seconds in guesthouse.toml"
            )
        if status == REFUSED and any(words in said for words in _CUT_OFF):
            return f"is cut off: copy or build it again ({said})"
        if status == REFUSED:
            return f"is not a component that this host can compile: {said}; build it again"
        if "ModuleNotFoundError" in said:
            return f"cannot be compiled, as Guesthouse is not installed for {sys.executable}: run 'pip install .'"
        return (
            f"broke the compiler (exit {status}), most likely by its {self._limits.compile_memory_bytes} bytes "
            "of memory: make it smaller, or raise package.compile_memory_bytes in guesthouse.toml"
        )


@contextmanager
def _new_file(folder: Path) -> Iterator[Path]:
    """A file of this user alone, deleted at the end unless it was renamed."""
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=folder)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _unnamed(folder: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    with tempfile.TemporaryFile(dir=folder) as one, tempfile.TemporaryFile(dir=folder) as other:
        yield one, other


def _reply(note: IO[bytes], code: Path) -> tuple[str, Made]:
    note.seek(0)
    try:
        reply = json.loads(note.read(MAX_NOTE_BYTES))
        planned, sizes = reply["planned"] is True, reply["sizes"]
        if not _are_sizes(sizes, code.stat().st_size) or (len(sizes) != 1 and not planned):
            raise ValueError("these are not the sizes of its parts")
        made = Made(code, tuple(sizes), planned, Description.from_json(reply["description"]))
        return str(reply["sha256"]), made
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CompileError(
            "the compiler subprocess gave no description: see its report as a defect"
        ) from None


def _are_sizes(sizes: object, total: int) -> bool:
    """Whether these are the sizes of what there is so much of altogether."""
    return (
        isinstance(sizes, list)
        and 1 <= len(sizes) <= MAX_MODULES + 1
        and all(type(size) is int and size >= 0 for size in sizes)
        and sum(sizes) == total
    )
