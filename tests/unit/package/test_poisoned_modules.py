"""Nobody chooses what the modules of others are compiled to: neither whoever takes over a compiler, nor the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import pytest
from msgspec.structs import replace
from tests.tiers import thorough_after

from guesthouse.core.config import MIB, PackageLimits
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.compile.compiler_process import CompileRun
from guesthouse.package.compile.job import SHARED_BYTES, Task
from guesthouse.package.errors import CompileError
from guesthouse.wasm.artifact_files import core_path, module_paths, shared_names

from .large import (
    BOTH,
    MODULE,
    ONE,
    OTHER,
    A,
    B,
    Runs,
    code,
    component,
    digest,
    modules_of,
    shared,
    tasks,
    written,
)
from .test_compiler import Lines, contents

pytestmark = pytest.mark.slow

LIMITS: Final = PackageLimits()


@pytest.fixture
def cache_dir(cache_with_a: Path) -> Path:
    """A cache that has A."""
    return cache_with_a


def says(
    note: IO[bytes],
    source: IO[bytes],
    output: IO[bytes],
    handed_back: object,
    *parts: bytes,
) -> int:
    """The answer of a subprocess that somebody has taken over."""
    output.write(b"".join(parts))
    note.write(
        json.dumps(
            {
                "sha256": hashlib.sha256(os.pread(source.fileno(), 1 << 30, 0)).hexdigest(),
                "description": {"imports": [], "exports": [], "problems": [], "needs": [0, 0, 0]},
                "sizes": [len(part) for part in parts],
                "handed_back": handed_back,
            }
        ).encode()
    )
    return 0


Answer = Callable[[IO[bytes], IO[bytes], IO[bytes]], int]


def taken_over(monkeypatch: pytest.MonkeyPatch, evil: bytes, answer: Answer) -> None:
    """Whatever compiles that component gives that answer."""
    real = CompileRun._run

    async def run(
        self: CompileRun, task: Task, source: IO[bytes], output: IO[bytes], note: IO[bytes], reason: IO[bytes]
    ) -> int | None:
        if os.pread(source.fileno(), 1 << 30, 0) == evil:
            return answer(note, source, output)
        return await real(self, task, source, output, note, reason)

    monkeypatch.setattr(CompileRun, "_run", run)


@pytest.mark.parametrize("handed_back", thorough_after(1, [[], [0], [0, 1]]))
async def test_who_takes_over_the_compiler_poisons_nothing_but_its_own_component(
    handed_back: list[int], tmp_path: Path, a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that its code is what the module of another is compiled to, or hands back what it likes."""
    cache_dir, evil_code = tmp_path / "new" / "compiled", b"evil" * MIB
    evil = component("evil", ONE)
    given = [
        MODULE if 0 in handed_back else evil_code,
        OTHER if 1 in handed_back else evil_code,
    ]
    taken_over(
        monkeypatch,
        evil,
        lambda note, source, output: says(note, source, output, handed_back, b"a plan", *given),
    )
    compiler = Compiler(cache_dir, replace(LIMITS, component_bytes=64 * MIB))
    bad = await compiler.compiled(written(tmp_path, "evil", evil))
    good = await compiler.compiled(a)
    assert shared(cache_dir, MODULE).read_bytes() == code(MODULE)
    assert module_paths(good, 2) == [shared(cache_dir, MODULE), core_path(good, 1)]
    assert core_path(good, 1).read_bytes() == code(modules_of(A)[1])
    for name, content in contents(cache_dir).items():
        assert (b"evil" not in content) or name.startswith(bad.stem)
    assert {path.name for path in cache_dir.glob("*.module")} >= set(shared_names(bad).values())


TOO_MUCH: Final = MODULE + bytes(len(A))


