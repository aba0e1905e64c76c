"""Core modules that components have in common: compiled once, by who saw nothing else, and used by all."""

# ruff: noqa: ASYNC240 - a test may block its own loop

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
from pathlib import Path
from typing import IO, Any, Final

import pytest

from guesthouse.core.config import PackageLimits
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.compile.compiler_process import CompileRun
from guesthouse.package.compile.job import SHARED_BYTES, Job, Task
from guesthouse.package.errors import CompileError
from guesthouse.wasm.artifact_files import core_path, module_paths
from guesthouse.wasm.engine.engines import SMALL_COMPONENT, new_compiling_engine
from guesthouse.wasm.loader import Engines
from guesthouse.wasm.plan.plan_json import plan_from_json
from guesthouse.worker.calls import ENTRIES, HostCalls

from .large import (
    BOTH,
    MODULE,
    ONE,
    OTHER,
    TWO,
    A,
    B,
    Runs,
    code,
    code_bytes,
    component,
    digest,
    library,
    modules_of,
    shared,
    tasks,
    written,
)
from .test_compiler import contents

pytestmark = pytest.mark.slow

LIMITS: Final = PackageLimits()


@pytest.fixture
def cache_dir(cache_with_a: Path) -> Path:
    """A cache that has A."""
    return cache_with_a


def test_the_modules_here_are_what_their_names_say() -> None:
    assert modules_of(A)[0] == modules_of(B)[0] == modules_of(BOTH)[0]
    assert modules_of(A)[1] != modules_of(B)[1]
    assert code_bytes(MODULE) >= SHARED_BYTES > code_bytes(modules_of(A)[1])
    assert len(modules_of(A)[1]) > SHARED_BYTES


async def test_a_module_is_compiled_for_the_first_component_that_has_it(
    cache_dir: Path, a: Path, b: Path, runs: Runs
) -> None:
    """And by a subprocess that gets it alone."""
    shutil.rmtree(cache_dir)
    compiler = Compiler(cache_dir, LIMITS)
    paths = [await compiler.compiled(a), await compiler.compiled(b)]
    assert runs == [(Task.COMPONENT, A), (Task.MODULE, MODULE), (Task.COMPONENT, B)]
    assert list(cache_dir.glob("*.module")) == [shared(cache_dir, MODULE)]
    assert shared(cache_dir, MODULE).read_bytes() == code(MODULE)
    for path, content in zip(paths, (A, B), strict=True):
        plan = plan_from_json(path.read_bytes())
        assert module_paths(path, plan.modules) == [shared(cache_dir, MODULE), core_path(path, 1)]
        assert core_path(path, 1).read_bytes() == code(modules_of(content)[1])
        assert not core_path(path, 0).exists()
    assert all(each.stat().st_mode & 0o077 == 0 for each in cache_dir.iterdir())


@pytest.mark.thorough
async def test_components_that_want_a_new_module_at_once_have_it_compiled_once(
    tmp_path: Path, a: Path, b: Path, runs: Runs
) -> None:
    compiler = Compiler(tmp_path / "new" / "compiled", LIMITS)
    both = written(tmp_path, "both", BOTH)
    await asyncio.gather(*(compiler.compiled(each) for each in (a, b, both)))
    assert sorted(tasks(runs)) == [Task.COMPONENT] * 3 + [Task.MODULE] * 2
    assert {content for task, content in runs if task is Task.MODULE} == set(modules_of(BOTH)[:2])


async def test_a_component_that_is_there_takes_no_subprocess_whoever_asks(
    cache_dir: Path, a: Path, runs: Runs
) -> None:
    await Compiler(cache_dir, LIMITS).compiled(a)
    assert not runs


