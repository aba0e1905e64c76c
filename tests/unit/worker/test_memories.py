"""Which memory is whose, and how often that is looked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from guesthouse.worker import usage
from guesthouse.worker.usage import MOST_MEASURED, Memories


class Mappings:
    """The memories of a worker, as a test has them come and go."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.looks = 0

    def __call__(self) -> dict[int, int]:
        self.looks += 1
        return dict(self.sizes)


@pytest.fixture
def mappings(monkeypatch: pytest.MonkeyPatch) -> Mappings:
    found = Mappings()
    monkeypatch.setattr(usage, "linear_memories", found)
    return found


def a_guest(handle: int) -> Any:
    return SimpleNamespace(handle=handle, gone=False)


def test_a_memory_is_that_of_the_guest_it_appeared_with(mappings: Mappings) -> None:
    memories = Memories()
    for handle in (1, 2):
        mappings.sizes[handle] = 100 * handle
        memories.instantiated(a_guest(handle))
    assert memories.sizes() == {1: 100, 2: 200}


def test_memories_that_appear_together_are_nobodys_and_the_next_is_known_again(mappings: Mappings) -> None:
    memories = Memories()
    mappings.sizes = {1: 100, 2: 200}
    memories.instantiated(a_guest(1))
    assert memories.sizes() == {}
    mappings.sizes[3] = 300
    memories.instantiated(a_guest(3))
    assert memories.sizes() == {3: 300}


@pytest.mark.parametrize("at_once", [1, 2])
def test_starting_thousands_of_guests_looks_at_the_mappings_a_bounded_number_of_times(
    mappings: Mappings, at_once: int
) -> None:
    memories = Memories()
    for handle in range(3000):
        mappings.sizes.update({handle * 2 + more: 100 for more in range(at_once)})
        memories.instantiated(a_guest(handle))
    assert mappings.looks <= MOST_MEASURED


def test_once_many_guests_are_gone_memories_are_told_apart_again(mappings: Mappings) -> None:
    memories = Memories()
    mappings.sizes = dict.fromkeys(range(2 * MOST_MEASURED), 100)
    memories.instantiated(a_guest(1))
    mappings.sizes = {}
    assert memories.sizes() == {}
    mappings.sizes = {7: 700}
    memories.instantiated(a_guest(7))
    assert memories.sizes() == {7: 700}