@pytest.mark.parametrize(
    ("handed_back", "parts"),
    [
        ([0], (b"plan", bytes(SHARED_BYTES - 1))),
        ([0], (b"plan", TOO_MUCH)),
        ([0, 1, 2], (b"plan", MODULE, MODULE, MODULE, MODULE)),
        ([1], (b"plan", MODULE)),
        ([-1], (MODULE, MODULE)),
        ([True], (b"plan", MODULE, MODULE)),
        ([0.0], (b"plan", MODULE)),
        ({"0": 0}, (b"plan", MODULE)),
        ("0", (b"plan", MODULE)),
        (None, (b"plan", MODULE)),
        (0, (b"plan", MODULE)),
        ([[]], (b"plan", MODULE)),
        ([0], (MODULE,)),
    ],
)
async def test_what_no_component_could_hand_back_is_not_taken(
    handed_back: object, parts: tuple[bytes, ...], tmp_path: Path, a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_over(monkeypatch, A, lambda note, source, output: says(note, source, output, handed_back, *parts))
    cache_dir = tmp_path / "new" / "compiled"
    with pytest.raises(CompileError, match="gave no valid description"):
        await Compiler(cache_dir, LIMITS).compiled(a)
    assert list(cache_dir.iterdir()) == []


@pytest.mark.thorough
async def test_who_hands_back_what_is_no_module_and_then_finds_no_fault_in_it_stores_nothing(
    tmp_path: Path, a: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor may it hand back anything from then on."""
    for handed_back in ([], [0]):
        answers = [[0], handed_back]
        taken_over(
            monkeypatch,
            A,
            lambda note, source, output, answers=answers: says(  # type: ignore[misc]
                note, source, output, answers.pop(0), b"plan", bytes(SHARED_BYTES)
            ),
        )
        cache_dir = tmp_path / f"new-{len(handed_back)}" / "compiled"
        with pytest.raises(CompileError, match="gave no valid description"):
            await Compiler(cache_dir, LIMITS).compiled(a)
        assert not list(cache_dir.iterdir())
    assert tasks(runs) == [Task.MODULE] * 2


@pytest.mark.parametrize(
    "poison",
    thorough_after(
        2,
        [
            "bytes",
            "swap",
            "swap all",
            "cut",
            "open",
            "link",
            "hard link",
            "mac",
            "not text",
            "no mac",
            "gone",
        ],
    ),
)
async def test_a_poisoned_module_is_compiled_anew_for_whoever_wants_it(
    poison: str, cache_dir: Path, a: Path, b: Path, tmp_path: Path, runs: Runs
) -> None:
    both = written(tmp_path, "both", BOTH)
    await Compiler(cache_dir, LIMITS).compiled(both)
    good, attacked, evil = contents(cache_dir), shared(cache_dir, MODULE), shared(cache_dir, OTHER)
    mac = attacked.with_suffix(".seal")
    match poison:
        case "bytes":
            attacked.write_bytes(good[attacked.name][:-1] + bytes([good[attacked.name][-1] ^ 1]))
        case "swap":
            shutil.copyfile(evil, attacked)
        case "swap all":
            shutil.copyfile(evil, attacked)
            shutil.copyfile(evil.with_suffix(".seal"), mac)
        case "cut":
            attacked.write_bytes(good[attacked.name][:1000])
        case "open":
            attacked.chmod(0o666)
        case "link":
            attacked.rename(tmp_path / "elsewhere")
            attacked.symlink_to(tmp_path / "elsewhere")
        case "hard link":
            (tmp_path / "elsewhere").hardlink_to(attacked)
        case "mac":
            mac.write_text("0" * 64)
        case "not text":
            mac.write_bytes(b"\xff" * 64)
        case "no mac":
            mac.unlink()
        case "gone":
            attacked.unlink()
    runs.clear()
    log = Lines()
    compiler = Compiler(cache_dir, LIMITS, log)
    await compiler.compiled(a if poison != "swap" else b)
    await compiler.compiled(both)
    assert runs[:2] == [(Task.COMPONENT, A if poison != "swap" else B), (Task.MODULE, MODULE)]
    assert len(runs) == 2
    assert {name: content for name, content in contents(cache_dir).items() if name in good} == good
    status = attacked.lstat()
    assert (status.st_mode, status.st_nlink) == (0o100600, 1)
    assert len(log.lines) == (poison not in ("no mac", "gone"))
    assert all(attacked.name in line and "compiling it again" in line for line in log.lines)


@pytest.mark.parametrize("change", thorough_after(1, ["none", "another", "outside", "added", "note"]))
async def test_which_modules_a_component_shares_is_not_changed(
    change: str, cache_dir: Path, a: Path, tmp_path: Path
) -> None:
    compiler = Compiler(cache_dir, LIMITS)
    await compiler.compiled(written(tmp_path, "both", BOTH))
    path = await compiler.compiled(a)
    other, names = shared(cache_dir, OTHER), path.with_suffix(".shared")
    before = contents(cache_dir)
    match change:
        case "none":
            names.unlink()
        case "another":
            names.write_text(json.dumps({"0": other.name}))
        case "outside":
            names.write_text(json.dumps({"0": "../x.module"}))
        case "added":
            names.write_text(json.dumps({"0": shared(cache_dir, MODULE).name, "1": other.name}))
        case "note":
            note = path.with_suffix(".json")
            note.write_text(note.read_text().replace(digest(MODULE), digest(OTHER)))
    log = Lines()
    assert await Compiler(cache_dir, LIMITS, log).compiled(a) == path
    assert contents(cache_dir) == before
    assert len(log.lines) == (change != "none")


@pytest.mark.parametrize("what", thorough_after(2, ["queue", "without end", "deep", "link", "circle"]))
async def test_what_stands_for_the_names_of_shared_modules_holds_up_no_compile(
    what: str, cache_dir: Path, guest: Path
) -> None:
    names = cache_dir / f"{'0' * 64}-key.shared"
    match what:
        case "queue":
            os.mkfifo(names, 0o600)
        case "without end":
            names.touch(mode=0o600)
            os.truncate(names, 1 << 40)
        case "deep":
            names.write_text("[" * 100_000)
            names.chmod(0o600)
        case "link":
            names.symlink_to("/dev/zero")
        case "circle":
            names.symlink_to(names)
    compiled = await Compiler(cache_dir, LIMITS).compiled(guest)
    assert compiled.exists()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        "[" * 100_000,
        '{"0": 1}',
        '{"0": "a/b.module"}',
        '{"0": "x"}',
        '{"2": "x.module"}',
        '{"x": "x.module"}',
    ],
)
def test_a_worker_opens_no_file_but_those_beside_the_plan(text: str, tmp_path: Path) -> None:
    plan = tmp_path / "x.plan"
    assert module_paths(plan, 2) == [core_path(plan, 0), core_path(plan, 1)]
    plan.with_suffix(".shared").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - json has words of its own
        module_paths(plan, 2)
