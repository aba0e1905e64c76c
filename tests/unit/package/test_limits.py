"""Every limit on packages at its edge: one less, the limit, one more. Real archives, real compiles, driven time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import wasmtime
from msgspec.structs import replace

from guesthouse.core.config import PackageLimits
from guesthouse.package.compile import compiler_process
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.errors import CompileError, CompileUnfinished, PackageError
from guesthouse.package.format.archive import unpack
from guesthouse.package.format.load import load_package

from ..driven import MOMENT, SECONDS, DrivenLoop, in_driven_time
from .conftest import GUEST, MANIFEST, package_members, write_zip

OVERS: Final = (-1, 0, 1)

Edge = Callable[[Path, pytest.MonkeyPatch, int], Awaitable[None]]


def limits(**given: float) -> PackageLimits:
    return replace(PackageLimits(), **given)


def refusal(what: Callable[[], object]) -> str:
    """Why a package is refused; empty when it is not."""
    try:
        what()
    except PackageError as error:
        return str(error)
    return ""


def check(said: str, setting: str, over: int) -> None:
    """It was refused when it is over the limit and not otherwise, and then the setting was named."""
    assert (f"package.{setting} in guesthouse.toml" in said) if over > 0 else said == ""


async def zip_bytes(folder: Path, _: pytest.MonkeyPatch, over: int) -> None:
    archive = write_zip(folder / "package.zip", package_members())
    most = limits(zip_bytes=archive.stat().st_size - over)
    check(refusal(lambda: unpack(archive, most, folder / "unpacked")), "zip_bytes", over)


async def unpacked_bytes(folder: Path, _: pytest.MonkeyPatch, over: int) -> None:
    archive = write_zip(folder / "package.zip", package_members())
    most = limits(unpacked_bytes=sum(map(len, package_members().values())) - over)
    check(refusal(lambda: unpack(archive, most, folder / "unpacked")), "unpacked_bytes", over)


async def unpack_ratio(folder: Path, _: pytest.MonkeyPatch, over: int) -> None:
    """Twenty thousand bytes come out of two thousand, of which most are a comment; and one less, and one more."""
    archive = folder / "package.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros", bytes(20_000 + over))
    bare = archive.stat().st_size
    with zipfile.ZipFile(archive, "a") as opened:
        opened.comment = b"x" * (2_000 - bare)
    assert archive.stat().st_size == 2_000
    most = limits(unpack_ratio=10)
    check(refusal(lambda: unpack(archive, most, folder / "unpacked")), "unpack_ratio", over)


async def files(folder: Path, _: pytest.MonkeyPatch, over: int) -> None:
    members = package_members()
    members |= {f"ui/{number}.txt": b"x" for number in range(10 + over - len(members))}
    archive = write_zip(folder / "package.zip", members)
    check(refusal(lambda: unpack(archive, limits(files=10), folder / "unpacked")), "files", over)


async def component_bytes(folder: Path, _: pytest.MonkeyPatch, over: int) -> None:
    """When a package is loaded, and when a component is compiled."""
    component = folder / "guest.wasm"
    component.write_bytes(wasmtime.wat2wasm(GUEST))
    most = limits(component_bytes=component.stat().st_size - over)
    check(refusal(lambda: load_package(str(component), most, folder)), "component_bytes", over)
    if over > 0:
        with pytest.raises(CompileError, match=r"raise package\.component_bytes"):
            await Compiler(folder / "compiled", most).compiled(component)
    else:
        assert (await Compiler(folder / "compiled", most).compiled(component)).is_file()


async def processes(folder: Path, _: pytest.MonkeyPatch, over: int) -> None:
    """Those that the manifest names; children are counted where they are spawned."""
    entry = '\n[[process]]\nname = "more{number}"\nwasm = "build/chat.wasm"\n'
    more = "".join(entry.format(number=number) for number in range(4 + over))
    members = package_members() | {"package.toml": (MANIFEST + more).encode()}
    archive = write_zip(folder / "package.zip", members)
    said = refusal(lambda: load_package(str(archive), limits(processes=5), folder / "unpacked"))
    check(said, "processes", over)


async def compile_seconds(folder: Path, patch: pytest.MonkeyPatch, over: int) -> None:
    """The compiler is stopped, by SIGSTOP, for a time that is driven."""
    component = folder / "guest.wasm"
    component.write_bytes(wasmtime.wat2wasm(GUEST))
    real = asyncio.create_subprocess_exec

    async def play(loop: DrivenLoop) -> None:
        started: asyncio.Future[asyncio.subprocess.Process] = loop.create_future()

        async def stopped(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
            process = await real(*arguments, **options)
            os.kill(process.pid, signal.SIGSTOP)
            started.set_result(process)
            return process

        patch.setattr(asyncio, "create_subprocess_exec", stopped)
        compiler = Compiler(folder / "compiled", limits(compile_seconds=SECONDS))
        compiling = asyncio.ensure_future(compiler.compiled(component))
        process = await started
        await loop.pass_by(SECONDS + over * MOMENT)
        if over >= 0:
            with pytest.raises(
                CompileError, match=r"did not compile within 80 s: .*package\.compile_seconds"
            ):
                await compiling
            assert process.returncode == -signal.SIGKILL
        else:
            process.send_signal(signal.SIGCONT)
            assert (await compiling).is_file()

    await in_driven_time(play)


_MAP: Final = """
import json, mmap, os, sys
from guesthouse.package.compile.main import _limit
from guesthouse.package.compile.job import Job, Task
pages, over = 4096, int(sys.argv[1])
limit = (int(open("/proc/self/statm").read().split()[0]) + pages) * mmap.PAGESIZE
_limit(Job(Task.COMPONENT, os.getppid(), 0, 0, limit, limit, 60))
left = limit // mmap.PAGESIZE - int(open("/proc/self/statm").read().split()[0])
try:
    mmap.mmap(-1, (left + over) * mmap.PAGESIZE)
