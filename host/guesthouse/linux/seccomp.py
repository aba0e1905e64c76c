"""The system call filter: calls that are not in `syscalls.py` fail.

They fail with EPERM, or with ENOSYS if they are new. None kills the caller, since a crash of one guest's worker would
affect all of its guests. The filter is classic BPF, generated from the table.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from guesthouse.linux.syscalls import ALLOWED, NEWER, AllowedCall, Architecture, Argument

_SET_MODE_FILTER: Final = 1
_ALL_THREADS: Final = 1

_MACHINES: Final = {
    "x86_64": (Architecture.X86_64, 0xC000003E, 317),
    "aarch64": (Architecture.AARCH64, 0xC00000B7, 277),
}
"""Audit number of each architecture, and its number of `seccomp`."""
_X32_BIT: Final = 0x40000000

_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_JUMP_SET: Final = 0x45
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_ARGUMENTS_AT: Final = 16

_NO_MORE: Final[Mapping[str, AllowedCall]] = MappingProxyType({})

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def restrict(more: Mapping[str, AllowedCall] = _NO_MORE) -> tuple[str, ...]:
    """Restrict all threads of this OS process, and those that they start, to the calls of the table. Needs
    no_new_privs.

    Args:
        more: calls besides those.

    Returns:
        What this kernel or machine cannot restrict, a line each.
    """
    machine = os.uname().machine
    if machine not in _MACHINES:
        return (f"there is no system call filter for {machine}: workers can open sockets",)
    architecture, audit_number, call = _MACHINES[machine]
    instructions = program(architecture, audit_number, os.getpid(), more)
    code = ctypes.create_string_buffer(b"".join(instructions))
    header = struct.pack("<H6xQ", len(instructions), ctypes.addressof(code))
    thread = _libc.syscall(call, _SET_MODE_FILTER, _ALL_THREADS, header)
    if thread:
        reason = os.strerror(ctypes.get_errno()) if thread < 0 else f"thread {thread} has a filter of its own"
        return (f"the kernel refused the system call filter ({reason}): workers can open sockets",)
    return ()


def program(
    architecture: Architecture, audit_number: int, pid: int, more: Mapping[str, AllowedCall] = _NO_MORE
) -> Sequence[bytes]:
    """The filter for an OS process with this pid, which may make `more` calls: instructions of 8 bytes."""
    instructions = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        _instruction(_JUMP_EQUAL, audit_number, when=1),
        _fail(errno.EPERM),
        _instruction(_LOAD, _NUMBER_AT),
        _instruction(_JUMP_AT_LEAST, _X32_BIT, otherwise=1),
        _fail(errno.EPERM),
    ]
    for call in (*ALLOWED.values(), *more.values()):
        number = call.numbers[architecture]
        if number is not None:
            block = _allowed_if(call, pid)
            instructions += [_instruction(_JUMP_EQUAL, number, otherwise=len(block)), *block]
    return [
        *instructions,
        _instruction(_JUMP_AT_LEAST, NEWER, otherwise=1),
        _fail(errno.ENOSYS),
        _fail(errno.EPERM),
    ]


def _allowed_if(call: AllowedCall, pid: int) -> list[bytes]:
    block: list[bytes] = []
    for argument in call.arguments:
        block += _check(argument, pid)
    return [*block, _instruction(_RETURN, _ALLOW)]


def _check(argument: Argument, pid: int) -> list[bytes]:
    """Continue if the argument is as required, else fail."""
    low = _ARGUMENTS_AT + 8 * argument.number
    deny = _fail(errno.EPERM)
    load = _instruction(_LOAD, low)
    if argument.null:
        zero = [_instruction(_JUMP_EQUAL, 0, when=1), deny]
        return [load, *zero, _instruction(_LOAD, low + 4), *zero]
    if argument.without:
        return [load, _instruction(_JUMP_SET, argument.without, otherwise=1), deny]
    if argument.with_bit:
        return [load, _instruction(_JUMP_SET, argument.with_bit, when=1), deny]
    values = (pid,) if argument.self else argument.one_of
    left = range(len(values), 0, -1)
    jumps = [_instruction(_JUMP_EQUAL, value, when=n) for value, n in zip(values, left, strict=True)]
    return [load, *jumps, deny]


def _fail(error: int) -> bytes:
    return _instruction(_RETURN, _ERRNO | error)


def _instruction(code: int, value: int, when: int = 0, otherwise: int = 0) -> bytes:
    """One instruction; for a jump, how many instructions to skip if true and if false."""
    return struct.pack("<HBBI", code, when, otherwise, value)
