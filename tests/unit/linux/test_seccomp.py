"""The filter of both architectures, run by the rules of classic BPF; `test_system_calls.py` has a kernel run one."""

from __future__ import annotations

import errno
import struct

import pytest

from guesthouse.linux.seccomp import program
from guesthouse.linux.syscalls import ALLOWED, NEWER, Architecture

AUDIT = {Architecture.X86_64: 0xC000003E, Architecture.AARCH64: 0xC00000B7}
PID = 4711
ALLOW, DENY, MISSING = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
THREAD, NEW_USER = 0x00010000, 0x10000000
READS, WRITES, CREATES = 0o2000000, 0o1, 0o100

both = pytest.mark.parametrize("architecture", Architecture)


def verdict(architecture: Architecture, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter says of a call."""
    given = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, AUDIT[architecture] if audit is None else audit, 0, *given)
    lines = [struct.unpack("<HBBI", line) for line in program(architecture, AUDIT[architecture], PID)]
    at = accumulator = 0
    while True:
        code, when, otherwise, value = lines[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x15:
                at += when if accumulator == value else otherwise
            case 0x35:
                at += when if accumulator >= value else otherwise
            case 0x45:
                at += when if accumulator & value else otherwise
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"instruction {code:#x}")


def number(architecture: Architecture, name: str) -> int:
    found = ALLOWED[name].numbers[architecture]
    assert found is not None
    return found


@both
def test_what_has_no_conditions_is_allowed_and_what_is_not_there_is_not(architecture: Architecture) -> None:
    known = {call.numbers[architecture]: call for call in ALLOWED.values()}
    for called in range(NEWER):
        call = known.get(called)
        if call is None:
            assert verdict(architecture, called) == DENY
        elif not call.arguments:
            assert verdict(architecture, called, 2**64 - 1, 2**64 - 1) == ALLOW
    assert verdict(architecture, NEWER) == MISSING
    assert verdict(architecture, 435) == MISSING  # clone3


@both
def test_calls_of_another_architecture_are_denied(architecture: Architecture) -> None:
    called = number(architecture, "read")
    assert verdict(architecture, called, audit=0x40000003) == DENY  # 32 bits
    assert verdict(architecture, called | 0x40000000) == DENY  # x32


@both
@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("clone", (0x3D0F00,), True),  # what starts a thread
        ("clone", (17,), False),
        ("clone", (THREAD | NEW_USER,), False),
        ("openat", (0, 0, READS), True),
        ("openat", (0, 0, WRITES), False),
        ("openat", (0, 0, CREATES), False),
        ("tgkill", (PID, 1, 6), True),
        ("tgkill", (PID + 1, 1, 6), False),
        ("prctl", (15,), True),
        ("prctl", (4, 1), False),
        ("fcntl", (0, 3), True),
        ("fcntl", (0, 8), False),
        ("madvise", (0, 4096, 4), True),  # unused: frees pages
        ("madvise", (0, 4096, 23), True),  # what a ring grows by
        ("madvise", (0, 4096, 9), False),
        ("madvise", (0, 4096, 12), False),
        ("madvise", (0, 4096, 21), False),
        ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x5412), False),
        ("prlimit64", (0, 7, 0, 1), True),
        ("prlimit64", (0, 7, 1), False),
        ("prlimit64", (0, 7, 1 << 32), False),
        ("prlimit64", (1, 7, 0, 1), False),
    ],
)
def test_arguments_decide(
    architecture: Architecture, name: str, arguments: tuple[int, ...], allowed: bool
) -> None:
    assert verdict(architecture, number(architecture, name), *arguments) == (ALLOW if allowed else DENY)
