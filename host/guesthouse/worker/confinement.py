"""What a worker gives up before its first guest: a guest that breaks out of wasm finds nothing to take.

Landlock leaves it no file but those below the folder of compiled components, no TCP, and no signal or
abstract socket to reach others by. A seccomp filter leaves it no socket, no program to run, no process
to make or trace, and none of the kernel interfaces that are mostly used to attack kernels. Both are
the kernel's own and cannot be undone; no library on PyPI that wraps them is kept up.

What is denied fails with EPERM; nothing kills the worker, whose one crash would be everybody's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2

_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_CREATE_RULESET_VERSION: Final = 1
_LANDLOCK_RULE_PATH_BENEATH: Final = 1
_READ_FILE: Final = 1 << 2
_FS_ACCESSES_BY_ABI: Final = (13, 14, 15, 15, 16)
"""How many kinds of file access each version of Landlock knows, from the first on."""
_TCP_FROM_ABI: Final = 4
_SCOPES_FROM_ABI: Final = 6

_OPEN_FILES: Final = 256

_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""The audit number of each, and its column in `_DENIED`."""

_DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "connect": (42, 203),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "personality": (135, 92),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
}
"""System calls by architecture (x86-64, arm64) that no worker makes."""

_CLONE: Final = (56, 220)
_CLONE3: Final = 435
_CLONE_THREAD: Final = 0x00010000
_X32_BIT: Final = 0x40000000

_BPF_LOAD: Final = 0x20
_BPF_JUMP_EQUAL: Final = 0x15
_BPF_JUMP_AT_LEAST: Final = 0x35
_BPF_JUMP_SET: Final = 0x45
_BPF_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_FIRST_ARGUMENT_AT: Final = 16

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def confine(readable: Path) -> tuple[str, ...]:
    """Give up everything but reading files below `readable`. Cannot be undone.

    Returns:
        What this kernel has no means for, a line each; empty when everything is in force.
    """
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    return (*_landlock(readable), *_seccomp())


def _landlock(readable: Path) -> tuple[str, ...]:
    abi = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    if abi < 1:
        return ("the kernel has no Landlock: workers can open this user's files",)
    accesses = (1 << _FS_ACCESSES_BY_ABI[min(abi, len(_FS_ACCESSES_BY_ABI)) - 1]) - 1
    attributes = struct.pack("<QQQ", accesses, 3 if abi >= _TCP_FROM_ABI else 0, 3)
    size = 24 if abi >= _SCOPES_FROM_ABI else 16 if abi >= _TCP_FROM_ABI else 8
    ruleset = _libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, size, 0)
    folder = os.open(readable, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        rule = struct.pack("<Qi", _READ_FILE, folder)
        failed = ruleset < 0 or _libc.syscall(
            _LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0
        )
        if failed or _libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0):
            reason = os.strerror(ctypes.get_errno())
            return (f"Landlock refused its rules ({reason}): workers can open this user's files",)
    finally:
        os.close(folder)
        if ruleset >= 0:
            os.close(ruleset)
    return ()


def _seccomp() -> tuple[str, ...]:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return (f"no system call filter is written for {machine}: workers can open sockets",)
    program = _program(*_ARCHITECTURES[machine])
    code = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("<H6xQ", len(program), ctypes.addressof(code))
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        return (f"the kernel refused the system call filter ({reason}): workers can open sockets",)
    return ()


def _program(architecture: int, column: int) -> Sequence[bytes]:
    """The filter: the instructions of classic BPF, 8 bytes each."""
    deny = _instruction(_BPF_RETURN, _ERRNO | errno.EPERM)
    denied = [numbers[column] for numbers in _DENIED.values()]
    checks = [
        _instruction(_BPF_LOAD, _ARCHITECTURE_AT),
        _instruction(_BPF_JUMP_EQUAL, architecture, when=1),
        deny,
        _instruction(_BPF_LOAD, _NUMBER_AT),
        _instruction(_BPF_JUMP_AT_LEAST, _X32_BIT, otherwise=1),
        deny,
        # glibc asks for `clone3` first, whose flags no filter can read, and falls back to `clone`.
        _instruction(_BPF_JUMP_EQUAL, _CLONE3, otherwise=1),
        _instruction(_BPF_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for number in denied:
        if number is not None:
            checks += [_instruction(_BPF_JUMP_EQUAL, number, otherwise=1), deny]
    return [
        *checks,
        _instruction(_BPF_JUMP_EQUAL, _CLONE[column], otherwise=3),
        _instruction(_BPF_LOAD, _FIRST_ARGUMENT_AT),
        _instruction(_BPF_JUMP_SET, _CLONE_THREAD, when=1),
        deny,
        _instruction(_BPF_RETURN, _ALLOW),
    ]


def _instruction(code: int, value: int, when: int = 0, otherwise: int = 0) -> bytes:
    """One instruction; for a jump, how many are skipped when it is true and otherwise."""
    return struct.pack("<HBBI", code, when, otherwise, value)
