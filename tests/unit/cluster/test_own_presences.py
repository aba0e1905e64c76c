"""Which presences with a node's own signature are a copy's."""

from __future__ import annotations

from guesthouse.cluster.membership.own_presences import OwnPresences


def test_what_was_said_is_ones_own_and_what_was_not_is_a_copys() -> None:
    said = OwnPresences()
    assert not said.is_of_copy(1.0), "this run has said nothing yet: it may be of the one before"
    for sent in (10.0, 12.0, 14.0):
        said.add(sent)
    assert not any(map(said.is_of_copy, (10.0, 12.0, 14.0))), "NATS may repeat them"
    assert not said.is_of_copy(9.0), "of the run before"
    assert said.is_of_copy(13.0)
    assert said.is_of_copy(15.0)


def test_old_ones_are_forgotten_and_are_no_copys() -> None:
    said = OwnPresences()
    for sent in range(1000):
        said.add(float(sent))
    assert not said.is_of_copy(3.0)
    assert not said.is_of_copy(3.5)
    assert said.is_of_copy(998.5)
