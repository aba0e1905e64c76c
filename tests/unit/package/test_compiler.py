"""Real compiles in real subprocesses, with their limits, and a cache that trusts nothing it did not write."""

# ruff: noqa: ASYNC240 - a test may block its own loop

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import wasmtime
from wasmtime.component import Component

from guesthouse.config import MIB, PackageLimits
from guesthouse.package.cache import CompileCache
from guesthouse.package.compiler import Compiler
from guesthouse.package.errors import CompileError
from guesthouse.worker.boundary.engine import new_engine

from .conftest import GUEST

LIMITS = PackageLimits()


class Lines:
    """A log that a test can read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, source: str, level: str, text: str, *, stream: str = "host") -> None:
        self.lines.append(f"{source} {level}: {text}")


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "home" / "compiled"


async def refused(compiler: Compiler, component: Path) -> str:
    with pytest.raises(CompileError) as caught:
        await compiler.compiled(component)
    text = str(caught.value)
    assert "\n" not in text
    assert str(component) in text
    return text


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A component of many functions, each with work for the compiler: seconds of it."""
    step = "(local.set 0 (i32.mul (local.get 0) (i32.add (local.get 0) (i32.const 3))))"
    function = f"(func (local i32) {step * 50})"
    path = tmp_path_factory.mktemp("slow") / "slow.wasm"
    path.write_bytes(wasmtime.wat2wasm(f"(component (core module {function * 10_000}))"))
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A component that compiles at once, into much memory."""
    path = tmp_path_factory.mktemp("large") / "large.wasm"
    data = f'(memory 1000) (data (i32.const 0) "{"x" * 40 * MIB}")'
    path.write_bytes(wasmtime.wat2wasm(f"(component (core module {data}))"))
    return path


async def test_the_result_is_what_the_engine_loads(guest: Path, cache_dir: Path) -> None:
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    engine = new_engine(small=True)
    component = Component.deserialize_file(engine, str(path))
    assert list(component.type.exports(engine)) == ["guesthouse:process/guest@0.1.0"]
    assert cache_dir.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


async def test_a_component_is_described(guest: Path, cache_dir: Path) -> None:
    description = await Compiler(cache_dir, LIMITS).described(guest)
    (export,) = description.exports
    assert (export.name, export.kind, export.functions) == (
        "guesthouse:process/guest@0.1.0",
        "interface",
        ("run",),
    )


async def test_a_component_is_compiled_once_whoever_asks(
    guest: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = 0
    real = asyncio.create_subprocess_exec

    async def counted(*arguments: object, **options: object) -> asyncio.subprocess.Process:
        nonlocal started
        started += 1
        return await real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", counted)
    copy = guest.with_name("copy.wasm")
    shutil.copy(guest, copy)
    compiler = Compiler(cache_dir, LIMITS)
    paths = await asyncio.gather(*(compiler.compiled(path) for path in (guest, copy, guest, copy)))
    assert len(set(paths)) == 1
    assert await Compiler(cache_dir, LIMITS).compiled(guest) == paths[0]
    assert started == 1


async def test_nothing_is_left_beside_the_results(guest: Path, cache_dir: Path) -> None:
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    assert {each.name for each in cache_dir.iterdir()} == {path.name, path.with_suffix(".json").name}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x00a", "is cut off within its header"),
        (b"\x00asm\x0d\x00", "is cut off within its header"),
        (b"\x00asm\x01\x00\x00\x00", "is a core module"),
        (b"\x00asm\x02\x00\x00\x00", "unknown version"),
        (b"(component)", "is text"),
        ("naïve ".encode() * 2000, "is text"),
        (b"PK\x03\x04", "is a zip archive"),
        (b"\x7fELF\x02\x01", "is not a WebAssembly component"),
    ],
)
async def test_what_is_no_component_is_told_apart(
    content: bytes, says: str, tmp_path: Path, cache_dir: Path
) -> None:
    component = tmp_path / "x.wasm"
    component.write_bytes(content)
    assert says in await refused(Compiler(cache_dir, LIMITS), component)


async def test_a_component_cut_off_anywhere_is_refused(guest: Path, cache_dir: Path) -> None:
    whole = guest.read_bytes()
    compiler = Compiler(cache_dir, LIMITS)
    for size in (9, len(whole) // 2, len(whole) - 1):
        guest.write_bytes(whole[:size])
        assert "is cut off" in await refused(compiler, guest)
    assert list(cache_dir.iterdir()) == []


async def test_a_damaged_component_is_refused(guest: Path, cache_dir: Path) -> None:
    content = bytearray(guest.read_bytes())
    content[8] = 0x7F
    guest.write_bytes(bytes(content))
    assert "is not a component that this host can compile" in await refused(
        Compiler(cache_dir, LIMITS), guest
    )


async def test_a_missing_file_is_named(tmp_path: Path, cache_dir: Path) -> None:
    assert "cannot be read" in await refused(Compiler(cache_dir, LIMITS), tmp_path / "missing.wasm")


async def test_a_component_over_its_size_is_refused(guest: Path, cache_dir: Path) -> None:
    limits = replace(LIMITS, component_bytes=guest.stat().st_size - 1)
    assert "package.component_bytes" in await refused(Compiler(cache_dir, limits), guest)


async def test_a_compile_that_takes_too_long_is_ended(slow: Path, cache_dir: Path) -> None:
    compiler = Compiler(cache_dir, replace(LIMITS, compile_seconds=0.3))
    assert "package.compile_seconds" in await refused(compiler, slow)
    assert list(cache_dir.iterdir()) == []


@pytest.mark.parametrize("memory", [100 * MIB, 200 * MIB])
async def test_a_compile_that_takes_too_much_memory_is_ended(
    memory: int, large: Path, cache_dir: Path
) -> None:
    """The component is 40 MiB; at 100 MiB its copies do not fit, at 200 MiB what is made of it does not."""
    compiler = Compiler(cache_dir, replace(LIMITS, compile_memory_bytes=memory))
    assert "package.compile_memory_bytes" in await refused(compiler, large)
    assert list(cache_dir.iterdir()) == []
    assert (await Compiler(cache_dir, LIMITS).compiled(large)).is_file()


async def test_after_a_refusal_others_compile(guest: Path, tmp_path: Path, cache_dir: Path) -> None:
    bad = tmp_path / "bad.wasm"
    bad.write_bytes(guest.read_bytes()[:-1])
    compiler = Compiler(cache_dir, LIMITS)
    await refused(compiler, bad)
    assert (await compiler.compiled(guest)).is_file()


async def test_a_cancelled_compile_leaves_no_subprocess(
    slow: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()
    real = asyncio.create_subprocess_exec

    async def watched(*arguments: object, **options: object) -> asyncio.subprocess.Process:
        subprocess = await real(*arguments, **options)  # type: ignore[arg-type]
        started.set_result(subprocess)
        return subprocess

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(Compiler(cache_dir, LIMITS).compiled(slow))
        subprocess = await started
        task.cancel()
    assert subprocess.returncode is not None
    assert list(cache_dir.iterdir()) == []


async def other(tmp_path: Path, cache_dir: Path) -> Path:
    """Another component's compiled form: what a poisoner would like to run."""
    component = tmp_path / "other.wasm"
    component.write_bytes(wasmtime.wat2wasm(GUEST.replace('"run")))', '"run") unreachable))', 1)))
    return await Compiler(cache_dir, LIMITS).compiled(component)


