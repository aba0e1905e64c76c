"""Which memory is whose, and how often that is looked for."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest

from guesthouse.link.to_node import Usage
from guesthouse.worker import usage
from guesthouse.worker.outgoing import Outgoing
from guesthouse.worker.usage import (
    LONGEST_PAUSE,
    LOOK_SHARE,
    MOST_MEASURED,
    SHORT_LOOK,
    Memories,
    UsageReport,
)


class Mappings:
    """The memories of a worker, as a test has them come and go, and what time it is."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.looks = 0
        self.takes = 0.0
        self.now = 100.0
        self.guests: dict[int, Any] = {}

    def __call__(self) -> dict[int, int]:
        self.looks += 1
        self.now += self.takes
        return dict(self.sizes)

    def memories(self) -> Memories:
        return Memories(self.guests, lambda: self.now, lambda: self.now)


@pytest.fixture
def mappings(monkeypatch: pytest.MonkeyPatch) -> Mappings:
    found = Mappings()
    monkeypatch.setattr(usage, "linear_memories", found)
    return found


def a_guest(handle: int, memory: tuple[int, int] | None = None) -> Any:
    return SimpleNamespace(
        handle=handle,
        gone=False,
        cpu_seconds=0.0,
        serves=True,
        slice_budget=1.0,
        fiber=SimpleNamespace(calls=0, known_memory=lambda: memory),
        limits=SimpleNamespace(memory_bytes=2**30, cpu_seconds_per_message=1.0),
        budget=SimpleNamespace(held_seconds=0.0),
        log=SimpleNamespace(dropped=0),
    )


def guests(*handles: int) -> list[Any]:
    return [a_guest(handle) for handle in handles]


def test_a_memory_is_that_of_the_guest_it_appeared_with(mappings: Mappings) -> None:
    memories = mappings.memories()
    for handle in (1, 2):
        mappings.sizes[handle] = 100 * handle
        memories.instantiated(a_guest(handle))
    assert memories.sizes(guests(1, 2)) == ({1: 100, 2: 200}, True)


def test_guests_that_are_started_all_the_time_make_no_long_looks_all_the_time(mappings: Mappings) -> None:
    memories = mappings.memories()
    mappings.takes = 2 * SHORT_LOOK
    memories.instantiated(a_guest(1))
    for handle in range(2, 10):
        mappings.sizes[handle] = 100
        memories.instantiated(a_guest(handle))
    assert mappings.looks == 1
    del mappings.sizes[3], mappings.sizes[4]
    mappings.now += 2 * SHORT_LOOK / LOOK_SHARE
    memories.instantiated(a_guest(10))
    assert mappings.looks == 2
    assert memories.sizes(guests(*range(11))) == ({}, True)


def test_the_memory_of_a_guest_that_was_not_looked_for_is_not_that_of_the_next(mappings: Mappings) -> None:
    memories = mappings.memories()
    mappings.takes = 2 * SHORT_LOOK
    memories.instantiated(a_guest(1))
    mappings.sizes[2] = 100
    memories.instantiated(a_guest(2))
    mappings.now += 2 * SHORT_LOOK / LOOK_SHARE
    memories.instantiated(a_guest(3))
    assert memories.sizes(guests(2, 3)) == ({}, True)
    mappings.now += 2 * SHORT_LOOK / LOOK_SHARE
    mappings.sizes[4] = 400
    memories.instantiated(a_guest(4))
    assert memories.sizes(guests(2, 3, 4))[0] == {4: 400}


def test_memories_that_appear_together_are_nobodys_and_the_next_is_known_again(mappings: Mappings) -> None:
    memories = Memories({})
    mappings.sizes = {1: 100, 2: 200}
    memories.instantiated(a_guest(1))
    assert memories.sizes(guests(1)) == ({}, True)
    mappings.sizes[3] = 300
    memories.instantiated(a_guest(3))
    assert memories.sizes(guests(3))[0] == {3: 300}


