"""Real compiles in real subprocesses, with their limits, and a cache that trusts nothing it did not write."""

# ruff: noqa: ASYNC240 - a test may block its own loop

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import IO, Any

import pytest
import wasmtime
from msgspec.structs import replace
from tests.e2e.waiting import command_line
from tests.tiers import thorough_after

from guesthouse.core.config import MIB, PackageLimits
from guesthouse.package.compile.cache import CompileCache
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.compile.compiler_process import CompileRun
from guesthouse.package.compile.job import Task
from guesthouse.package.errors import CompileError, CompileUnfinished
from guesthouse.wasm.artifact_files import core_path
from guesthouse.wasm.engine.engines import new_compiling_engine
from guesthouse.wasm.plan.plan import Export
from guesthouse.wasm.plan.plan_json import plan_from_json
from guesthouse.wasm.plan.planner import take_apart

from .conftest import GUEST

pytestmark = pytest.mark.slow

LIMITS = PackageLimits()
LIFT = '(core func $i "run")'


class Lines:
    """A log that a test can read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
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
    step = "(local.set 0 (i32.div_u (local.get 0) (i32.add (local.get 0) (i32.const 3))))"
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


@pytest.fixture
def unusual(tmp_path: Path) -> Path:
    """A component that is not taken apart."""
    path = tmp_path / "unusual.wasm"
    path.write_bytes(wasmtime.wat2wasm(GUEST.replace(LIFT, f"{LIFT} string-encoding=utf16")))
    return path


async def test_a_component_that_cannot_be_taken_apart_is_refused_in_one_line(
    unusual: Path, cache_dir: Path
) -> None:
    with pytest.raises(
        CompileError, match=r"cannot run here: it lifts or lowers with the option 0x1"
    ) as refused:
        await Compiler(cache_dir, LIMITS).compiled(unusual)
    assert "\n" not in str(refused.value)
    assert not list(cache_dir.iterdir())


async def test_a_component_taken_apart_is_its_plan_and_modules_that_the_engine_loads(
    guest: Path, cache_dir: Path
) -> None:
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    plan = plan_from_json(path.read_bytes())
    assert [(each.name, each.function) for each in plan.exports] == [("run", Export(0, "run"))]
    assert plan.modules == 1
    module = wasmtime.Module.deserialize_file(new_compiling_engine(small=plan.small), str(core_path(path, 0)))
    assert [export.name for export in module.exports] == ["run"]
    assert set(cache_dir.iterdir()) == {path, core_path(path, 0), path.with_suffix(".json")}
    assert all(each.stat().st_mode & 0o077 == 0 for each in (cache_dir, *cache_dir.iterdir()))


async def test_the_parts_of_a_component_are_what_its_modules_compile_to(
    tmp_path: Path, cache_dir: Path
) -> None:
    """They pass through one file, so each must begin and end where it should."""
    component = tmp_path / "three.wasm"
    content = wasmtime.wat2wasm(
        "(component"
        + "".join(f'(core module (func (export "f{n}")) (memory {n}))' for n in range(3))
        + '(core instance $i (instantiate 0)) (func (export "run") (canon lift (core func $i "f0"))))'
    )
    component.write_bytes(content)
    path = await Compiler(cache_dir, LIMITS).compiled(component)
    engine = new_compiling_engine(small=True)
    parts = take_apart(bytes(content), engine)
    assert plan_from_json(path.read_bytes()) == parts.plan
    assert len(parts.modules) == 3
    for number, module in enumerate(parts.modules):
        assert core_path(path, number).read_bytes() == wasmtime.Module(engine, module).serialize()


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


@pytest.mark.thorough
async def test_a_package_with_many_components_holds_up_another_for_one_of_them(
    guest: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def variant(number: int) -> Path:
        path = guest.with_name(f"variant{number}.wasm")
        path.write_bytes(guest.read_bytes() + bytes((0, 3, 1, ord("n"), number)))
        return path

    begun: list[Path] = []
    compiler = Compiler(cache_dir, LIMITS, begins=begun.append)
    turns, has_asked = compiler._turns, asyncio.Event()
    ask = turns.turn

    def turn(package: str) -> Any:
        has_asked.set()
        return ask(package)

    many, its_own = [variant(number) for number in range(4)], variant(9)
    shared = many[-1]  # a component that the others have too is theirs as much
    async with turns.turn("many:x.os"):
        monkeypatch.setattr(turns, "turn", turn)
        asked = []
        for component, package in (
            *((each, "many:x.os") for each in many),
            (its_own, "few:x.os"),
            (shared, "few:x.os"),
        ):
            has_asked.clear()
            asked.append(asyncio.create_task(compiler.compiled(component, package)))
            await has_asked.wait()  # a thread reads the file first: they would ask in any order
    await asyncio.gather(*asked)
    assert len(begun) == 5, "each once"
    assert begun.index(its_own) <= 1
    assert begun.index(shared) <= 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x00a", "is truncated"),
        (b"\x00asm\x0d\x00", "is truncated"),
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
        assert "is truncated" in await refused(compiler, guest)
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


@pytest.mark.parametrize("memory", thorough_after(1, [100 * MIB, 200 * MIB]))
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


async def other(tmp_path: Path, cache_dir: Path, like: Path | None = None) -> Path:
    """Another component's compiled form: what a poisoner would like to run."""
    component = tmp_path / "other.wasm"
    text = GUEST.replace('"run")))', '"run") unreachable))', 1)
    if like is not None and like.name == "unusual.wasm":
        text = text.replace(LIFT, f"{LIFT} string-encoding=utf16")
    component.write_bytes(wasmtime.wat2wasm(text))
    return await Compiler(cache_dir, LIMITS).compiled(component)


