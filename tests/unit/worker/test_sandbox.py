"""What a confined worker can still do: a subprocess tries, and says what happened."""

from __future__ import annotations

import subprocess
import sys

import pytest

ATTEMPTS = {
    "read a component": "open(folder / 'a.cwasm', 'rb').read()",
    "start a thread": "(thread := threading.Thread(target=int)).start() or thread.join()",
    "map memory": "mmap.mmap(-1, 1 << 20)",
    "signal itself": "signal.pthread_kill(threading.get_ident(), 0)",
    "read its limits": "resource.getrlimit(resource.RLIMIT_NOFILE)",
    "name a thread": "no(libc.prctl(15, b'worker', 0, 0, 0))",
    "read another file": "open('/etc/passwd')",
    "write a component": "open(folder / 'a.cwasm', 'wb')",
    "make a file": "open(folder / 'new', 'wb')",
    "make a file without a name": "os.open(folder, os.O_TMPFILE | os.O_RDWR)",
    "remove a component": "os.unlink(folder / 'a.cwasm')",
    "list a folder": "os.listdir('/')",
    "look into its parent": "open(f'/proc/{parent}/environ')",
    "open a socket": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "open a unix socket": "socket.socket(socket.AF_UNIX)",
    "open a netlink socket": "socket.socket(socket.AF_NETLINK)",
    "make a pair of sockets": "socket.socketpair()",
    "pass a descriptor on its link": "socket.send_fds(link, [b'x'], [0])",
    "take a descriptor from its link": "socket.recv_fds(link, 1, 1)",
    "fork": "os.fork()",
    "run a program": "os.execv('/bin/true', ['true'])",
    "run a program from memory": "os.execve(0, ['true'], {})",
    "make a file in memory": "os.memfd_create('code')",
    "spawn a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "signal its parent": "os.kill(parent, 0)",
    "signal everybody": "os.kill(-1, 0)",
    "signal a thread of its parent": "no(libc.tgkill(parent, parent, 0))",
    "trace its parent": "no(libc.ptrace(16, parent, 0, 0))",
    "read its parent's memory": "no(libc.process_vm_readv(parent, None, 0, None, 0, 0))",
    "make a namespace": "no(libc.unshare(0x10000000))",
    "enter a namespace": "no(libc.setns(0, 0))",
    "mount": "no(libc.mount(b'none', b'/', b'tmpfs', 0, None))",
    "change its root": "os.chroot('/')",
    "load keys": "no(libc.syscall(248 if x86 else 217, b'user', b'k', b'v', 1, -3))",
    "load a kernel program": "no(libc.syscall(321 if x86 else 280, 0, 0, 0))",
    "watch performance": "no(libc.syscall(298 if x86 else 241, 0, 0, -1, -1, 0))",
    "take page faults": "no(libc.syscall(323 if x86 else 282, 0))",
    "set up io_uring": "no(libc.syscall(425, 1, 0))",
    "open a pid": "no(libc.syscall(434, parent, 0))",
    "move to another CPU": "os.sched_setaffinity(0, {0})",
    "change its priority": "os.setpriority(os.PRIO_PROCESS, 0, -1)",
    "be scheduled first": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "raise its limits": "resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))",
    "become visible": "no(libc.prctl(4, 1, 0, 0, 0))",
    "outlive its parent": "no(libc.prctl(1, 0, 0, 0, 0))",
    "have signals sent by a descriptor": "fcntl.fcntl(0, fcntl.F_SETOWN, parent)",
    "type into a terminal": "fcntl.ioctl(0, 0x5412, b'x')",
    "become another user": "os.setuid(0)",
    "share memory": "no(libc.shmget(1, 4096, 0o1600))",
    "have the node's ring swapped out": "no(libc.madvise(mapped, 4096, 21))",
    "have memory merged with that of others": "no(libc.madvise(mapped, 4096, 12))",
    "take pages from the node's ring": "no(libc.madvise(mapped, 4096, 9))",
    "free pages of the node's ring": "no(libc.fallocate(ring, 3, 0, 4096))",
    "make the node's ring smaller": "os.ftruncate(ring, 0)",
    "make its own ring smaller": "os.ftruncate(own, 0)",
    "seal its own ring": "fcntl.fcntl(own, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)",
    "map the node's ring for writing": "mmap.mmap(ring, 4096)",
    "write to the node's ring": "no(libc.mprotect(mapped, 4096, 3))",
    "open the node's ring again": "os.open(f'/proc/self/fd/{ring}', os.O_RDWR)",
    "write to what it maps": "open('/proc/self/mem', 'r+b')",
    "set the clock": "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "set the machine's name": "socket.sethostname('mine')",
}
ALLOWED = {
    "read a component",
    "start a thread",
    "map memory",
    "signal itself",
    "read its limits",
    "name a thread",
}
"""What wasmtime, the ticker, the C library and a person who looks at threads need."""

PROGRAM = """
import ctypes, fcntl, mmap, os, platform, resource, signal, socket, sys, threading, time
from pathlib import Path
from guesthouse.link.shared_memory import NodeMemory
from guesthouse.worker.sandbox import confine
folder = Path(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
parent = os.getppid()
x86 = platform.machine() == "x86_64"
memory = NodeMemory()
ring, own = memory.descriptors
libc.mmap.restype = ctypes.c_void_p
mapped = ctypes.c_void_p(libc.mmap(None, 4096, 1, 1, ring, ctypes.c_long(0)))
link, node = socket.socketpair()
node.send(b"x")
def no(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
for lack in confine(folder, 1 << 40):
    print("lack", lack)
for line in sys.stdin:
    try:
        eval(line)
        print("allowed", flush=True)
    except OSError as error:
        print(type(error).__name__, error.errno, flush=True)
    except ValueError as error:  # what the limits of resources are refused with
        print(error, flush=True)
"""
REFUSALS = ("PermissionError 1", "PermissionError 13", "OSError 38", "not allowed to raise maximum limit")
"""EPERM and EACCES; ENOSYS for calls that kernels of today need not have."""


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
    assert outcomes[attempt] in (("allowed",) if attempt in ALLOWED else REFUSALS)


TOO_MUCH = """
import mmap, sys
from pathlib import Path
from guesthouse.worker.sandbox import confine
confine(Path(sys.argv[1]), 1 << 30)
private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
no_reserve = 0x4000
reserved = mmap.mmap(-1, 1 << 40, flags=private | no_reserve, prot=0)
small = mmap.mmap(-1, 1 << 29, flags=private)
try:
    mmap.mmap(-1, 1 << 30, flags=private)
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.slow
def test_memory_that_can_be_written_is_limited_and_addresses_are_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOO_MUCH, "/proc"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "Cannot allocate memory\n", done.stderr
