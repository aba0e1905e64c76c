"""The system calls that a worker and the compiler are left with, by number.

Measured: what they make from the moment they are confined, and what the C library, Python and wasmtime may
make on other machines instead. All of it computes, waits, or touches what is open already. Everything that
opens, connects, runs, signals, mounts, traces or configures anything is not here, and so is denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Architecture(IntEnum):
    """Machines that the filter is written for, by the column of their numbers."""

    X86_64 = 0
    AARCH64 = 1


@dataclass(frozen=True, slots=True)
class Argument:
    """What must hold of an argument, `number` counting from 0, for a call to be allowed.

    Args:
        one_of: its low 32 bits are one of these.
        without: its low 32 bits have none of these bits.
        with_bit: its low 32 bits have this one.
        null: it is 0, all 64 bits.
        self: it is the caller's own pid.
    """

    number: int
    one_of: tuple[int, ...] = ()
    without: int = 0
    with_bit: int = 0
    null: bool = False
    self: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that is allowed when all `arguments` hold."""

    numbers: tuple[int | None, int | None]
    arguments: tuple[Argument, ...] = ()


_WRITES_OR_CREATES: Final = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000 | 0o20000000
"""`O_WRONLY`, `O_RDWR`, `O_CREAT`, `O_TRUNC`, `O_APPEND` and the bit of `O_TMPFILE`."""
_CLONE_THREAD: Final = 0x00010000
_NEW_NAMESPACES: Final = 0x7E020000
_DESCRIPTOR_FLAGS: Final = (1, 2, 3, 4, 1030)
"""`F_GETFD`, `F_SETFD`, `F_GETFL`, `F_SETFL`, `F_DUPFD_CLOEXEC`."""
_TERMINAL_OR_FLAGS: Final = (0x5401, 0x5421, 0x5451)
"""`TCGETS` (is it a terminal?), `FIONBIO`, `FIOCLEX`."""
_NAMES: Final = (15, 0x53564D41)
"""`PR_SET_NAME`, `PR_SET_VMA`: names of threads and mappings, for people who look at them."""

ALLOWED: Final[dict[str, Call]] = {
    # What is open already.
    "read": Call((0, 63)),
    "write": Call((1, 64)),
    "recvfrom": Call((45, 207)),
    "sendto": Call((44, 206)),
    "poll": Call((7, None)),
    "ppoll": Call((271, 73)),
    "pread64": Call((17, 67)),
    "readv": Call((19, 65)),
    "writev": Call((20, 66)),
    "lseek": Call((8, 62)),
    "close": Call((3, 57)),
    "fstat": Call((5, 80)),
    "fcntl": Call((72, 25), (Argument(1, one_of=_DESCRIPTOR_FLAGS),)),
    "ioctl": Call((16, 29), (Argument(1, one_of=_TERMINAL_OR_FLAGS),)),
    # Compiled components; Landlock says which.
    "openat": Call((257, 56), (Argument(2, without=_WRITES_OR_CREATES),)),
    "newfstatat": Call((262, 79)),
    "statx": Call((332, 291)),
    # Memory.
    "mmap": Call((9, 222)),
    "munmap": Call((11, 215)),
    "mprotect": Call((10, 226)),
    "mremap": Call((25, 216)),
    "madvise": Call((28, 233)),
    "brk": Call((12, 214)),
    "mincore": Call((27, 232)),
    "membarrier": Call((324, 283)),
    # Threads of its own.
    "futex": Call((202, 98)),
    "clone": Call((56, 220), (Argument(0, with_bit=_CLONE_THREAD), Argument(0, without=_NEW_NAMESPACES))),
    "set_robust_list": Call((273, 99)),
    "rseq": Call((334, 293)),
    "exit": Call((60, 93)),
    "exit_group": Call((231, 94)),
    "sched_yield": Call((24, 124)),
    "sched_getaffinity": Call((204, 123)),
    "gettid": Call((186, 178)),
    "prctl": Call((157, 167), (Argument(0, one_of=_NAMES),)),
    # Signals within itself: traps of guests, and the ticker.
    "rt_sigaction": Call((13, 134)),
    "rt_sigprocmask": Call((14, 135)),
    "rt_sigreturn": Call((15, 139)),
    "rt_sigtimedwait": Call((128, 137)),
    "sigaltstack": Call((131, 132)),
    "tgkill": Call((234, 131), (Argument(0, self=True),)),
    # Time.
    "clock_gettime": Call((228, 113)),
    "clock_getres": Call((229, 114)),
    "clock_nanosleep": Call((230, 115)),
    "nanosleep": Call((35, 101)),
    "gettimeofday": Call((96, 169)),
    "timer_create": Call((222, 107)),
    "timer_settime": Call((223, 110)),
    "timer_getoverrun": Call((225, 109)),
    "timer_delete": Call((226, 111)),
    "restart_syscall": Call((219, 128)),
    # About itself and the machine.
    "getrandom": Call((318, 278)),
    "getpid": Call((39, 172)),
    "getuid": Call((102, 174)),
    "geteuid": Call((107, 175)),
    "getgid": Call((104, 176)),
    "getegid": Call((108, 177)),
    "getcwd": Call((79, 17)),
    "getcpu": Call((309, 168)),
    "getrusage": Call((98, 165)),
    "sysinfo": Call((99, 179)),
    "uname": Call((63, 160)),
    "prlimit64": Call((302, 261), (Argument(0, one_of=(0,)), Argument(2, null=True))),
}

NEWER: Final = 424
"""From this number on calls are the same everywhere, and younger than many kernels: who asks for one expects that
it may be missing, so that is what it hears. (`clone3` is one: no filter can read its flags, and the C library
falls back to `clone`.)"""
