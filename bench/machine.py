"""The machine's current speed, which varies with what else runs on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

_LOOP: Final = """
import sys, time
end, turns = time.perf_counter() + float(sys.argv[1]), 0
while time.perf_counter() < end:
    for _ in range(1000): pass
    turns += 1
print(turns)
"""
"""Computes for some seconds; prints the number of thousand iterations."""
LOOK_SECONDS: Final = 0.3
"""Duration of each of the two measurements of `speed`."""


def thousand_turns_a_second(processes: int, seconds: float) -> float:
    """The iterations that some compute-only processes achieve together."""
    command = [sys.executable, "-S", "-c", _LOOP, str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    return sum(int(process.communicate()[0]) for process in running) / seconds


def speed(seconds: float = LOOK_SECONDS) -> dict[str, float]:
    """Million turns of a loop a second on one CPU, and how many times as many on all."""
    one = thousand_turns_a_second(1, seconds)
    cpus = len(os.sched_getaffinity(0))
    together = thousand_turns_a_second(cpus, seconds)
    return {"one_cpu": round(one / 1000, 1), "all_to_one": round(together / one, 2)}
