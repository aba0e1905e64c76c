"""What a guest that ended leaves behind in its worker: nothing."""

from __future__ import annotations

import os
from time import monotonic
from typing import cast
from weakref import ref

import pytest

from guesthouse.worker.guest import Guest, WaitingFor
from guesthouse.worker.scheduler import Scheduler

from .guests import RECEIVE_FOR_EVER, process
from .process import Worker


def mapped(worker: Worker) -> set[str]:
    """Compiled components that the worker has open or mapped, whole or in parts."""
    folder = f"/proc/{worker.subprocess.pid}"
    links = [os.readlink(f"{folder}/fd/{name}") for name in os.listdir(f"{folder}/fd")]
    with open(f"{folder}/maps") as maps:
        files = {line.rpartition("/")[2].strip() for line in [*links, *maps]}
    return {file.partition(".")[0] for file in files if file.endswith((".cwasm", ".core"))}


def numbered(number: int) -> str:
    """A component that no other has."""
    return process(("messaging.receive",), f"(drop (i32.const {number})) {RECEIVE_FOR_EVER}")


@pytest.mark.slow
@pytest.mark.parametrize("started", [True, False])
def test_the_component_of_a_guest_that_ended_is_unmapped_at_once(own_worker: Worker, started: bool) -> None:
    for number in range(10):
        guest = own_worker.start(
            numbered(number) if started else numbered(number).replace('memory") 4)', 'memory") 9999)', 1)
        )
        if started:
            guest.started()
            assert mapped(own_worker)
            guest.stop()
        else:
            guest.death()
    assert own_worker.is_alive()
    assert len(mapped(own_worker)) <= 1  # the one that was asked whether it is alive


class Sleeper:
    """What the scheduler sees of a guest that ends in its sleep."""

    waiting = WaitingFor.TIME
    gone = False


@pytest.mark.slow
def test_guests_that_ended_in_their_sleep_are_forgotten() -> None:
    scheduler = Scheduler(lambda guest, trap: None, lambda now, spent: None, lambda: None)
    lives = Sleeper()
    scheduler.wake_at(cast(Guest, lives), monotonic() + 60)
    ended: list[ref[Sleeper]] = []
    for _ in range(10_000):
        sleeper = Sleeper()
        scheduler.wake_at(cast(Guest, sleeper), monotonic() + 60)
        sleeper.gone = True
        ended.append(ref(sleeper))
    assert sum(each() is not None for each in ended) < 2500
    assert 50 < (scheduler.wait_seconds() or 0) <= 60
