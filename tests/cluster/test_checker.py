"""The checker finds each kind of fault when one is planted, and none where there is none."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tests.tiers import thorough_after

from .harness.checker import HEAL_SECONDS, Disturbance, Pair, Traffic, grows

A, B, C = (f"{name}.os@one:tally:test.os" for name in "abc")
AB, BA, AC = Pair(A, B), Pair(B, A), Pair(A, C)
STEP = 0.01
SECONDS = 60
DISTURBED = Disturbance("a partition", 20.0, 22.0, frozenset({"c.os"}))
KILLED = Disturbance("a kill", 40.0, 41.0, frozenset({"b.os"}), frozenset({"b.os"}))


class Story:
    """Traffic as it is without a fault of ours: each pair sends a hundred messages a second, half of them requests.
    A test changes what happened before it is told.
    """

    def __init__(self) -> None:
        self.sent = [
            (n * STEP, pair, n, n % 2 == 0) for n in range(1, round(SECONDS / STEP)) for pair in (AB, BA, AC)
        ]
        chance = random.Random(1)
        lost = {
            (pair, n)
            for at, pair, n, _ in self.sent
            for each in (DISTURBED, KILLED)
            if each.disturbs(pair) and each.begin <= at <= each.end + 0.5
            if at > each.end or chance.random() < 0.5
        }
        self.got = [(at + 0.002, pair, n, True) for at, pair, n, _ in self.sent if (pair, n) not in lost]
        self.outcomes = [
            (pair, n, "offline" if (pair, n) in lost else "answered")
            for at, pair, n, ask in self.sent
            if ask and not (pair == BA and 39.5 <= at <= 41)
        ]
        self.disturbances = [DISTURBED, KILLED]

    def traffic(self) -> Traffic:
        """All of it, told."""
        told = Traffic()
        for at, pair, number, ask in self.sent:
            assert told.next_number(pair) == number
            told.sent(at, pair, number, ask=ask)
        for at, pair, number, whole in self.got:
            told.got(at, pair, number, whole=whole)
        for pair, number, kind in self.outcomes:
            told.outcome(pair, number, kind)
        for each in self.disturbances:
            told.disturbed(each)
        return told

    def place(self, pair: Pair, number: int) -> int:
        """Where it is in `got`."""
        return next(i for i, each in enumerate(self.got) if each[1:3] == (pair, number))


def twice(story: Story) -> None:
    place = story.place(AB, 500)
    story.got.insert(place, story.got[place])


def twice_much_later(story: Story) -> None:
    story.got.append((59.9, AB, 500, True))


def swapped(story: Story) -> None:
    first, second = story.place(AB, 500), story.place(AB, 501)
    story.got[first], story.got[second] = story.got[second], story.got[first]


def lost(story: Story) -> None:
    del story.got[story.place(AB, 501)]


def lost_beside_a_disturbance_of_others(story: Story) -> None:
    del story.got[story.place(AB, 2101)]


def lost_after_it_was_healed(story: Story) -> None:
    del story.got[story.place(AC, 2301)]


def lost_in_the_other_direction(story: Story) -> None:
    del story.got[story.place(BA, 5001)]


def never_sent(story: Story) -> None:
    story.got.append((59.99, AB, 70_000, True))


def torn(story: Story) -> None:
    place = story.place(AB, 500)
    story.got[place] = (*story.got[place][:3], False)


def two_outcomes(story: Story) -> None:
    story.outcomes.append((AB, 500, "answered"))


def an_answer_and_a_failure_while_disturbed(story: Story) -> None:
    story.outcomes.append((AC, 2100, "timeout"))


def no_outcome(story: Story) -> None:
    story.outcomes.remove((AB, 500, "answered"))


def no_outcome_of_a_request_to_a_killed_node(story: Story) -> None:
    story.outcomes = [each for each in story.outcomes if each[:2] != (AB, 4050)]


def no_outcome_after_the_kill(story: Story) -> None:
    story.outcomes.remove((BA, 4400, "answered"))


def answered_and_never_received(story: Story) -> None:
    del story.got[story.place(AC, 500)]


def refused_and_received(story: Story) -> None:
    story.outcomes[story.outcomes.index((AB, 500, "answered"))] = (AB, 500, "mailbox-full")


def failed_and_undisturbed(story: Story) -> None:
    story.outcomes[story.outcomes.index((AB, 500, "answered"))] = (AB, 500, "timeout")


def outcome_of_what_was_not_sent(story: Story) -> None:
    story.outcomes.append((AB, 70_000, "answered"))


def slow_to_recover(story: Story) -> None:
    late = DISTURBED.end + HEAL_SECONDS + 0.5
    story.got = [each for each in story.got if each[1] != AC or not DISTURBED.end <= each[0] < late]
    story.outcomes = [
        (pair, n, "offline" if pair == AC and DISTURBED.end <= n * STEP < late else kind)
        for pair, n, kind in story.outcomes
    ]


def never_recovered(story: Story) -> None:
    story.got = [each for each in story.got if each[1] != AC or each[0] < DISTURBED.end]
    story.outcomes = [
        (pair, n, "offline" if pair == AC and n * STEP >= DISTURBED.end else kind)
        for pair, n, kind in story.outcomes
    ]


PLANTED: list[tuple[Callable[[Story], None], str]] = [
    (twice, f"{AB}: 500 came after 500"),
    (twice_much_later, f"{AB}: 500 came after 5999"),
    (swapped, f"{AB}: 500 came after 501"),
    (lost, f"{AB}: 501 is lost, and nothing disturbed them"),
    (lost_beside_a_disturbance_of_others, f"{AB}: 2101 is lost, and nothing disturbed them"),
    (lost_after_it_was_healed, f"{AC}: 2301 is lost, and nothing disturbed them"),
    (lost_in_the_other_direction, f"{BA}: 5001 is lost, and nothing disturbed them"),
    (never_sent, f"{AB}: 70000 was never sent"),
    (torn, f"{AB}: the payload of 500 is not what was sent"),
    (two_outcomes, f"{AB}: 500 has 2 outcomes: answered, answered"),
    (an_answer_and_a_failure_while_disturbed, f"{AC}: 2100 has 2 outcomes"),
    (no_outcome, f"{AB}: 500 has no outcome"),
    (no_outcome_of_a_request_to_a_killed_node, f"{AB}: 4050 has no outcome"),
    (no_outcome_after_the_kill, f"{BA}: 4400 has no outcome"),
    (answered_and_never_received, f"{AC}: 500 is answered, and never arrived"),
    (refused_and_received, f"{AB}: 500 arrived, and failed as mailbox-full"),
    (failed_and_undisturbed, f"{AB}: 500 failed as timeout, and nothing disturbed them"),
    (outcome_of_what_was_not_sent, f"{AB}: 70000 was never sent"),
    (slow_to_recover, f"{AC} took 5.5 s to recover from a partition"),
    (never_recovered, f"{AC} took inf s to recover from a partition"),
]


def test_traffic_that_only_lost_what_was_disturbed_is_right() -> None:
    traffic = Story().traffic()
    assert traffic.wrong() + traffic.disturbed_by_nothing() + traffic.slow() == []
    assert all(traffic.recovered(each, (AB, BA, AC)) for each in (DISTURBED, KILLED))
    assert traffic.without_outcome() == 76, "what b asked just before it was killed"
    assert {(each.what, each.pair) for each in traffic.healings()} == {
        ("a partition", AC),
        ("a kill", AB),
        ("a kill", BA),
    }
    assert all(each.seconds < 1 for each in traffic.healings())
    counts = traffic.counts()
    assert counts["sent"] > counts["received"] > counts["answered"] > counts["failed"] > 0


@pytest.mark.parametrize(
    ("plant", "said"), thorough_after(5, PLANTED, names=2), ids=[plant.__name__ for plant, _ in PLANTED]
)
def test_a_planted_fault_is_found(plant: Callable[[Story], None], said: str) -> None:
    story = Story()
    plant(story)
    traffic = story.traffic()
    wrong = traffic.wrong() + traffic.disturbed_by_nothing() + traffic.slow()
    assert any(line.startswith(said) for line in wrong), wrong[:5]


def test_a_pair_that_is_disturbed_again_is_given_its_time_from_then_on() -> None:
    story = Story()
    slow_to_recover(story)
    story.disturbances.append(Disturbance("another", 24.0, 24.5, frozenset({"c.os"})))
    traffic = story.traffic()
    assert traffic.slow() + traffic.wrong() + traffic.disturbed_by_nothing() == []


def test_memory_that_grows_is_told_from_memory_that_is_noisy() -> None:
    chance = random.Random(2)
    noisy = [100_000_000 + chance.randrange(4_000_000) for _ in range(60)]
    assert grows(noisy, most=4 << 20) is None
    assert grows([50_000_000] * 20 + noisy[20:], most=4 << 20) is None, "what is there from then on"
    leaking = [size + 400_000 * n for n, size in enumerate(noisy)]
    assert "it grew by" in (grows(leaking, most=4 << 20) or "")
