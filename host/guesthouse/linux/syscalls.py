"""The system calls that workers, the compiler and local gateways may make, by number.

Measured: what they call once confined, and what the C library, Python and wasmtime may
call instead on other machines. All of these compute, wait, or use what is open already; everything that
opens, connects, executes, signals, mounts, traces or configures is denied.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from msgspec import Struct


class Architecture(IntEnum):
    """Architectures, by the column of their numbers."""

    X86_64 = 0
    AARCH64 = 1


class Argument(Struct, frozen=True):
    """A condition on an argument, `number` counting from 0, for a call to be allowed.

    Args:
        one_of: its low 32 bits are one of these.
        without: its low 32 bits have none of these bits.
        with_bit: its low 32 bits have this bit.
        null: it is 0, all 64 bits.
        self: it is the caller's pid.
    """

    number: int
    one_of: tuple[int, ...] = ()
    without: int = 0
    with_bit: int = 0
    null: bool = False
    self: bool = False


class AllowedCall(Struct, frozen=True):
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
_ADVICE: Final = (0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 22, 23, 102, 103)
"""Of `madvise`: how it is read, freed, copied and backed. Not that it be swapped out, where the node waits for it, or
merged with equal pages of others, which tells what these have."""
_NAMES: Final = (15, 0x53564D41)
"""`PR_SET_NAME`, `PR_SET_VMA`: names of threads and mappings, for debugging."""

ALLOWED: Final[dict[str, AllowedCall]] = {
    # Open descriptors.
    "read": AllowedCall((0, 63)),
    "write": AllowedCall((1, 64)),
    "recvfrom": AllowedCall((45, 207)),
    "sendto": AllowedCall((44, 206)),
    "poll": AllowedCall((7, None)),
    "ppoll": AllowedCall((271, 73)),
    "pread64": AllowedCall((17, 67)),
    "readv": AllowedCall((19, 65)),
    "writev": AllowedCall((20, 66)),
    "lseek": AllowedCall((8, 62)),
    "close": AllowedCall((3, 57)),
    "fstat": AllowedCall((5, 80)),
    "fcntl": AllowedCall((72, 25), (Argument(1, one_of=_DESCRIPTOR_FLAGS),)),
    "ioctl": AllowedCall((16, 29), (Argument(1, one_of=_TERMINAL_OR_FLAGS),)),
    # Compiled components, restricted by Landlock.
    "openat": AllowedCall((257, 56), (Argument(2, without=_WRITES_OR_CREATES),)),
    "newfstatat": AllowedCall((262, 79)),
    "statx": AllowedCall((332, 291)),
    # Memory.
    "mmap": AllowedCall((9, 222)),
    "munmap": AllowedCall((11, 215)),
    "mprotect": AllowedCall((10, 226)),
    "mremap": AllowedCall((25, 216)),
    "madvise": AllowedCall((28, 233), (Argument(2, one_of=_ADVICE),)),
    "brk": AllowedCall((12, 214)),
    "mincore": AllowedCall((27, 232)),
    "membarrier": AllowedCall((324, 283)),
    # Threads.
    "futex": AllowedCall((202, 98)),
    "clone": AllowedCall(
        (56, 220), (Argument(0, with_bit=_CLONE_THREAD), Argument(0, without=_NEW_NAMESPACES))
    ),
    "set_robust_list": AllowedCall((273, 99)),
    "rseq": AllowedCall((334, 293)),
    "exit": AllowedCall((60, 93)),
    "exit_group": AllowedCall((231, 94)),
    "sched_yield": AllowedCall((24, 124)),
    "sched_getaffinity": AllowedCall((204, 123)),
    "gettid": AllowedCall((186, 178)),
    "prctl": AllowedCall((157, 167), (Argument(0, one_of=_NAMES),)),
    # Signals within itself: traps of guests, and the epoch timer.
    "rt_sigaction": AllowedCall((13, 134)),
    "rt_sigprocmask": AllowedCall((14, 135)),
    "rt_sigreturn": AllowedCall((15, 139)),
    "rt_sigtimedwait": AllowedCall((128, 137)),
    "sigaltstack": AllowedCall((131, 132)),
    "tgkill": AllowedCall((234, 131), (Argument(0, self=True),)),
    # Time.
    "clock_gettime": AllowedCall((228, 113)),
    "clock_getres": AllowedCall((229, 114)),
    "clock_nanosleep": AllowedCall((230, 115)),
    "nanosleep": AllowedCall((35, 101)),
    "gettimeofday": AllowedCall((96, 169)),
    "timer_create": AllowedCall((222, 107)),
    "timer_settime": AllowedCall((223, 110)),
    "timer_getoverrun": AllowedCall((225, 109)),
    "timer_delete": AllowedCall((226, 111)),
    "restart_syscall": AllowedCall((219, 128)),
    # Information on itself and the machine.
    "getrandom": AllowedCall((318, 278)),
    "getpid": AllowedCall((39, 172)),
    "getuid": AllowedCall((102, 174)),
    "geteuid": AllowedCall((107, 175)),
    "getgid": AllowedCall((104, 176)),
    "getegid": AllowedCall((108, 177)),
    "getcwd": AllowedCall((79, 17)),
    "getcpu": AllowedCall((309, 168)),
    "getrusage": AllowedCall((98, 165)),
    "sysinfo": AllowedCall((99, 179)),
    "uname": AllowedCall((63, 160)),
    "prlimit64": AllowedCall((302, 261), (Argument(0, one_of=(0,)), Argument(2, null=True))),
}

_UNIX: Final = 1
"""`AF_UNIX`."""

FOR_SOCKETS: Final[dict[str, AllowedCall]] = {
    "recvmsg": AllowedCall((47, 212)),
    "sendmsg": AllowedCall((46, 211)),
    "shutdown": AllowedCall((48, 210)),
    "getsockopt": AllowedCall((55, 209)),
    "setsockopt": AllowedCall((54, 208)),
    "getsockname": AllowedCall((51, 204)),
    "getpeername": AllowedCall((52, 205)),
    "socketpair": AllowedCall((53, 199), (Argument(0, one_of=(_UNIX,)),)),
    "epoll_create1": AllowedCall((291, 20)),
    "epoll_ctl": AllowedCall((233, 21)),
    "epoll_wait": AllowedCall((232, None)),
    "epoll_pwait": AllowedCall((281, 22)),
    "eventfd2": AllowedCall((290, 19)),
    "pipe2": AllowedCall((293, 59)),
}
"""What an event loop on sockets that were passed to it calls besides. None of these reaches anybody else."""

NEWER: Final = 424
"""Numbers from here on are the same on all architectures, and newer than many kernels: callers expect ENOSYS,
so they get it. (`clone3` is one: a filter cannot read its flags, and the C library
falls back to `clone`.)"""
