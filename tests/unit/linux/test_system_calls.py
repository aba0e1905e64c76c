"""The table of system calls, against the kernel's own headers and a real kernel."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from guesthouse.linux.syscalls import ALLOWED, FOR_SOCKETS, Architecture

ZIG = find_spec("ziglang")
assert ZIG is not None
assert ZIG.origin is not None
HEADERS = Path(ZIG.origin).parent / "lib/libc/include"
FOLDERS = {Architecture.X86_64: "x86-linux-any", Architecture.AARCH64: "aarch64-linux-any"}

EVERY_CALL = """
import ctypes, os, sys
from guesthouse.linux import privileges, seccomp
from guesthouse.linux.syscalls import ALLOWED, Architecture
import platform
column = Architecture[platform.machine().upper()]
allowed = {call.numbers[column] for call in ALLOWED.values()}
libc = ctypes.CDLL(None, use_errno=True)
privileges.give_up_privileges()
for lack in seccomp.restrict():
    print("lack", lack)
# uretprobe and uprobe pass all filters, by the kernel's design, and end with SIGILL whoever calls them by hand.
unfiltered = {335, 336} if column is Architecture.X86_64 else set()
for number in set(range(1024)) - allowed - unfiltered:
    result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
    print(number, result, ctypes.get_errno())
"""


def numbers(architecture: Architecture) -> dict[str, int]:
    text = (HEADERS / FOLDERS[architecture] / "asm/unistd_64.h").read_text()
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", text)}


@pytest.mark.parametrize("architecture", Architecture)
def test_the_numbers_are_those_of_the_kernels_headers(architecture: Architecture) -> None:
    known = numbers(architecture)
    assert len(known) > 300
    assert not ALLOWED.keys() & FOR_SOCKETS.keys()
    for name, call in (ALLOWED | FOR_SOCKETS).items():
        assert call.numbers[architecture] == known.get(name), name


def test_every_other_system_call_is_refused_by_the_kernel_before_it_does_anything() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERY_CALL], capture_output=True, text=True, timeout=60, check=True
    )
    outcomes = [line.split() for line in done.stdout.splitlines()]
    assert len(outcomes) > 900
    for number, result, error in outcomes:
        assert (result, int(error)) in (("-1", errno.EPERM), ("-1", errno.ENOSYS)), number


OTHER_THREAD = """
import ctypes, threading
from guesthouse.linux import privileges, seccomp
libc = ctypes.CDLL(None, use_errno=True)
privileges.give_up_privileges()
begin, outcome = threading.Event(), []
def call():
    begin.wait()
    outcome.append((libc.socket(2, 1, 0), ctypes.get_errno()))
thread = threading.Thread(target=call)
thread.start()
print(seccomp.restrict())
begin.set()
thread.join()
print(outcome)
"""


def test_threads_that_were_there_before_are_held_to_it_too() -> None:
    said = subprocess.check_output([sys.executable, "-c", OTHER_THREAD], text=True, timeout=60)
    assert said.splitlines() == ["()", f"[(-1, {errno.EPERM})]"]
