"""What a confined worker can still do: a subprocess tries, and says what happened."""

from __future__ import annotations

import subprocess
import sys

import pytest

ATTEMPTS = {
    "read a component": "open(folder / 'a.cwasm', 'rb').read()",
    "start a thread": "(thread := threading.Thread(target=int)).start() or thread.join()",
    "map memory": "mmap.mmap(-1, 1 << 20)",
    "read another file": "open('/etc/passwd')",
    "write a component": "open(folder / 'a.cwasm', 'wb')",
    "make a file": "open(folder / 'new', 'wb')",
    "list a folder": "os.listdir('/')",
    "open a socket": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "open a unix socket": "socket.socket(socket.AF_UNIX)",
    "make a pair of sockets": "socket.socketpair()",
    "fork": "os.fork()",
    "run a program": "os.execv('/bin/true', ['true'])",
    "spawn a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "signal its parent": "os.kill(os.getppid(), 0)",
    "trace its parent": "libc.ptrace(16, os.getppid(), 0, 0) and refused()",
    "make a namespace": "libc.unshare(0x10000000) and refused()",
}
ALLOWED = {"read a component", "start a thread", "map memory"}

PROGRAM = """
import ctypes, mmap, os, socket, sys, threading
from pathlib import Path
from guesthouse.worker.confinement import confine
folder = Path(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def refused():
    raise OSError(ctypes.get_errno(), "refused")
for lack in confine(folder):
    print("lack", lack)
for line in sys.stdin:
    try:
        eval(line)
        print("allowed", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("components")
    (folder / "a.cwasm").write_bytes(b"code")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        input="\n".join(ATTEMPTS.values()) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert not [line for line in lines if line.startswith("lack")], lines
    return dict(zip(ATTEMPTS, lines, strict=True))


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_confined_worker_is_left_only_what_it_needs_to(outcomes: dict[str, str], attempt: str) -> None:
    assert outcomes[attempt] == ("allowed" if attempt in ALLOWED else "PermissionError")
