"""Regions of a ring: in order, apart, and none released that is not held."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.examples import examples

from guesthouse.link.ring import ALIGNMENT, Ring

UNITS = 16
SIZE = UNITS * ALIGNMENT


def test_an_empty_ring_begins_at_its_start() -> None:
    ring = Ring(SIZE)
    assert ring.take(3 * ALIGNMENT) == 0
    assert ring.take(1) == 3 * ALIGNMENT
    ring.release(2)
    assert ring.take(SIZE) == 0


def test_a_region_is_in_one_piece() -> None:
    ring = Ring(SIZE)
    assert [ring.take(6 * ALIGNMENT), ring.take(6 * ALIGNMENT)] == [0, 6 * ALIGNMENT]
    ring.release(1)
    assert ring.take(5 * ALIGNMENT) == 0, "4 are left at the end, and 6 at the start"
    assert ring.take(2 * ALIGNMENT) is None


def test_a_ring_that_wrapped_and_is_full_takes_nothing() -> None:
    ring = Ring(SIZE)
    ring.take(SIZE // 2)
    ring.take(SIZE // 2)
    ring.release(1)
    assert ring.take(SIZE // 2) == 0
    assert ring.take(1) is None
    assert ring.take(SIZE + 1) is None


def test_what_is_not_held_is_not_released() -> None:
    ring = Ring(SIZE)
    ring.take(1)
    with pytest.raises(ValueError, match="2 regions are released, and 1 are held"):
        ring.release(2)
    assert ring.held == 1


def test_what_nobody_was_told_of_is_undone() -> None:
    ring = Ring(SIZE)
    ring.take(10 * ALIGNMENT)
    ring.take(4 * ALIGNMENT)
    ring.release(1)
    assert ring.take(8 * ALIGNMENT) == 0
    ring.undo(1)
    assert ring.take(2 * ALIGNMENT) == 14 * ALIGNMENT


class Regions(RuleBasedStateMachine):
    """A ring beside a plain list of what is held."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring(SIZE)
        self.held: list[tuple[int, int]] = []

    @rule(size=st.integers(1, SIZE + ALIGNMENT))
    def take(self, size: int) -> None:
        offset = self.ring.take(size)
        if offset is None:
            assert self.held or size > SIZE, "an empty ring has room for all of its size"
            assert size > self._largest_gap()
        else:
            self.held.append((offset, size))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.held)))
        self.ring.release(count)
        del self.held[:count]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.held)))
        self.ring.undo(count)
        del self.held[-count:]

    @rule(more=st.integers(1, 5))
    def release_more_than_there_is(self, more: int) -> None:
        with pytest.raises(ValueError, match="are released"):
            self.ring.release(len(self.held) + more)

    @invariant()
    def regions_lie_in_the_ring_and_apart(self) -> None:
        assert self.ring.held == len(self.held)
        used = [unit for start, size in self.held for unit in range(start, start + size)]
        assert len(used) == len(set(used))
        assert all(unit < SIZE for unit in used)
        assert all(start % ALIGNMENT == 0 for start, _ in self.held)

    def _largest_gap(self) -> int:
        """Room behind the newest region without wrapping over the oldest, in whole lines."""
        if not self.held:
            return SIZE
        oldest, (start, size) = self.held[0][0], self.held[-1]
        end = start + -(-size // ALIGNMENT) * ALIGNMENT
        return oldest - end if end <= oldest else max(SIZE - end, oldest)


Regions.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=40)
TestRegions = Regions.TestCase
