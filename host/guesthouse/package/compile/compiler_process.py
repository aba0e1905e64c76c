"""The compiler subprocesses of one component: input, time limits, and results."""

from __future__ import annotations

import asyncio
import math
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from guesthouse.core.config import PackageLimits
from guesthouse.core.json_text import read_json
from guesthouse.package.compile.cache import MAX_MODULES, MAX_NOTE_BYTES, MOST_NOTE_COMMAS, Made
from guesthouse.package.compile.description import Description
from guesthouse.package.compile.job import NO_ROOM, REFUSED, SHARED_BYTES, WRONG_ENGINE, Job, Task
from guesthouse.package.errors import CompileError
from guesthouse.wasm.engine.engines import is_small

_MODULE: Final = "guesthouse.package.compile.main"
_REASON_BYTES: Final = 600
_CUT_OFF: Final = ("unexpected end", "is out of bounds (bound")
"""wasmtime's messages for a truncated file."""
_CPUS: Final = os.cpu_count() or 1
_LOOK_SECONDS: Final = 0.25
"""Between two checks of a subprocess's CPU time."""
_LEAST_SHARE: Final = 0.1
"""Share of a CPU below which it hangs, or the machine is too busy to compile."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A compile failed; the reason follows the file's name."""

    def __init__(
        self,
        why: str,
        *,
        refused: bool = False,
        unfinished: bool = False,
        over: bool = False,
        wrong_engine: bool = False,
    ) -> None:
        super().__init__(why)
        self.refused = refused
        """Whether the engine rejected its input."""
        self.unfinished = unfinished
        """Whether the compiler was ended before it finished."""
        self.over = over
        """Whether it timed out."""
        self.wrong_engine = wrong_engine
        """Whether it would fail so for every component."""


