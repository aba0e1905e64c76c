"""What must hold of counted traffic between processes of different nodes, while nodes and networks fail. Pure: it is
given what was sent, received and disturbed, and says what is wrong.

Of each pair of processes, one that sends and one that receives, the messages are numbered 1, 2, 3, …

- At most once and in order: what a process receives of another has growing numbers, over all runs of both.
- Whole, and nothing that was not sent.
- None lost: what was sent while nothing disturbed the pair arrives.
- Exactly one outcome: each request is answered or fails, once, unless its sender's node was killed; and while nothing
  disturbed the pair it is answered.
- Healed: once a disturbance is over, messages arrive within `HEAL_SECONDS`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from statistics import median
from typing import Final, NamedTuple

HEAL_SECONDS: Final = 5.0
UNDER_WAY_SECONDS: Final = 1.0
"""What was sent so long before a disturbance began may still have been under way."""
_NOT_DELIVERED: Final = frozenset({"no-such-process", "mailbox-full", "not-authorised"})
"""Failures that say that the receiver did not get it. The others leave that open."""


class Pair(NamedTuple):
    """Two processes, by address: `node@process:package:publisher`."""

    source: str
    target: str

    @property
    def nodes(self) -> frozenset[str]:
        """Their nodes' names."""
        return frozenset(address.partition("@")[0] for address in self)

    def __str__(self) -> str:
        return f"{self.source} to {self.target}"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that may cost messages between nodes. Times are those of one clock, in seconds."""

    what: str
    begin: float
    end: float
    nodes: frozenset[str]
    """Every pair of processes with one of these nodes is disturbed."""
    killed: frozenset[str] = frozenset()
    """Nodes that ended when it began: what they had asked may have no outcome."""

    def disturbs(self, pair: Pair) -> bool:
        """Whether it may cost messages of this pair."""
        return not self.nodes.isdisjoint(pair.nodes)


@dataclass(slots=True)
class _Flow:
    """The traffic of one pair."""

    sent: list[float] = field(default_factory=list)
    """When: that of number N is the one before the Nth."""
    asked: set[int] = field(default_factory=set)
    got: list[int] = field(default_factory=list)
    got_at: list[float] = field(default_factory=list)
    outcomes: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    torn: list[int] = field(default_factory=list)


class Healing(NamedTuple):
    """How long it took until messages of a pair arrived again."""

    what: str
    pair: Pair
    seconds: float


class Traffic:
    """Collects what happened, and checks it in the end."""

    def __init__(self) -> None:
        self._flows: defaultdict[Pair, _Flow] = defaultdict(_Flow)
        self._disturbances: list[Disturbance] = []

    def next_number(self, pair: Pair) -> int:
        """The number of the pair's next message."""
        return len(self._flows[pair].sent) + 1

    def sent(self, at: float, pair: Pair, number: int, *, ask: bool) -> None:
        """A process was told to send; with `ask` its message wants a response."""
        flow = self._flows[pair]
        assert number == len(flow.sent) + 1
        flow.sent.append(at)
        if ask:
            flow.asked.add(number)

    def got(self, at: float, pair: Pair, number: int, *, whole: bool = True) -> None:
        """A process says that it received a message, in the order in which it did."""
        flow = self._flows[pair]
        flow.got.append(number)
        flow.got_at.append(at)
        if not whole:
            flow.torn.append(number)

    def outcome(self, pair: Pair, number: int, kind: str) -> None:
        """A process says what became of its message: "answered", or a failure."""
        self._flows[pair].outcomes[number].append(kind)

    def disturbed(self, disturbance: Disturbance) -> None:
        """Something disturbed nodes; it is over."""
        self._disturbances.append(disturbance)

    def counts(self) -> dict[str, int]:
        """How many messages were sent, received, answered, and failed."""
        flows = self._flows.values()
        kinds = [kind for flow in flows for each in flow.outcomes.values() for kind in each]
        return {
            "sent": sum(len(flow.sent) for flow in flows),
            "received": sum(len(flow.got) for flow in flows),
            "answered": kinds.count("answered"),
            "failed": len(kinds) - kinds.count("answered"),
        }

    def without_outcome(self) -> int:
        """Requests of which nothing is known yet."""
        return sum(1 for flow in self._flows.values() for number in flow.asked if number not in flow.outcomes)

    def healings(self) -> list[Healing]:
        """How long each pair took to recover from each disturbance; infinite, if it never did."""
        return [
            Healing(each.what, pair, seconds)
            for pair, flow in self._flows.items()
            for each in self._of(pair)
            if (seconds := _healed_after(flow, each)) is not None and not self._again(pair, each, seconds)
        ]

    def _of(self, pair: Pair) -> list[Disturbance]:
        return [each for each in self._disturbances if each.disturbs(pair)]

    def _again(self, pair: Pair, healed: Disturbance, seconds: float) -> bool:
        """Whether the pair was disturbed once more before it had the time to recover, or is said to have."""
        until = healed.end + min(seconds, HEAL_SECONDS)
        return any(each.begin < until and each.end > healed.end for each in self._of(pair))

    def wrong(self) -> list[str]:
        """What must not be on any machine, a line each."""
        return [line for pair in self._flows for line in self._wrong_in(pair)]

    def disturbed_by_nothing(self) -> list[str]:
        """What was lost or failed while nothing disturbed its pair, a line each. A machine that lets nodes or servers
        stand still for longer than they wait for each other disturbs them, too.
        """
        return [line for pair in self._flows for line in self._lost_in(pair)]

    def slow(self) -> list[str]:
        """Pairs that took too long to recover, a line each."""
        return [
            f"{each.pair} took {each.seconds:.1f} s to recover from {each.what}"
            for each in self.healings()
            if each.seconds > HEAL_SECONDS
        ]

    def recovered(self, disturbance: Disturbance, pairs: Iterable[Pair]) -> bool:
        """Whether messages of these pairs arrive again after a disturbance."""
        touched = [self._flows[pair] for pair in pairs if disturbance.disturbs(pair)]
        return all((_healed_after(flow, disturbance) or inf) < inf for flow in touched)

    def _wrong_in(self, pair: Pair) -> Iterable[str]:
        flow = self._flows[pair]
        known = set(flow.got)
        for before, number in pairwise(flow.got):
            if number <= before:
                yield f"{pair}: {number} came after {before}"
        for number in flow.torn:
            yield f"{pair}: the payload of {number} is not what was sent"
        for number in sorted((known | set(flow.outcomes)) - set(range(1, len(flow.sent) + 1))):
            yield f"{pair}: {number} was never sent"
        for number in flow.asked:
            yield from self._wrong_outcome(pair, number, number in known)

    def _lost_in(self, pair: Pair) -> Iterable[str]:
        flow = self._flows[pair]
        known, quiet = set(flow.got), self._quiet(pair)
        for number, at in enumerate(flow.sent, 1):
            if number not in known and quiet.at(at):
                yield f"{pair}: {number} is lost, and nothing disturbed them {quiet.around(at)}"
            for kind in flow.outcomes.get(number, []):
                if kind != "answered" and quiet.at(at):
                    yield f"{pair}: {number} failed as {kind}, and nothing disturbed them {quiet.around(at)}"

    def _wrong_outcome(self, pair: Pair, number: int, arrived: bool) -> Iterable[str]:
        flow = self._flows[pair]
        kinds = flow.outcomes.get(number, [])
        if len(kinds) > 1:
            yield f"{pair}: {number} has {len(kinds)} outcomes: {', '.join(kinds)}"
        if not kinds and not self._sender_killed(pair, flow.sent[number - 1]):
            yield f"{pair}: {number} has no outcome"
        if "answered" in kinds and not arrived and not self._receiver_killed(pair, flow.sent[number - 1]):
            yield f"{pair}: {number} is answered, and never arrived"
        for kind in kinds:
            if kind in _NOT_DELIVERED and arrived:
                yield f"{pair}: {number} arrived, and failed as {kind}"

    def _sender_killed(self, pair: Pair, sent: float) -> bool:
        return self._killed_since(pair.source, sent)

    def _receiver_killed(self, pair: Pair, sent: float) -> bool:
        """It may have answered without having told its client that it received."""
        return self._killed_since(pair.target, sent)

    def _killed_since(self, address: str, sent: float) -> bool:
        node = address.partition("@")[0]
        return any(node in each.killed and each.end >= sent for each in self._disturbances)

    def _quiet(self, pair: Pair) -> _Quiet:
        flows = [self._flows[each] for each in (pair, Pair(pair.target, pair.source)) if each in self._flows]
        disturbed = []
        for each in self._of(pair):
            healed = max((_healed_after(flow, each) or 0.0 for flow in flows), default=0.0)
            disturbed.append((each.begin - UNDER_WAY_SECONDS, each.end + healed))
        return _Quiet(disturbed)