except OSError as error:
    sys.exit(os.strerror(error.errno))
"""


async def compile_memory_bytes(_: Path, __: pytest.MonkeyPatch, over: int) -> None:
    """A subprocess with the limits of a compiler maps as many pages as are left to it; and one less, and one more."""
    command = [sys.executable, "-I", "-c", _MAP, str(over)]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == ((1, "Cannot allocate memory\n") if over > 0 else (0, ""))


EDGES: Final[dict[str, Edge]] = {
    edge.__name__: edge
    for edge in (
        zip_bytes,
        unpacked_bytes,
        unpack_ratio,
        files,
        component_bytes,
        processes,
        compile_seconds,
        compile_memory_bytes,
    )
}


@pytest.mark.slow
@pytest.mark.parametrize("over", OVERS)
@pytest.mark.parametrize("name", EDGES)
async def test_a_limit_holds_at_its_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, over: int
) -> None:
    await EDGES[name](tmp_path, monkeypatch, over)


@pytest.mark.parametrize(("share", "windows"), [(0.05, 1), (0.5, 2), (0.3, 4)])
async def test_a_compile_on_a_busy_machine_gets_the_time_that_others_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, windows: int
) -> None:
    """The compiler is stopped, and said to get a share of a CPU: with less than a tenth it is ended at once."""
    component = tmp_path / "guest.wasm"
    component.write_bytes(wasmtime.wat2wasm(GUEST))
    real = asyncio.create_subprocess_exec

    async def play(loop: DrivenLoop) -> None:
        started: asyncio.Future[asyncio.subprocess.Process] = loop.create_future()

        async def stopped(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
            process = await real(*arguments, **options)
            os.kill(process.pid, signal.SIGSTOP)
            started.set_result(process)
            return process

        began = loop.time()
        monkeypatch.setattr(asyncio, "create_subprocess_exec", stopped)
        monkeypatch.setattr(compiler_process, "_cpu_seconds", lambda pid: share * (loop.time() - began))
        compiling = asyncio.ensure_future(
            Compiler(tmp_path / "compiled", limits(compile_seconds=SECONDS)).compiled(component)
        )
        process = await started
        if windows > 1:
            await loop.pass_by((windows - 1) * SECONDS + MOMENT)
            assert process.returncode is None
        await loop.pass_by(SECONDS)
        with pytest.raises(CompileUnfinished, match=r"did not compile within 80 s"):
            await compiling
        assert process.returncode == -signal.SIGKILL

    await in_driven_time(play)
