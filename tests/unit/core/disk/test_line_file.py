"""Lines are appended whole or not at all, and none is joined to what a full disk or a power cut has left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.full_disk import largest_file

from guesthouse.core.disk.line_file import LineFile, read_lines


def test_lines_are_appended_to_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for line in (b"one\n", b"two\n"):
        with LineFile(path) as file:
            assert file.append(line) == path.stat().st_size
            file.sync()
    assert read_lines(path) == (["one", "two"], "")
    assert path.stat().st_mode & 0o777 == 0o600


def test_of_a_line_that_finds_no_room_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    with LineFile(path) as file:
        file.append(b"one\n")
        with largest_file(8), pytest.raises(OSError, match="too large"):
            file.append(b"too long\n")
        assert path.read_bytes() == b"one\n"
        file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_what_cannot_be_taken_back_is_ended_before_the_next_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines"

    def fails(_: int, __: int) -> None:
        raise PermissionError

    with LineFile(path) as file, monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", fails)
        with largest_file(3), pytest.raises(OSError, match="too large"):
            file.append(b"one\n")
        file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_what_an_earlier_program_left_is_told_and_ended_before_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntw\xff")
    assert read_lines(path) == (["one"], "tw\ufffd")
    with LineFile(path) as file:
        file.append(b"three\n")
    assert path.read_bytes() == b"one\ntw\xff\nthree\n"
