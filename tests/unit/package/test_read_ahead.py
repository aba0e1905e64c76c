"""What a node reads of compiled components while it loads its own code: it spares reading, and no check."""

# ruff: noqa: ASYNC222, ASYNC251 - a test may block its own loop

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from guesthouse.core.config import PackageLimits
from guesthouse.package.compile.cache import CompileCache
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.compile.private_files import Digests
from guesthouse.package.compile.read_ahead import ReadAhead
from guesthouse.package.errors import PackageError

from .large import MODULE, Runs, shared
from .test_compiler import Lines, contents
from .test_private_files import after_a_step

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("later")]

LIMITS = PackageLimits()


async def known(cache_dir: Path, component: Path) -> Path:
    """A component that was compiled, and found by a start since."""
    await Compiler(cache_dir, LIMITS).compiled(component)
    return await Compiler(cache_dir, LIMITS).compiled(component)


def read(cache_dir: Path, *folders: Path) -> CompileCache:
    """The cache after all of these was read ahead."""
    with ReadAhead(cache_dir, lambda: set(folders)) as ahead:
        wait_for(ahead)
    return ahead.cache


def wait_for(ahead: ReadAhead) -> None:
    """Wait until all is read."""
    assert ahead._child is not None
    os.waitid(os.P_PID, ahead._child, os.WEXITED | os.WNOWAIT)


async def test_what_was_read_ahead_is_not_read_again(
    cache_with_a: Path, a: Path, reads: list[int], runs: Runs
) -> None:
    """Also the code that components share."""
    path = await known(cache_with_a, a)
    cache = read(cache_with_a, a.parent)
    reads.clear()
    assert await Compiler(cache_with_a, LIMITS, cache=cache).compiled(a) == path
    assert reads == []
    assert runs == []


@pytest.mark.parametrize("folders", [(), ("elsewhere",)])
async def test_what_is_not_to_run_is_not_read(
    folders: tuple[str, ...], cache_with_a: Path, a: Path, reads: list[int]
) -> None:
    path = await known(cache_with_a, a)
    cache = read(cache_with_a, *(a.with_name(each) for each in folders))
    assert cache.digests.known(path) is None
    reads.clear()
    assert await Compiler(cache_with_a, LIMITS, cache=cache).compiled(a) == path
    assert reads


@pytest.mark.parametrize("which", ["component", "module"])
async def test_a_file_that_changed_since_it_was_read_ahead_is_found_out(
    which: str, cache_with_a: Path, a: Path, runs: Runs
) -> None:
    path = await known(cache_with_a, a)
    good = contents(cache_with_a)
    cache = read(cache_with_a, a)
    attacked = shared(cache_with_a, MODULE) if which == "module" else path
    status = attacked.stat()
    after_a_step(attacked)
    attacked.write_bytes(bytes(reversed(good[attacked.name])))
    os.utime(attacked, ns=(status.st_atime_ns, status.st_mtime_ns))
    log = Lines()
    assert await Compiler(cache_with_a, LIMITS, log, cache=cache).compiled(a) == path
    assert len(log.lines) == 1
    assert "was not what was stored" in log.lines[0]
    assert runs
    assert attacked.read_bytes() == good[attacked.name]


@pytest.mark.parametrize("damage", ["cut", "no note", "nonsense", "forged", "open"])
async def test_what_is_wrong_before_is_left_to_who_looks_for_it(
    damage: str, cache_with_a: Path, a: Path
) -> None:
    path = await known(cache_with_a, a)
    note = path.with_suffix(".json")
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:10])
        case "no note":
            note.unlink()
        case "nonsense":
            note.write_text("[" * 100_000)
        case "forged":
            note.write_text(note.read_text().replace('"modules": ', '"modules": 1000, "were": '))
        case "open":
            path.chmod(0o644)
    before = contents(cache_with_a)
    cache = read(cache_with_a, a)
    assert contents(cache_with_a) == before
    log = Lines()
    assert await Compiler(cache_with_a, LIMITS, log, cache=cache).compiled(a) == path
    assert len(log.lines) == (
        damage not in ("no note", "forged")
    )  # with files that are not there it is not there


def failing(error: Exception) -> Callable[[], set[Path]]:
    def folders() -> set[Path]:
        raise error

    return folders


@pytest.mark.parametrize(
    "error",
    [PackageError("is damaged"), PermissionError(), RuntimeError("a loop of links"), AssertionError("a bug")],
)
async def test_a_home_that_cannot_be_read_is_not_read_ahead(
    error: Exception, cache_with_a: Path, a: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = await known(cache_with_a, a)
    with ReadAhead(cache_with_a, failing(error)) as ahead:
        wait_for(ahead)
    assert ahead.cache.digests.known(path) is None
    assert capfd.readouterr() == ("", "")


async def test_nobody_waits_for_what_is_not_read_yet(
    cache_with_a: Path, a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found until then is known, and what was begun has ended."""
    path = await known(cache_with_a, a)
    real, there = Digests.of, cache_with_a.with_name("there")

    def slow(digests: Digests, file: Path) -> str:
        if file != path:
            there.touch()
            signal.pause()
        return real(digests, file)

    ahead = ReadAhead(cache_with_a, lambda: {a})
    monkeypatch.setattr(Digests, "of", slow)
    with ahead:
        child = ahead._child
        assert child is not None
        while not there.exists():
            time.sleep(0.01)
        ahead.finish()
        ahead.reap()
        with pytest.raises(ChildProcessError):
            os.waitpid(child, 0)
        assert ahead.cache.digests.known(path) is not None


async def test_without_another_process_nothing_is_read_ahead(
    cache_with_a: Path, a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await known(cache_with_a, a)

    def refused() -> int:
        raise BlockingIOError("no more")

    monkeypatch.setattr(os, "fork", refused)
    before = os.listdir("/proc/self/fd")
    with ReadAhead(cache_with_a, lambda: {a}) as ahead:
        pass
    assert os.listdir("/proc/self/fd") == before
    assert await Compiler(cache_with_a, LIMITS, cache=ahead.cache).compiled(a) == path


def test_a_home_of_which_nothing_is_known_has_no_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fork")
    with ReadAhead(tmp_path / "compiled", set):
        pass
    assert list(tmp_path.iterdir()) == []
