"""A node collects garbage in small passes. Each test is an OS process of its own: there is one collector in each."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import gc, time
from guesthouse.node import gc_tuning
due = []
"""


def run(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + script], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_no_pass_goes_through_what_survived_an_earlier_one() -> None:
    passes = run("""
before = gc.get_threshold()
sizes = []
gc.callbacks.append(lambda phase, info: phase == "start" and sizes.append((info["generation"], len(gc.get_objects()))))
with gc_tuning.IncrementalCollection(due.append):
    sizes.clear()
    kept = [[] for _ in range(300_000)]
    print(all(generation == 0 and size < 2 * gc_tuning.YOUNG for generation, size in sizes), len(sizes) >= 25)
print(gc.get_freeze_count(), gc.get_threshold() == before, due)
""")
    assert passes.split("\n") == ["True True", "0 True []", ""]


@pytest.mark.slow
def test_young_cycles_are_freed_and_old_ones_once_there_are_many() -> None:
    said = run("""
class Cycle:
    alive = 0
    def __init__(self):
        self.me = self
        Cycle.alive += 1
    def __del__(self):
        Cycle.alive -= 1
with gc_tuning.IncrementalCollection(due.append) as passes:
    for _ in range(50_000):
        Cycle()
    print(Cycle.alive < 3 * gc_tuning.YOUNG)
    old = [Cycle() for _ in range(20_000)]
    before = [[] for _ in range(gc_tuning.YOUNG * 2)]
    del old
    print(Cycle.alive >= 20_000, len(due))
    more = [[] for _ in range(1_500_000)]
    print(len(due) >= 1)
    due[0]()
    print(Cycle.alive, passes.full_passes)
""")
    assert said.split("\n") == ["True", "True 0", "True", "0 1", ""]


def test_memory_that_a_storm_took_is_given_back_and_what_is_used_is_left_alone() -> None:
    said = run("""
looks = []
class Handle:
    def cancel(self): looks.clear()
def call_later(seconds, look):
    looks[:] = [look]
    return Handle()
with gc_tuning.MemoryTrimmer(call_later) as back:
    looks[0]()
    print(back.times)
    storm = [b"x" * (100_000 + number) for number in range(600)]
    pieces = storm[::100]
    at_most = gc_tuning._resident()
    del storm
    looks[0]()
    print(back.times, gc_tuning._resident() < at_most - 40 * 2**20, len(pieces))
    looks[0]()
    print(back.times)
print(looks)
""")
    assert said.split("\n") == ["0", "1 True 6", "1", "[]", ""]