class _Quiet:
    """When a pair was not disturbed."""

    def __init__(self, disturbed: Sequence[tuple[float, float]]) -> None:
        self._disturbed = disturbed

    def at(self, when: float) -> bool:
        return not any(begin <= when <= end for begin, end in self._disturbed)

    def around(self, when: float) -> str:
        """How long it was then since the last disturbance, and until the next."""
        since = min((when - end for _, end in self._disturbed if end < when), default=inf)
        until = min((begin - when for begin, _ in self._disturbed if begin > when), default=inf)
        return f"(since {since:.2f} s, for {until:.2f} s more)"


def _healed_after(flow: _Flow, disturbance: Disturbance) -> float | None:
    """Seconds from the end of a disturbance until a message arrived that was sent after it; None: none was sent."""
    before = bisect_left(flow.sent, disturbance.end)
    if before == len(flow.sent):
        return None
    first = bisect_right(flow.got, before)
    return (flow.got_at[first] if first < len(flow.got) else inf) - disturbance.end


def grows(sizes: Sequence[int], *, most: int) -> str | None:
    """Whether a node's memory grows with the rounds: the middle of the last third of sizes in bytes, against that of
    the second. The first is for what is kept from then on. None: it does not.
    """
    third = len(sizes) // 3
    assert third >= 3, "too few to tell"
    before, after = median(sizes[third : 2 * third]), median(sizes[2 * third :])
    if after - before <= most:
        return None
    return f"it grew by {(after - before) / 2**20:.1f} MiB, from {before / 2**20:.1f} MiB: {sizes}"