@pytest.mark.parametrize("poison", ["bytes", "swap", "swap both", "cut", "open", "link", "hard link", "note"])
async def test_a_poisoned_result_is_never_handed_out(
    poison: str, guest: Path, tmp_path: Path, cache_dir: Path
) -> None:
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    good = path.read_bytes()
    note = path.with_suffix(".json")
    evil = await other(tmp_path, cache_dir)
    match poison:
        case "bytes":
            path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        case "swap":
            shutil.copyfile(evil, path)
        case "swap both":
            shutil.copyfile(evil, path)
            shutil.copyfile(evil.with_suffix(".json"), note)
        case "cut":
            path.write_bytes(good[: len(good) // 2])
        case "open":
            path.chmod(0o666)
        case "link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        case "hard link":
            (tmp_path / "elsewhere").hardlink_to(path)
        case "note":
            note.write_text(note.read_text().replace('"run"', '"ran"'))
    log = Lines()
    again = await Compiler(cache_dir, LIMITS, log).compiled(guest)
    assert again == path
    assert not path.is_symlink()
    assert path.stat().st_nlink == 1
    assert path.stat().st_mode & 0o077 == 0
    assert path.read_bytes() != evil.read_bytes()
    assert len(log.lines) == 1
    assert path.name in log.lines[0]


async def test_a_result_forged_without_the_key_is_not_handed_out(guest: Path, cache_dir: Path) -> None:
    """Whoever can write to the folder, but not read the key beside it, stores a result of their own."""
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    cache_dir.with_name(cache_dir.name + ".key").unlink()
    log = Lines()
    assert await Compiler(cache_dir, LIMITS, log).compiled(guest) == path
    assert len(log.lines) == 1


async def test_a_cache_that_others_can_enter_is_refused(guest: Path, cache_dir: Path) -> None:
    cache_dir.mkdir(parents=True)
    cache_dir.chmod(0o755)
    with pytest.raises(CompileError, match="open to other users"):
        await Compiler(cache_dir, LIMITS).compiled(guest)


async def test_another_engine_has_results_of_its_own(guest: Path, cache_dir: Path) -> None:
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    digest = path.name.partition("-")[0]
    assert CompileCache(cache_dir, "another").find(digest) is None


async def test_what_a_killed_compile_left_is_cleared_away(guest: Path, cache_dir: Path) -> None:
    cache_dir.mkdir(parents=True, mode=0o700)
    old, fresh = cache_dir / ".new-old", cache_dir / ".new-fresh"
    old.touch()
    fresh.touch()
    os.utime(old, (0, 0))
    await Compiler(cache_dir, LIMITS).compiled(guest)
    assert not old.exists()
    assert fresh.exists()


async def test_a_compiler_that_is_killed_from_outside_is_not_said_to_be_slow(
    guest: Path, cache_dir: Path
) -> None:
    compiling = asyncio.ensure_future(Compiler(cache_dir, LIMITS).compiled(guest))
    for _ in range(4000):
        await asyncio.sleep(0.005)
        if found := compilers_of(os.getpid()):
            os.kill(found.pop(), signal.SIGKILL)
            break
    with pytest.raises(CompileError, match="was killed from outside"):
        await compiling
    assert list(cache_dir.iterdir()) == []
    assert (await Compiler(cache_dir, LIMITS).compiled(guest)).is_file()


def compilers_of(pid: int) -> list[int]:
    """Compiler subprocesses of a program. One that is not yet the compiler is none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"guesthouse.package.compile_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


async def test_a_disk_without_room_refuses_the_component_and_keeps_no_half_of_it(
    guest: Path, cache_dir: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    compiler = Compiler(cache_dir, LIMITS)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
    try:
        with pytest.raises(CompileError, match=r"File too large; see that the disk has room"):
            await compiler.compiled(guest)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(cache_dir.iterdir()) == []
    assert (await compiler.compiled(guest)).is_file()


async def test_a_full_cache_drops_the_longest_unused_but_nothing_in_use(
    guest: Path, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused = await other(tmp_path, cache_dir)
    monkeypatch.setattr("guesthouse.package.cache.MAX_CACHE_BYTES", 1)
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    assert path.is_file()
    assert not unused.exists()
    assert not unused.with_suffix(".json").exists()
