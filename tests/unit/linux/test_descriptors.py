"""What an OS process keeps open of what it finds at its start, and that it stays what it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

HEAD: Final = """
import os, sys
from guesthouse.linux import privileges
libraries = {int(number) for number in os.listdir("/proc/self/fd")} - {0, 1, 2, int(sys.argv[2]), int(sys.argv[3])}
libraries = {number for number in libraries if os.path.exists(f"/proc/self/fd/{number}")}  # libffi 3.8 has one
own, given = os.open(sys.argv[1], os.O_RDONLY | os.O_CLOEXEC), int(sys.argv[2])
inherited = int(sys.argv[3])
kept = privileges.close_inherited(given)
"""
"""A library opened a file for itself before, as libffi does."""

CLOSED: Final = """
left = {int(number) for number in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{number}")}
assert left == {0, 1, 2, own, given, *libraries} == set(kept), (left, kept)
assert inherited not in left
privileges.check_kept(kept)
"""
REPLACED: Final = """
os.dup2(os.open("/proc/self/maps", os.O_RDONLY), own)
privileges.check_kept(kept)
"""
GONE: Final = """
os.close(own)
privileges.check_kept(kept)
"""


def after(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    library = folder / "library.so"
    library.write_bytes(b"code")
    given, inherited = os.open(folder, os.O_RDONLY), os.open(folder, os.O_RDONLY)
    try:
        return subprocess.run(
            [sys.executable, "-c", HEAD + program, str(library), str(given), str(inherited)],
            pass_fds=(given, inherited),
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.close(given)
        os.close(inherited)


def test_what_was_inherited_is_closed_and_what_a_library_opened_for_itself_is_not(tmp_path: Path) -> None:
    done = after(CLOSED, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("program", "words"), [(REPLACED, "is another file now"), (GONE, "was closed")])
def test_a_descriptor_that_is_not_what_it_was_is_refused(tmp_path: Path, program: str, words: str) -> None:
    done = after(program, tmp_path)
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]