POISONS = (
    *(
        "bytes",
        "swap",
        "swap all",
        "cut",
        "open",
        "link",
        "hard link",
        "note",
        "more",
        "fewer",
        "another form",
        "others' modules",
    ),
    "modules as text",
)


@pytest.mark.parametrize("part", ["plan", "module"])
@pytest.mark.parametrize("poison", thorough_after(2, POISONS))
async def test_a_poisoned_result_is_never_handed_out(
    poison: str, part: str, guest: Path, tmp_path: Path, cache_dir: Path
) -> None:
    """Whichever of a component's files it is that was changed."""
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    good = contents(cache_dir)
    attacked = core_path(path, 0) if part == "module" else path
    note = path.with_suffix(".json")
    evil = await other(tmp_path, cache_dir, like=guest)
    match poison:
        case "bytes":
            attacked.write_bytes(good[attacked.name][:-1] + bytes([good[attacked.name][-1] ^ 1]))
        case "swap":
            shutil.copyfile(evil.with_suffix(".json") if part == "plan" else same(attacked, evil), attacked)
        case "swap all":
            for each in cache_dir.glob(f"{path.stem}.*"):
                shutil.copyfile(same(each, evil), each)
        case "cut":
            attacked.write_bytes(good[attacked.name][: len(good[attacked.name]) // 2])
        case "open":
            attacked.chmod(0o666)
        case "link":
            attacked.rename(tmp_path / "elsewhere")
            attacked.symlink_to(tmp_path / "elsewhere")
        case "hard link":
            (tmp_path / "elsewhere").hardlink_to(attacked)
        case "note":
            note.write_text(note.read_text().replace('"run"', '"ran"'))
        case "more":
            shutil.copy(attacked, core_path(path, 1))
        case "fewer":
            note.write_text(note.read_text().replace('"modules": 1', '"modules": 0'))
        case "another form":
            shutil.copy(attacked, path.with_suffix(".cwasm"))
        case "others' modules":
            path.with_suffix(".shared").write_text(json.dumps({"0": f"{evil.stem}.module"}))
        case "modules as text":
            note.write_text(note.read_text().replace('"modules": ', '"modules": "../x", "was": '))
    log = Lines()
    assert await Compiler(cache_dir, LIMITS, log).compiled(guest) == path
    assert {name: content for name, content in contents(cache_dir).items() if name in good} == good
    for each in cache_dir.glob(f"{path.stem}.*"):
        assert each.name in good
        assert not each.is_symlink()
        assert each.stat().st_nlink == 1
        assert each.stat().st_mode & 0o077 == 0
    assert len(log.lines) == 1
    assert path.stem in log.lines[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(path: Path, other: Path) -> Path:
    """The file of another component that is to it what this one is to its own."""
    return other.with_name(other.name.partition(".")[0] + "." + path.name.partition(".")[2])


@pytest.mark.parametrize(
    "sizes",
    [[], [4, 7], [13, -1], [12, "0"], [11, True], {"12": 12}, [12] + [0] * 1025, None],
)
async def test_parts_that_are_not_what_there_is_are_not_stored(
    sizes: object, guest: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever broke the compiler says what it likes."""

    async def lying(
        _: CompileRun, __: Task, source: IO[bytes], output: IO[bytes], note: IO[bytes], ___: IO[bytes]
    ) -> int:
        output.write(b"twelve bytes")
        description: dict[str, object] = {"imports": [], "exports": []}
        digest = hashlib.sha256(source.read()).hexdigest()
        reply = {
            "sha256": digest,
            "description": description,
            "sizes": sizes,
            "handed_back": [],
        }
        note.write(json.dumps(reply).encode())
        return 0

    monkeypatch.setattr(CompileRun, "_run", lying)
    with pytest.raises(CompileError, match="gave no valid description"):
        await Compiler(cache_dir, LIMITS).compiled(guest)
    assert list(cache_dir.iterdir()) == []


@pytest.mark.parametrize("lost", thorough_after(1, [".plan", ".0.core", ".json"]))
async def test_a_result_of_which_a_file_is_lost_is_made_anew(lost: str, guest: Path, cache_dir: Path) -> None:
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    good = contents(cache_dir)
    path.with_suffix(lost).unlink()
    assert await Compiler(cache_dir, LIMITS).compiled(guest) == path
    assert contents(cache_dir) == good


@pytest.mark.thorough
async def test_what_a_component_was_compiled_to_before_does_not_stay_beside_the_new(
    guest: Path, cache_dir: Path
) -> None:
    """As when a node ended before it had written the note."""
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    good = contents(cache_dir)
    for left in (".cwasm", ".1.core", ".2.core"):
        path.with_suffix(left).touch()
    path.with_suffix(".json").unlink()
    await Compiler(cache_dir, LIMITS).compiled(guest)
    assert contents(cache_dir) == good


async def test_the_folder_is_not_listed_for_each_component(
    guest: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have thousands of files, and a node thousands of components."""
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    later = Compiler(cache_dir, LIMITS)

    def listed(*_: object) -> None:
        raise AssertionError("the compile cache was listed")

    for each in ("scandir", "listdir"):
        monkeypatch.setattr(os, each, listed)
    assert await later.compiled(guest) == path


async def test_a_result_forged_without_the_key_is_not_handed_out(guest: Path, cache_dir: Path) -> None:
    """Whoever can write to the folder, but not read the key beside it, stores a result of their own."""
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    cache_dir.with_name(cache_dir.name + ".key").unlink()
    log = Lines()
    assert await Compiler(cache_dir, LIMITS, log).compiled(guest) == path
    assert len(log.lines) == 1


@pytest.mark.parametrize("moment", thorough_after(1, ["stored", "noted"]))
async def test_what_another_node_loads_or_looks_for_is_there_while_it_is_stored_again(
    moment: str, guest: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both had it compiled at once, and the other was done first."""
    other = Compiler(cache_dir, LIMITS)
    path = await other.compiled(guest)
    stored, seen, real = contents(cache_dir), 0, Path.rename
    path.with_suffix(".json").rename(cache_dir.with_name("note"))

    def rename(self: Path, target: Path) -> Path:
        nonlocal seen
        if target.parent == cache_dir:
            seen += 1
            assert {name for name in stored if not name.endswith(".json")} <= set(contents(cache_dir))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    if moment == "stored":
        await Compiler(cache_dir, LIMITS).compiled(guest)
        assert seen == len(stored)
    else:
        real(cache_dir.with_name("note"), path.with_suffix(".json"))
        monkeypatch.setattr(os, "utime", lambda _: path.with_suffix(".missing").stat())
        assert await other.compiled(guest) == path


@pytest.mark.parametrize("compiled", thorough_after(1, [False, True]))
async def test_a_key_with_a_second_name_is_taken_as_another_node_may_be_making_it(
    compiled: bool, guest: Path, cache_dir: Path, tmp_path: Path
) -> None:
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    (tmp_path / "left").hardlink_to(cache_dir.with_name(cache_dir.name + ".key"))
    if not compiled:
        path.with_suffix(".json").unlink()
    log = Lines()
    assert await Compiler(cache_dir, LIMITS, log).compiled(guest) == path
    assert not log.lines


async def test_a_key_that_others_can_read_is_refused(guest: Path, cache_dir: Path) -> None:
    await Compiler(cache_dir, LIMITS).compiled(guest)
    cache_dir.with_name(cache_dir.name + ".key").chmod(0o644)
    with pytest.raises(CompileError, match="the compile cache's key: remove it"):
        await Compiler(cache_dir, LIMITS).compiled(guest)


async def test_a_cache_that_others_can_enter_is_refused(guest: Path, cache_dir: Path) -> None:
    cache_dir.mkdir(parents=True)
    cache_dir.chmod(0o755)
    with pytest.raises(CompileError, match="accessible to other users"):
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
    """And is tried once more, as the kernel may have taken it for another's memory."""
    compiling = asyncio.ensure_future(Compiler(cache_dir, LIMITS).compiled(guest))
    killed = [await kill_compiler(), await kill_compiler()]
    assert len(set(killed)) == 2
    with pytest.raises(CompileUnfinished, match="compiler was killed"):
        await compiling
    assert list(cache_dir.iterdir()) == []
    compiling = asyncio.ensure_future(Compiler(cache_dir, LIMITS).compiled(guest))
    await kill_compiler()
    assert (await compiling).is_file()


async def kill_compiler() -> int:
    """Kill the compiler that runs, or comes next; returns its pid once it was waited for."""
    for _ in range(4000):
        await asyncio.sleep(0.005)
        if found := compilers_of(os.getpid()):
            os.kill(found[0], signal.SIGKILL)
            break
    for _ in range(4000):
        if found[0] not in compilers_of(os.getpid()):
            break
        await asyncio.sleep(0.001)
    return found[0]


def compilers_of(pid: int) -> list[int]:
    """Compiler subprocesses of a program. One that is not yet the compiler is none, nor is one that is gone."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child) for child in children if b"guesthouse.package.compile.main" in command_line(int(child))
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
    monkeypatch.setattr("guesthouse.package.compile.cache.MAX_CACHE_BYTES", 1)
    path = await Compiler(cache_dir, LIMITS).compiled(guest)
    assert {each.name.partition(".")[0] for each in cache_dir.iterdir()} == {path.stem}
    assert len(list(cache_dir.iterdir())) == 3
    assert not unused.exists()
