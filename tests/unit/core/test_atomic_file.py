"""Files are replaced whole, and nothing is left of those that could not be written."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from guesthouse.core import atomic_file


def test_a_file_is_replaced_and_private(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    atomic_file.replace(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_for_all_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    atomic_file.replace(tmp_path / "a", b"", atomic_file.FOR_ALL)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


def interrupted(path: Path) -> None:
    with atomic_file.replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt


def test_what_is_interrupted_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_another_made_first_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_file.create(path, b"first")
    atomic_file.create(path, b"second")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, path.stat().st_nlink) == (b"first", 0o600, 1)
    assert list(tmp_path.iterdir()) == [path]


def test_pipes_sockets_and_devices_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    names = sorted(tmp_path.iterdir())
    for path in names:
        before = path.lstat()
        with pytest.raises(FileExistsError, match="a device, a pipe or a socket"):
            atomic_file.replace(path, b"")
        assert path.lstat() == before
    assert sorted(tmp_path.iterdir()) == names


def test_bytes_are_overwritten_in_place_and_no_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one two")
    inode = path.stat().st_ino
    atomic_file.overwrite(path, b"six", 4)
    assert (path.read_bytes(), path.stat().st_ino) == (b"one six", inode)
    with pytest.raises(OSError, match="No space left"):
        atomic_file.overwrite(path, b"seven", 4)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic link"):
        atomic_file.overwrite(tmp_path / "link", b"x")
    assert path.read_bytes() == b"one six"
