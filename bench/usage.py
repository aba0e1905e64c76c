"""Resource usage of subprocesses, from the kernel: CPU seconds, and private memory."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK")
_SETTLED_KIB: Final = 64


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of some subprocesses together."""

    cpu_seconds: float
    kernel_seconds: float
    """Of its CPU time, what it spent in system calls and interrupts."""
    private_kib: int
    """Pages that no other process has."""
    mappings: int

    @classmethod
    def of(cls, *pids: int) -> Usage:
        """Their current usage."""
        return cls(
            sum(map(cpu_seconds, pids)),
            sum(map(kernel_seconds, pids)),
            sum(map(private_kib, pids)),
            sum(Path(f"/proc/{pid}/maps").read_bytes().count(b"\n") for pid in pids),
        )


def cpu_seconds(pid: int) -> float:
    """User and system time of a subprocess."""
    return sum(_times(pid))


def kernel_seconds(pid: int) -> float:
    """System time of a subprocess."""
    return _times(pid)[1]


def _times(pid: int) -> tuple[float, float]:
    """User and system time of a subprocess, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / _TICK, int(fields[12]) / _TICK


def private_kib(pid: int) -> int:
    """`Private_Clean` and `Private_Dirty` of `smaps_rollup`."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    figures = {line.split()[0]: int(line.split()[1]) for line in lines}
    return figures["Private_Clean:"] + figures["Private_Dirty:"]


def children(pid: int) -> list[int]:
    """The subprocesses of a subprocess."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def settled_kib(*pids: int, seconds: float = 3.0) -> int:
    """Their memory once it is stable, or after some seconds."""
    until = time.monotonic() + seconds
    before = sum(map(private_kib, pids))
    while time.monotonic() < until:
        time.sleep(0.1)
        now = sum(map(private_kib, pids))
        if abs(now - before) < _SETTLED_KIB:
            return now
        before = now
    return before
