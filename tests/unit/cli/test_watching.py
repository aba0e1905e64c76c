"""Changes are told by inotify, or by looking where it cannot: no watches left, names that are not UTF-8."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from guesthouse.cli.development.watching import WatchedPath, changes

_WITHOUT_WATCHES = ("unshare", "--user", "--map-root-user", "sh", "-c")
_NO_WATCHES = 'echo 0 > /proc/sys/user/max_inotify_watches && exec "$@"'


def everything(path: Path) -> WatchedPath:
    return WatchedPath(path, lambda name: name != "build", lambda file: file.suffix != ".no")


async def told(folder: Path, then: str) -> list[str]:
    """Watch a folder, write the file `then` once the watch is there, and return what was said until it is told."""
    said: list[str] = []
    async with aclosing(changes(everything(folder), said.append)) as stream:
        await anext(stream)
        (folder / then).write_text("changed")
        await anext(stream)
    return said


@pytest.mark.slow
async def test_a_change_is_told(tmp_path: Path) -> None:
    assert await told(tmp_path, "a") == []


@pytest.mark.slow
async def test_a_folder_whose_path_is_not_utf_8_is_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"f\xff")
    folder.mkdir()
    (said,) = await told(folder, "a")
    assert "cannot be watched (its path is not UTF-8): polling it every second" in said


@pytest.mark.thorough
@pytest.mark.slow
async def test_a_file_whose_name_is_not_utf_8_ends_no_watch(tmp_path: Path) -> None:
    said: list[str] = []
    async with aclosing(changes(everything(tmp_path), said.append)) as stream:
        await anext(stream)
        (tmp_path / os.fsdecode(b"n\xff.c")).write_text("1")
        await anext(stream)
        assert ["cannot be watched" in line for line in said] == [True]
        (tmp_path / os.fsdecode(b"n\xff.c")).write_text("22")
        await anext(stream)
        (tmp_path / os.fsdecode(b"n\xff.c")).unlink()
        await anext(stream)


async def test_what_does_not_matter_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "x").write_text("")
    (tmp_path / "x.no").write_text("")
    (tmp_path / "x").write_text("")
    (tmp_path / "gone").symlink_to("nowhere")
    assert list(everything(tmp_path).look()) == [tmp_path / "x"]
    assert list(everything(tmp_path / "x").look()) == [tmp_path / "x"]
    assert everything(tmp_path / "nothing").look() == {}


@pytest.mark.slow
def test_without_inotify_watches_it_is_looked_at(tmp_path: Path) -> None:
    command = [*_WITHOUT_WATCHES, _NO_WATCHES, "sh"]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no user namespace whose watches could be limited")
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.unit.cli.test_watching", str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "watch limit reached" in done.stdout
    assert "polling it every second" in done.stdout


if __name__ == "__main__":
    print(asyncio.run(told(Path(sys.argv[1]), "a")))
