"""How long threads keep a CPU, as the kernel says."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading

import pytest

from guesthouse.turns import short_turns, turn_seconds

VERSION = tuple(int(part) for part in platform.release().split(".")[:2])
pytestmark = pytest.mark.skipif(VERSION < (6, 12), reason="this kernel lets nobody say how long turns are")

SHORT = 0.0001

OF_EACH_THREAD = """
import os
from guesthouse.turns import turn_seconds
from guesthouse.worker.boundary.ticker import start_thread
before = set(os.listdir("/proc/self/task"))
start_thread()
print(turn_seconds(), *(turn_seconds(int(new)) for new in set(os.listdir("/proc/self/task")) - before))
"""

OF_A_NICE_THREAD = f"""
import os
from guesthouse.turns import short_turns, turn_seconds
how = lambda: f"{{os.nice(0)}},{{os.sched_getscheduler(0)}}"
os.nice(3)
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
print(how())
with short_turns({SHORT}):
    print(how())
    turn = turn_seconds()
print(how(), turn)
"""


def turn_of_a_new_thread() -> float:
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(turn_seconds()))
    thread.start()
    thread.join()
    return found[0]


def test_threads_that_are_started_meanwhile_take_short_turns_and_others_do_not() -> None:
    usual = turn_seconds()
    assert usual > SHORT
    with short_turns(SHORT):
        assert turn_of_a_new_thread() == SHORT
    assert turn_seconds() == usual
    assert turn_of_a_new_thread() == usual


def test_a_thread_stays_as_nice_as_it_was() -> None:
    said = subprocess.check_output([sys.executable, "-c", OF_A_NICE_THREAD], text=True, timeout=60)
    *before_and_after, turn = said.split()
    assert len(set(before_and_after)) == 1
    assert float(turn) == SHORT


def test_a_thread_that_raised_takes_turns_as_usual_again() -> None:
    usual = turn_seconds()
    with pytest.raises(KeyError), short_turns(SHORT):
        raise KeyError
    assert turn_seconds() == usual


def test_ticks_take_short_turns_and_guests_do_not() -> None:
    said = subprocess.check_output([sys.executable, "-c", OF_EACH_THREAD], text=True, timeout=60)
    of_guests, *of_ticks = map(float, said.split())
    assert of_guests > SHORT
    assert of_ticks == [SHORT]
