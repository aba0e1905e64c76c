"""Whatever the carrier does: messages arrive at most once, in order, unaltered, and nothing else does; each request has
one outcome; what is kept is bounded; and once the carrier behaves, there are sessions again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.node_frames import SEALED
from tests.peer_world import KEYS, End, World

from guesthouse.kernel.cluster.handshake import WINDOW
from guesthouse.kernel.cluster.other_node import MOST_UNPROVEN
from guesthouse.kernel.cluster.send_queues import QUEUE_BYTES
from guesthouse.kernel.cluster.services import GATEWAYS, MAX_MESSAGE, PROCESSES, SERVICES

NODES = tuple(KEYS)
SIZES = (0, 1, 100, 5_000, 70_000, 300_000)
HEAL_SECONDS = 6.0


class Carrier:
    """Does to each frame what chance says: the same again for the same `random`.

    Args:
        world: the nodes.
        random: chance.
        evil: how much of the frames it touches, from 0 to 1.
    """

    def __init__(self, world: World, random: Random, evil: float) -> None:
        self._world, self._random, self.evil = world, random, evil
        world.deliver = self.deliver

    def deliver(self, sender: str, receiver: str, frame: bytes) -> Iterable[tuple[float, str, bytes]]:
        """See `peer_world.Deliver`."""
        random = self._random
        if random.random() >= self.evil:
            return [(0.0, receiver, frame)]
        return random.choice(
            (
                self._drop,
                self._double,
                self._delay,
                self._alter,
                self._cut,
                self._replay,
                self._misdirect,
                self._forge,
                self._flood,
            )
        )(sender, receiver, frame)

    def _drop(self, sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        return []

    def _double(self, sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        return [(0.0, receiver, frame), (self._random.random(), receiver, frame)]

    def _delay(self, sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        return [(self._random.random() * 4, receiver, frame)]

    def _alter(self, sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        changed = bytearray(frame)
        changed[self._random.randrange(len(frame))] ^= 1 << self._random.randrange(8)
        return [(0.0, receiver, bytes(changed)), *self._maybe(receiver, frame)]

    def _cut(self, sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        return [(0.0, receiver, frame[: self._random.randrange(len(frame))]), *self._maybe(receiver, frame)]

    def _replay(self, sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        old = [self._random.choice(self._world.seen) for _ in range(5)]
        return [(0.0, receiver, frame), *((0.0, where, data) for _, where, data in old)]

    def _misdirect(self, sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        return [(0.0, where, frame) for where in NODES]

    def _forge(self, sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        forged = frame[:18] + self._random.randbytes(self._random.randrange(100))
        return [(0.0, receiver, forged), (0.0, receiver, frame)]

    def _flood(self, sender: str, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        head = frame[:9]
        flood = [head + number.to_bytes(8, "big") + bytes(40) for number in range(50)]
        return [(0.0, receiver, frame), *((0.0, receiver, each) for each in flood)]

    def _maybe(self, receiver: str, frame: bytes) -> list[tuple[float, str, bytes]]:
        return [(0.0, receiver, frame)] if self._random.random() < 0.5 else []


class Ledger:
    """Requests of one node and what became of them, as `Remote` does it. Every request is answered at once."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.open: dict[str, set[bytes]] = {node: set() for node in NODES}
        self.outcomes: Counter[bytes] = Counter()
        self.accepted: set[bytes] = set()
        recorder = end.services[PROCESSES]
        recorder.on_receive, recorder.on_lost = self._receive, self._lost

    def ask(self, node: str, body: bytes) -> None:
        """Send a request."""
        self.open[node].add(body)
        if self.end.peers.send(node, PROCESSES, body) is None:
            self.accepted.add(body)
        else:
            self.open[node].discard(body)

    def _receive(self, node: str, body: bytes) -> None:
        if body.startswith(b"?"):
            if self.end.peers.send(node, PROCESSES, b"!" + body) == "full":
                self.end.peers.send(node, PROCESSES, b"!" + body, must=True)
        elif (asked := body[1:]) in self.open[node]:
            self.open[node].discard(asked)
            self.outcomes[asked] += 1

    def _lost(self, node: str) -> None:
        for body in self.open[node]:
            self.outcomes[body] += 1
        self.open[node].clear()