@pytest.mark.thorough
async def test_neither_small_components_nor_modules_of_little_code_share(tmp_path: Path, runs: Runs) -> None:
    compiler = Compiler(tmp_path / "new" / "compiled", LIMITS)
    little = component("little", library(1, functions=SHARED_BYTES // 500 - 10))
    small = component("small", ONE, padding=0)
    assert len(small) < SMALL_COMPONENT < len(little)
    for name, content in (("little", little), ("small", small)):
        await compiler.compiled(written(tmp_path, name, content))
    assert tasks(runs) == [Task.COMPONENT] * 2
    assert not list((tmp_path / "new" / "compiled").glob("*.module"))


@pytest.mark.thorough
async def test_a_component_with_a_faulty_module_is_refused_with_the_engines_reason(
    tmp_path: Path, runs: Runs
) -> None:
    cache_dir = tmp_path / "new" / "compiled"
    faulty = written(tmp_path, "faulty", component("faulty", ONE, library(3, body="i64.const 1 drop drop")))
    with pytest.raises(CompileError, match=r"not a component that this host can compile: .*type mismatch"):
        await Compiler(cache_dir, LIMITS).compiled(faulty)
    assert tasks(runs) == [Task.COMPONENT, Task.MODULE, Task.MODULE, Task.FAULT]
    assert {path.suffix for path in cache_dir.iterdir()} == {".module", ".seal"}  # of the one that is right


@pytest.mark.thorough
async def test_all_subprocesses_of_a_component_share_its_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    real = asyncio.create_subprocess_exec

    async def seen(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        jobs.append(Job.from_argument(arguments[-1]))
        return await real(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", seen)
    cache_dir = tmp_path / "new" / "compiled"
    await Compiler(cache_dir, LIMITS).compiled(written(tmp_path, "both", BOTH))
    whole, one, two = jobs
    made = one.output_bytes - two.output_bytes
    assert made == shared(cache_dir, MODULE).stat().st_size
    assert whole.output_bytes == LIMITS.compile_memory_bytes > one.output_bytes
    cpus = os.cpu_count() or 1
    assert LIMITS.compile_seconds * cpus >= whole.cpu_seconds >= one.cpu_seconds >= two.cpu_seconds > 0


async def test_a_module_that_goes_over_a_limit_refuses_its_component(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = CompileRun._run

    async def late(self: CompileRun, task: Task, *files: IO[bytes]) -> int | None:
        if task is Task.MODULE:
            self._until = asyncio.get_running_loop().time()
        return await real(self, task, *files)

    monkeypatch.setattr(CompileRun, "_run", late)
    before = contents(cache_dir)
    both = written(tmp_path, "both", BOTH)
    with pytest.raises(CompileError, match=r"both\.wasm did not compile within 120 s"):
        await Compiler(cache_dir, LIMITS).compiled(both)
    assert contents(cache_dir) == before


async def test_a_compile_that_is_cancelled_at_a_module_leaves_no_subprocess_and_no_half_of_it(
    tmp_path: Path, a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[asyncio.subprocess.Process] = []
    at_module = asyncio.Event()
    real = asyncio.create_subprocess_exec

    async def watched(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await real(*arguments, **options))
        if Job.from_argument(arguments[-1]).task is Task.MODULE:
            at_module.set()
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    cache_dir = tmp_path / "new" / "compiled"
    async with asyncio.TaskGroup() as group:
        compiling = group.create_task(Compiler(cache_dir, LIMITS).compiled(a))
        await at_module.wait()
        compiling.cancel()
    assert [each.returncode for each in started] == [0, -signal.SIGKILL]
    assert list(cache_dir.iterdir()) == []


def age(*paths: Path) -> None:
    """Let files be of long ago."""
    for path in paths:
        os.utime(path, (0, 0))


@pytest.mark.thorough
async def test_a_module_goes_when_no_component_names_it_and_nobody_used_it_of_late(
    cache_dir: Path, a: Path, b: Path, tmp_path: Path, guest: Path
) -> None:
    await Compiler(cache_dir, LIMITS).compiled(b)
    module, stems = shared(cache_dir, MODULE), {digest(A), digest(B)}
    for stem in sorted(stems):
        age(*cache_dir.iterdir())
        await Compiler(cache_dir, LIMITS).compiled(written(tmp_path, stem, component(stem)))
        assert module.exists()
        for each in cache_dir.glob(f"{stem}-*"):
            each.unlink()
    used = module.with_suffix(".seal")
    os.utime(used)
    await Compiler(cache_dir, LIMITS).compiled(written(tmp_path, "c", component("c")))
    assert module.exists()
    age(*cache_dir.iterdir())
    await Compiler(cache_dir, LIMITS).compiled(guest)
    assert not module.exists()
    assert not used.exists()


async def test_what_a_node_uses_stays_though_no_component_names_it(
    cache_dir: Path, a: Path, guest: Path
) -> None:
    compiler = Compiler(cache_dir, LIMITS)
    path = await compiler.compiled(a)
    path.with_suffix(".shared").unlink()
    age(*cache_dir.iterdir())
    await compiler.compiled(guest)
    assert shared(cache_dir, MODULE).exists()


@pytest.mark.thorough
async def test_what_is_left_of_components_that_could_not_be_compiled_goes_though_none_ever_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever has such components compiled could fill the disk."""
    real = CompileRun._run

    async def late(self: CompileRun, task: Task, source: IO[bytes], *files: IO[bytes]) -> int | None:
        if task is Task.MODULE and os.pread(source.fileno(), 1 << 30, 0) == OTHER:
            return None
        return await real(self, task, source, *files)

    monkeypatch.setattr(CompileRun, "_run", late)
    cache_dir = tmp_path / "new" / "compiled"
    compiler = Compiler(cache_dir, LIMITS)
    for own in (ONE, library(3), library(4)):
        stored = set(cache_dir.glob("*.module"))
        age(*cache_dir.glob("*"))
        path = written(tmp_path, "late", component("late", own, TWO))
        with pytest.raises(CompileError, match="did not compile within"):
            await compiler.compiled(path)
        assert not any(module.exists() for module in stored)
        assert len(list(cache_dir.glob("*.module"))) == 1


@pytest.mark.thorough
async def test_a_full_cache_counts_a_shared_module_once_and_drops_it_with_the_last_of_its_components(
    cache_dir: Path, a: Path, b: Path, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Compiler(cache_dir, LIMITS).compiled(b)
    size = sum(path.stat().st_size for path in cache_dir.iterdir())
    assert size < 2 * shared(cache_dir, MODULE).stat().st_size + 4 * SMALL_COMPONENT
    for room, left in ((size + 100_000, {digest(A), digest(B)}), (size - 1, {digest(B)}), (1, set[str]())):
        monkeypatch.setattr("guesthouse.package.compile.cache.MAX_CACHE_BYTES", room)
        age(*cache_dir.glob(f"{digest(A)}-*"), *cache_dir.glob("*.seal"), *cache_dir.glob("*.module"))
        for each in cache_dir.glob(f"{digest(guest.read_bytes())}-*"):
            each.unlink()
        await Compiler(cache_dir, LIMITS).compiled(guest)
        stems = {path.name.partition("-")[0] for path in cache_dir.iterdir()}
        assert stems == {digest(guest.read_bytes()), *left, *([digest(MODULE)] if left else [])}


async def test_a_worker_loads_a_shared_module_once_and_lets_go_of_it_with_the_last_component(
    cache_dir: Path, a: Path, b: Path
) -> None:
    compiler = Compiler(cache_dir, LIMITS)
    paths = [await compiler.compiled(a), await compiler.compiled(b)]
    engines = Engines(new_compiling_engine(), new_compiling_engine(small=True))
    loaded: list[Any] = [engines.load(path, HostCalls(), *ENTRIES) for path in paths]
    first, second = (each._modules for each in loaded)
    assert first[0] is second[0]
    assert first[1] is not second[1]
    assert list(engines._shared.values()) == [first[0]]
    del loaded[0], first
    gc.collect()
    assert list(engines._shared.values()) == [second[0]]
    del loaded[0], second
    gc.collect()
    assert not engines._shared
