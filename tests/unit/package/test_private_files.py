"""When a file is read again to see what it holds."""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path

import pytest

from guesthouse.package.compile.private_files import Digests, UntrustedFile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    path.chmod(0o600)
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def after_a_step(file: Path) -> None:
    """Wait until the file system's clock has gone on since the file was changed."""
    probe = file.with_name("probe")
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > file.stat().st_ctime_ns:
            return


@pytest.mark.usefixtures("later")
def test_a_file_is_read_once_as_long_as_it_stays_the_same(file: Path, reads: list[int]) -> None:
    digests = Digests()
    assert [digests.of(file) for _ in range(3)] == [sha256(b"content")] * 3
    assert len(reads) == 1
    assert Digests().of(file) == sha256(b"content")
    digests.forget(file)
    assert digests.of(file) == sha256(b"content")
    assert len(reads) == 3


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("how", ["in place", "by another file", "mapped"])
def test_a_file_that_changed_is_read_again_though_its_size_and_its_time_are_as_they_were(
    how: str, file: Path
) -> None:
    digests = Digests()
    digests.of(file)
    before = file.stat()
    after_a_step(file)
    match how:
        case "in place":
            with file.open("r+b") as opened:
                opened.write(b"CONTENT")
        case "by another file":
            other = file.with_name("other")
            other.write_bytes(b"CONTENT")
            other.chmod(0o600)
            other.replace(file)
        case "mapped":
            with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as memory:
                memory[:] = b"CONTENT"
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert digests.of(file) == sha256(b"CONTENT")


def test_a_file_that_has_only_just_changed_is_read_each_time(file: Path, reads: list[int]) -> None:
    """What changes it within the same step of the clock shows nowhere."""
    digests = Digests()
    for _ in range(3):
        digests.of(file)
    assert len(reads) == 3


@pytest.mark.usefixtures("later")
def test_a_file_that_others_may_open_is_refused_though_it_was_read(file: Path) -> None:
    digests = Digests()
    digests.of(file)
    file.chmod(0o644)
    with pytest.raises(UntrustedFile, match="not a private file of this user"):
        digests.of(file)