class Traffic:
    """What the nodes said, and checks of what they heard."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: dict[tuple[str, str, int], list[bytes]] = {}
        self.earlier: list[End] = []
        self.ledgers = {name: Ledger(end) for name, end in world.ends.items()}
        self.number = 0

    def say(self, sender: str, receiver: str, service: int, size: int) -> None:
        """One message, unlike all others; of `PROCESSES`, a request."""
        self.number += 1
        body = b"?%d " % self.number + b"x" * size
        self.sent.setdefault((sender, receiver, service), []).append(body)
        if service == PROCESSES:
            self.ledgers[sender].ask(receiver, body)
        else:
            self.world.ends[sender].peers.send(receiver, service, body)

    def restart(self, name: str) -> None:
        """A node forgets all sessions, and what was asked of it."""
        self.earlier.append(self.world.ends[name])
        self.ledgers[name] = Ledger(self.world.restart(name))

    def check(self) -> None:
        """What holds at any time."""
        for end in (*self.earlier, *self.world.ends.values()):
            assert not end.log.failures
            for service, recorder in zip(SERVICES, end.services, strict=True):
                for node, heard in recorder.of.items():
                    requests = [body for body in heard.messages if not body.startswith(b"!")]
                    assert_in_order(requests, self.sent.get((node, end.name, service), []))
                    assert_told_in_order(heard.events)
        self.check_bounds()
        self.check_nonces()

    def check_bounds(self) -> None:
        """What a node keeps of others."""
        for end in self.world.ends.values():
            peers = end.peers
            assert len(peers._negotiation.sessions) <= (1 + MOST_UNPROVEN) * len(NODES)
            for session in peers._negotiation.sessions.values():
                assert session.lane.size <= WINDOW + 256 * 1024
                assert session._part_bytes <= 2 * MAX_MESSAGE
            for other in peers._others.values():
                assert all(
                    other.waiting.size(service) <= 2 * QUEUE_BYTES + MAX_MESSAGE for service in SERVICES
                )

    def check_nonces(self) -> None:
        """No number is used for two frames of a session and direction."""
        sealed: dict[bytes, bytes] = {}
        for _, _, frame in self.world.seen:
            if frame[0] == SEALED:
                assert sealed.setdefault(frame[1:17], frame) == frame


def assert_in_order(heard: list[bytes], sent: list[bytes]) -> None:
    rest = iter(sent)
    assert all(any(body == each for each in rest) for body in heard), "another, twice, or out of order"


def assert_told_in_order(events: list[str]) -> None:
    is_up = False
    for event in events:
        if event == "up":
            assert not is_up, events
        is_up = event == "up" or (is_up and event == "room")


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 2**16)),
        st.tuples(st.just("say"), st.integers(0, 2**16)),
        st.tuples(st.just("say"), st.integers(0, 2**16)),
        st.tuples(st.just("wait"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(0, 3)),
        st.tuples(st.just("burst"), st.integers(0, 2**16)),
        st.tuples(st.just("restart"), st.integers(0, 2)),
        st.tuples(st.just("forget"), st.integers(0, 2)),
        st.tuples(st.just("full"), st.integers(0, 2)),
        st.tuples(st.just("offline"), st.integers(0, 2)),
        st.tuples(st.just("stall"), st.integers(0, 30)),
    ),
    max_size=30,
)


def act(world: World, traffic: Traffic, what: str, number: int) -> None:
    """One step."""
    sender, receiver = NODES[number % 3], NODES[(number + 1 + number // 3 % 2) % 3]
    service, size = SERVICES[number // 6 % 3], SIZES[number // 18 % 6]
    if what == "say":
        traffic.say(sender, receiver, service, size)
    elif what == "burst":
        for _ in range(40):
            traffic.say(sender, receiver, service, size)
    elif what == "wait":
        world.run(number / 10)
    elif what == "stall":
        world.clock.now += number / 10
    elif what == "restart":
        traffic.restart(sender)
    elif what == "forget":
        world.ends[sender].peers.forget(receiver)
    elif what == "full":
        world.ends[sender].full = not world.ends[sender].full
    else:
        world.ends[sender].offline = not world.ends[sender].offline


@settings(max_examples=examples(150), deadline=None)
@given(Steps, st.integers(0, 2**32), st.sampled_from([0.02, 0.1, 0.3, 0.8, 1.0]))
@pytest.mark.slow
def test_whatever_the_carrier_does(steps: list[tuple[str, int]], chance: int, evil: float) -> None:
    world = World(*NODES)
    traffic, carrier = Traffic(world), Carrier(world, Random(chance), evil)
    world.connect()
    for what, number in steps:
        act(world, traffic, what, number)
        traffic.check_bounds()
    world.run(1.0)
    traffic.check()
    carrier.evil = 0.0
    for end in world.ends.values():
        end.full = end.offline = False
    world.run(HEAL_SECONDS)
    world.connect()
    world.run(1.0)
    for sender in NODES:
        for receiver in NODES:
            if sender != receiver:
                assert world.ends[sender].peers.is_up(receiver), f"{sender} has no session with {receiver}"
                traffic.say(sender, receiver, GATEWAYS, 10)
                traffic.say(sender, receiver, PROCESSES, 10)
    world.run(1.0)
    traffic.check()
    for sender in NODES:
        ledger = traffic.ledgers[sender]
        assert not any(ledger.open.values()), "each request has an outcome"
        assert ledger.outcomes == Counter(ledger.accepted), "and one"
        for receiver in NODES:
            if sender != receiver:
                heard = world.ends[receiver].services[GATEWAYS].heard(sender).messages
                assert heard[-1] == traffic.sent[sender, receiver, GATEWAYS][-1]
                asked = traffic.sent[sender, receiver, PROCESSES][-1]
                assert b"!" + asked in ledger.end.services[PROCESSES].heard(receiver).messages


def test_the_checks_find_what_they_look_for() -> None:
    assert_in_order([b"1", b"3"], [b"1", b"2", b"3"])
    for wrong in ([b"1", b"1"], [b"3", b"1"], [b"4"]):
        with pytest.raises(AssertionError):
            assert_in_order(wrong, [b"1", b"2", b"3"])
    assert_told_in_order(["lost", "up", "room", "lost", "lost", "up"])
    with pytest.raises(AssertionError):
        assert_told_in_order(["up", "room", "up"])
