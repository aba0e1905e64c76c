"""The compiler subprocesses of one component: what they are given, how long they may take, what they answer."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from guesthouse.config import PackageLimits
from guesthouse.package.cache import MAX_MODULES, MAX_NOTE_BYTES, Made
from guesthouse.package.description import Description
from guesthouse.package.errors import CompileError
from guesthouse.package.task import REFUSED, SHARED_BYTES, Job, Task
from guesthouse.worker.boundary.engine import is_small

_MODULE: Final = "guesthouse.package.compile_main"
_REASON_BYTES: Final = 600
_CUT_OFF: Final = ("unexpected end", "is out of bounds (bound")
"""What wasmtime says of a file that ends too early."""
_CPUS: Final = os.cpu_count() or 1


class Failed(Exception):
    """There is no result: why, to go after the file's name."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused
        """Whether it is the engine that says so of what it was given."""


class CompileRun:
    """The compiling of one component, whose limits hold for all subprocesses together. One runs at a time.

    Nothing has to be closed: a subprocess is killed before `made` ends, however it ends, and dies with the node.
    """

    def __init__(self, limits: PackageLimits) -> None:
        """The time begins now."""
        self._limits = limits
        self._until = asyncio.get_running_loop().time() + limits.compile_seconds
        self._output_bytes = limits.compile_memory_bytes

    async def made(self, task: Task, source: IO[bytes], digest: str, code: Path) -> Made:
        """Give a subprocess something to compile.

        Args:
            task: what to make of it.
            source: what to compile, from its beginning.
            digest: the SHA-256 of that.
            code: the file to write to.

        Raises:
            Failed: there is no result.
            CompileError: it answered what it should not.
        """
        os.lseek(source.fileno(), 0, os.SEEK_SET)
        with _unnamed(code.parent) as (note, reason):
            with code.open("wb") as output:
                status = await self._run(task, source, output, note, reason)
            if status != 0:
                raise self._failure(status, reason)
            compiled_digest, made = _reply(note, code, os.fstat(source.fileno()).st_size, task)
        if compiled_digest != digest:
            raise Failed("changed while it was compiled: try again")
        self._output_bytes -= sum(made.sizes)
        return made

    async def _run(
        self, task: Task, source: IO[bytes], output: IO[bytes], note: IO[bytes], reason: IO[bytes]
    ) -> int | None:
        """The subprocess's exit code; negative for a signal, None when its time was over."""
        seconds = self._until - asyncio.get_running_loop().time()
        if seconds <= 0:
            return None
        job = Job(
            task=task,
            parent=os.getpid(),
            reply_fd=note.fileno(),
            component_bytes=self._limits.component_bytes,
            memory_bytes=self._limits.compile_memory_bytes,
            output_bytes=max(0, self._output_bytes),
            cpu_seconds=math.ceil(seconds * _CPUS),
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
            async with asyncio.timeout_at(self._until):
                return await subprocess.wait()
        except TimeoutError:
            return None
        finally:
            if subprocess.returncode is None:
                subprocess.kill()
                await subprocess.wait()

    def _failure(self, status: int | None, reason: IO[bytes]) -> Failed:
        reason.seek(0)
        said = " ".join(reason.read(_REASON_BYTES).decode("utf-8", "replace").split())
        if status == REFUSED:
            cut_off = any(words in said for words in _CUT_OFF)
            why = (
                f"is cut off: copy or build it again ({said})"
                if cut_off
                else f"is not a component that this host can compile: {said}; build it again"
            )
            return Failed(why, refused=True)
        return Failed(self._complaint(status, said))

    def _complaint(self, status: int | None, said: str) -> str:
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
        if "ModuleNotFoundError" in said:
            return f"cannot be compiled, as Guesthouse is not installed for {sys.executable}: run 'pip install .'"
        return (
            f"broke the compiler (exit {status}), most likely by its {self._limits.compile_memory_bytes} bytes "
            "of memory: make it smaller, or raise package.compile_memory_bytes in guesthouse.toml"
        )


@contextmanager
def _unnamed(folder: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    with tempfile.TemporaryFile(dir=folder) as one, tempfile.TemporaryFile(dir=folder) as other:
        yield one, other


def _reply(note: IO[bytes], code: Path, component_bytes: int, task: Task) -> tuple[str, Made]:
    """What the subprocess says of its result. Whoever broke it says what it likes."""
    note.seek(0)
    try:
        reply = json.loads(note.read(MAX_NOTE_BYTES))
        planned, sizes, handed_back = reply["planned"] is True, reply["sizes"], reply["handed_back"]
        if not _are_sizes(sizes, code.stat().st_size) or (len(sizes) != 1 and not planned):
            raise ValueError("these are not the sizes of its parts")
        may_hand_back = planned and task is Task.COMPONENT
        if handed_back and not (may_hand_back and _are_handed_back(handed_back, sizes[1:], component_bytes)):
            raise ValueError("these are not modules of its to share")
        description = Description.from_json(reply["description"])
        return str(reply["sha256"]), Made(code, tuple(sizes), planned, description, frozenset(handed_back))
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


def _are_handed_back(numbers: object, sizes: Sequence[int], component_bytes: int) -> bool:
    """Whether these are the numbers of modules that are large enough to share, and parts of such a component: each
    costs a subprocess.
    """
    if not isinstance(numbers, list) or is_small(component_bytes):
        return False
    if not all(type(number) is int and 0 <= number < len(sizes) for number in numbers):
        return False
    shared = [sizes[number] for number in set(numbers)]
    return all(size >= SHARED_BYTES for size in shared) and sum(shared) <= component_bytes