@pytest.mark.parametrize("at_once", [1, 2])
def test_starting_thousands_of_guests_looks_at_the_mappings_a_bounded_number_of_times(
    mappings: Mappings, at_once: int
) -> None:
    memories = Memories({})
    for handle in range(3000):
        mappings.sizes.update({handle * 2 + more: 100 for more in range(at_once)})
        memories.instantiated(a_guest(handle))
    assert mappings.looks <= MOST_MEASURED


def test_once_many_guests_are_gone_memories_are_told_apart_again(mappings: Mappings) -> None:
    memories = mappings.memories()
    mappings.sizes = dict.fromkeys(range(2 * MOST_MEASURED), 100)
    memories.instantiated(a_guest(1))
    mappings.sizes = {}
    mappings.now += LONGEST_PAUSE
    assert memories.sizes(guests(1)) == ({}, True)
    mappings.sizes = {7: 700}
    memories.instantiated(a_guest(7))
    assert memories.sizes(guests(7))[0] == {7: 700}


@pytest.mark.parametrize("takes", [0.001, 0.008, 0.5])
def test_looks_take_a_bounded_share_of_the_time_and_what_was_found_is_said_meanwhile(
    mappings: Mappings, takes: float
) -> None:
    memories = mappings.memories()
    mappings.sizes, mappings.takes = {1: 100}, takes
    memories.instantiated(a_guest(1))
    mappings.sizes = {1: 200}
    pause = min(takes / LOOK_SHARE, LONGEST_PAUSE)
    mappings.now += 0.99 * pause
    assert memories.sizes(guests(1)) == ({1: 100}, False)
    mappings.now += 0.02 * pause
    assert memories.sizes(guests(1)) == ({1: 200}, True)
    assert mappings.looks == 2


def test_nobody_looks_for_guests_whose_memory_is_not_known(mappings: Mappings) -> None:
    memories = mappings.memories()
    mappings.sizes = {1: 100}
    memories.instantiated(a_guest(1))
    assert memories.sizes(guests(2, 3)) == ({}, True)
    assert mappings.looks == 1


def test_a_memory_that_has_the_address_of_a_dead_guests_is_of_its_own_size(mappings: Mappings) -> None:
    memories, dead = mappings.memories(), a_guest(1)
    mappings.sizes, mappings.takes = {1: 900}, SHORT_LOOK / 2
    memories.instantiated(dead)
    dead.gone = True
    mappings.sizes = {1: 100}
    memories.instantiated(a_guest(2))
    assert memories.sizes(guests(2)) == ({2: 100}, False)


def test_guests_that_know_their_memory_cost_no_look_and_leave_those_of_others_known(
    mappings: Mappings,
) -> None:
    memories = mappings.memories()
    for handle in range(1, 2 * MOST_MEASURED):
        mappings.guests[handle] = a_guest(handle, (1000 * handle, 10 * handle))
        mappings.sizes[1000 * handle] = 10 * handle
        memories.instantiated(mappings.guests[handle])
    assert mappings.looks == 0
    assert memories.sizes([mappings.guests[3], mappings.guests[5]]) == ({3: 30, 5: 50}, True)
    assert mappings.looks == 0
    other = mappings.guests[0] = a_guest(0)
    mappings.sizes[7] = 700
    memories.instantiated(other)
    assert memories.sizes([mappings.guests[3], other]) == ({3: 30, 0: 700}, True)


class Said:
    """What a worker says."""

    def __init__(self) -> None:
        self.usage: list[Usage] = []

    def add(self, message: Usage) -> None:
        self.usage.append(message)


def test_a_guest_that_came_to_rest_before_its_memory_was_looked_at_is_reported_until_it_was(
    mappings: Mappings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "monotonic", lambda: mappings.now)
    said, memories = Said(), mappings.memories()
    guest = a_guest(1)
    report = UsageReport(cast(Outgoing, said), memories)
    mappings.sizes, mappings.takes = {1: 100}, 0.0025
    memories.instantiated(guest)
    mappings.sizes = {1: 200}
    guest.cpu_seconds = 0.5
    for _ in range(6):
        mappings.now += 1.0
        report.report([guest])
    assert [item.runs[0].used.memory_bytes for item in said.usage] == [100, 100, 200]
    assert report.due_seconds() == inf