class CompileRun:
    """The compiling of one component; its limits apply to all subprocesses together, which run one at a time.

    It times out when the limit has passed in time and in CPU time, because a busy machine is no fault of the
    component. A subprocess that gets hardly any CPU in that time is ended, too.

    Needs no closing: a subprocess is killed before `made` ends, however it ends, and dies with the node.
    """

    def __init__(self, limits: PackageLimits) -> None:
        """The time starts now."""
        self._limits = limits
        self._now = asyncio.get_running_loop().time
        self._until = self._now() + limits.compile_seconds
        self._cpu_seconds = 0.0
        self._cpu_seconds_before = 0.0
        """At the last extension of the deadline."""
        self._output_bytes = limits.compile_memory_bytes

    async def made(self, task: Task, source: IO[bytes], digest: str, code: Path) -> Made:
        """Run a subprocess.

        Args:
            task: what to do.
            source: its input, from the beginning.
            digest: the SHA-256 of that.
            code: the file for its output.

        Raises:
            Failed: it failed.
            CompileError: its output is invalid.
        """
        os.lseek(source.fileno(), 0, os.SEEK_SET)
        with _unnamed(code.parent) as (note, reason):
            with code.open("wb") as output:
                status = await self._run(task, source, output, note, reason)
            if status != 0:
                raise self._failure(status, reason, code.parent)
            compiled_digest, made = _reply(note, code, os.fstat(source.fileno()).st_size, task)
        if compiled_digest != digest:
            raise Failed("changed while it was compiled: try again")
        self._output_bytes -= sum(made.sizes)
        return made

    async def _run(
        self, task: Task, source: IO[bytes], output: IO[bytes], note: IO[bytes], reason: IO[bytes]
    ) -> int | None:
        """The subprocess's exit code; negative for a signal, None when it timed out."""
        seconds = self._limits.compile_seconds - self._cpu_seconds
        if self._is_over():
            return None
        job = Job(
            task=task,
            parent=os.getpid(),
            reply_fd=note.fileno(),
            component_bytes=self._limits.component_bytes,
            memory_bytes=self._limits.compile_memory_bytes,
            output_bytes=max(0, self._output_bytes),
            cpu_seconds=math.ceil(max(seconds, 0.0) * _CPUS),
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
            return await self._ended(subprocess)
        finally:
            if subprocess.returncode is None:
                subprocess.kill()
                await subprocess.wait()

    async def _ended(self, subprocess: asyncio.subprocess.Process) -> int | None:
        """Its exit code once it has ended; None when it timed out."""
        before, looked = self._cpu_seconds, self._now()
        while True:
            try:
                async with asyncio.timeout(min(_LOOK_SECONDS, max(0.0, self._until - self._now()))):
                    status = await subprocess.wait()
            except TimeoutError:
                self._cpu_seconds = before + _cpu_seconds(subprocess.pid)
                looked = self._now()
                if self._is_over():
                    return None
            else:
                self._cpu_seconds += min(self._now() - looked, _LOOK_SECONDS)
                return status

    def _is_over(self) -> bool:
        """Whether the deadline has passed and is not extended for lack of CPU."""
        seconds = self._limits.compile_seconds
        if self._now() < self._until:
            return False
        used = self._cpu_seconds - self._cpu_seconds_before
        if self._cpu_seconds >= seconds or used < _LEAST_SHARE * seconds:
            return True
        self._cpu_seconds_before = self._cpu_seconds
        self._until = self._now() + seconds
        return False

    def _failure(self, status: int | None, reason: IO[bytes], folder: Path) -> Failed:
        reason.seek(0)
        said = " ".join(reason.read(_REASON_BYTES).decode("utf-8", "replace").split())
        if status == REFUSED:
            cut_off = any(words in said for words in _CUT_OFF)
            why = (
                f"is truncated: copy or build it again ({said})"
                if cut_off
                else f"is not a component that this host can compile: {said}; build it again"
            )
            return Failed(why, refused=True)
        if status == NO_ROOM:
            return Failed(f"was not compiled because the disk of {folder} is full: make room, and try again")
        if status == WRONG_ENGINE:
            return Failed(f"cannot be used here: {said}", wrong_engine=True)
        over = status in (None, -signal.SIGXCPU)
        return Failed(self._complaint(status, said), unfinished=over or status == -signal.SIGKILL, over=over)

    def _complaint(self, status: int | None, said: str) -> str:
        if status == -signal.SIGKILL:
            return (
                "was not compiled because its compiler was killed, most likely because this machine ran out of "
                "memory: try again, or make it smaller"
            )
        if status is None or status == -signal.SIGXCPU:
            if self._cpu_seconds >= self._limits.compile_seconds or status is not None:
                return (
                    f"did not compile within {self._limits.compile_seconds:g} s: make it smaller, "
                    "or raise package.compile_seconds in guesthouse.toml"
                )
            return (
                f"did not compile within {self._limits.compile_seconds:g} s: its compiler got "
                f"{self._cpu_seconds:.1f} s of CPU time on this busy machine: try again later, "
                "or raise package.compile_seconds in guesthouse.toml"
            )
        if "ModuleNotFoundError" in said:
            return f"cannot be compiled because Guesthouse is not installed for {sys.executable}: run 'pip install .'"
        _, addresses = resource.getrlimit(resource.RLIMIT_AS)
        if addresses != resource.RLIM_INFINITY and addresses < self._limits.compile_memory_bytes:
            return (
                f"crashed the compiler (exit {status}), most likely at this program's limit of {addresses} bytes of "
                "address space: raise that limit (`ulimit -v`, LimitAS=)"
            )
        return (
            f"crashed the compiler (exit {status}), most likely at its limit of {self._limits.compile_memory_bytes} "
            "bytes of memory: make it smaller, or raise package.compile_memory_bytes in guesthouse.toml"
        )


def _cpu_seconds(pid: int) -> float:
    """CPU time of a subprocess's threads; 0 for one that asyncio has already waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def _unnamed(folder: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    with tempfile.TemporaryFile(dir=folder) as one, tempfile.TemporaryFile(dir=folder) as other:
        yield one, other


def _reply(note: IO[bytes], code: Path, component_bytes: int, task: Task) -> tuple[str, Made]:
    """The subprocess's description of its result, which is not trusted."""
    note.seek(0)
    try:
        reply = read_json(note.read(MAX_NOTE_BYTES), MAX_NOTE_BYTES, MOST_NOTE_COMMAS)
        sizes, handed_back = reply["sizes"], reply["handed_back"]
        if not _are_sizes(sizes, code.stat().st_size) or (task is not Task.COMPONENT and len(sizes) != 1):
            raise ValueError("invalid sizes of parts")
        if handed_back and not (
            task is Task.COMPONENT and _are_handed_back(handed_back, sizes[1:], component_bytes)
        ):
            raise ValueError("invalid numbers of shared modules")
        description = Description.from_json(reply["description"])
        return str(reply["sha256"]), Made(code, tuple(sizes), description, frozenset(handed_back))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CompileError(
            "the compiler subprocess gave no valid description: please report this as a bug"
        ) from None


def _are_sizes(sizes: object, total: int) -> bool:
    """Whether these are positive sizes with that total."""
    return (
        isinstance(sizes, list)
        and 1 <= len(sizes) <= MAX_MODULES + 1
        and all(type(size) is int and size >= 0 for size in sizes)
        and sum(sizes) == total
    )


def _are_handed_back(numbers: object, sizes: Sequence[int], component_bytes: int) -> bool:
    """Whether these are the numbers of modules that are large enough to share and fit such a component: each
    costs a subprocess.
    """
    if not isinstance(numbers, list) or is_small(component_bytes):
        return False
    if not all(type(number) is int and 0 <= number < len(sizes) for number in numbers):
        return False
    shared = [sizes[number] for number in set(numbers)]
    return all(size >= SHARED_BYTES for size in shared) and sum(shared) <= component_bytes
