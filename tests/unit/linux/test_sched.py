"""How long threads keep a CPU, as the kernel says."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading

import pytest

from guesthouse.linux.sched import slice_seconds, use_short_slices

VERSION = tuple(int(part) for part in platform.release().split(".")[:2])
pytestmark = pytest.mark.skipif(VERSION < (6, 12), reason="this kernel lets nobody say how long turns are")

SHORT = 0.0001

OF_EACH_THREAD = """
import os
from guesthouse.linux.sched import slice_seconds
from guesthouse.wasm.engine.epoch_timer import start_thread
before = set(os.listdir("/proc/self/task"))
start_thread()
print(slice_seconds(), *(slice_seconds(int(new)) for new in set(os.listdir("/proc/self/task")) - before))
"""

POLICIES_OF_A_WORKER = """
import os
from guesthouse.worker.__main__ import _start_threads
_start_threads()
others = set(os.listdir("/proc/self/task")) - {str(os.getpid())}
print(os.sched_getscheduler(0), *{os.sched_getscheduler(int(each)) for each in others})
"""

OF_A_NICE_THREAD = f"""
import os
from guesthouse.linux.sched import use_short_slices, slice_seconds
how = lambda: f"{{os.nice(0)}},{{os.sched_getscheduler(0)}}"
os.nice(3)
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
print(how())
with use_short_slices({SHORT}):
    print(how())
    turn = slice_seconds()
print(how(), turn)
"""


def turn_of_a_new_thread() -> float:
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(slice_seconds()))
    thread.start()
    thread.join()
    return found[0]


def test_threads_that_are_started_meanwhile_take_short_turns_and_others_do_not() -> None:
    usual = slice_seconds()
    assert usual > SHORT
    with use_short_slices(SHORT):
        assert turn_of_a_new_thread() == SHORT
    assert slice_seconds() == usual
    assert turn_of_a_new_thread() == usual


def test_a_thread_stays_as_nice_as_it_was() -> None:
    said = subprocess.check_output([sys.executable, "-c", OF_A_NICE_THREAD], text=True, timeout=60)
    *before_and_after, turn = said.split()
    assert len(set(before_and_after)) == 1
    assert float(turn) == SHORT


def test_a_thread_that_raised_takes_turns_as_usual_again() -> None:
    usual = slice_seconds()
    with pytest.raises(KeyError), use_short_slices(SHORT):
        raise KeyError
    assert slice_seconds() == usual


def test_ticks_take_short_turns_and_guests_do_not() -> None:
    said = subprocess.check_output([sys.executable, "-c", OF_EACH_THREAD], text=True, timeout=60)
    of_guests, *of_ticks = map(float, said.split())
    assert of_guests > SHORT
    assert of_ticks == [SHORT]


def test_a_worker_that_wakes_preempts_nobody_and_its_ticks_do() -> None:
    said = subprocess.check_output([sys.executable, "-c", POLICIES_OF_A_WORKER], text=True, timeout=60)
    guests, *ticks = map(int, said.split())
    assert guests == os.SCHED_BATCH
    assert ticks == [os.SCHED_OTHER]
