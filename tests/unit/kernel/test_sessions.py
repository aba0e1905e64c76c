"""Sessions between nodes, over a carrier that behaves or does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.node_frames import CONTROL, HELLO, MORE, SEALED, WELCOME, HandMade, fields_of
from tests.peer_world import KEYS, End, World

from guesthouse.kernel.cluster import arrivals, greeter, handshake, sealing
from guesthouse.kernel.cluster.greeter import MOST_OF_NODE
from guesthouse.kernel.cluster.handshake import WINDOW
from guesthouse.kernel.cluster.peers import SILENCE_SECONDS, MessageTooLarge
from guesthouse.kernel.cluster.send_queues import QUEUE_BYTES
from guesthouse.kernel.cluster.services import ADMINISTRATION, GATEWAYS, MAX_MESSAGE, PROCESSES, SERVICES

A, B, C = KEYS


@pytest.fixture
def world() -> World:
    made = World()
    made.connect()
    return made


def ends(world: World) -> tuple[End, End]:
    return world.ends[A], world.ends[B]


def heard(end: End, of: str, service: int = PROCESSES) -> list[bytes]:
    return end.services[service].heard(of).messages


def events(end: End, of: str) -> list[str]:
    """The same for all services."""
    told = [each.heard(of).events for each in end.services]
    assert told == [told[0]] * len(told)
    return told[0]


def joins(world: World, node: str = B, **hello: Any) -> HandMade:
    """A node made by hand takes part under the name of one, and has a session with `a.os`."""
    made = HandMade(node, KEYS[node], A)
    answers: list[bytes] = []
    world.ends.pop(node, None)
    world.deliver = lambda sender, receiver, frame: answers.append(frame) or []  # type: ignore[func-returns-value]
    world.arrive(A, made.hello(**hello))
    world.run()
    made.welcomed(answers[-1])
    world.arrive(A, made.sealed(["ping"], CONTROL))
    world.run()
    answers.clear()
    return made


def test_the_documentation_says_how_long_silence_may_last() -> None:
    docs = Path(__file__).parents[3] / "docs"
    for page in ("architecture.md", "cluster.md"):
        said = re.findall(
            r"(\w+) seconds (?:of silence the session is lost|after the last sign of life)",
            (docs / page).read_text(),
        )
        assert said in ([f"{SILENCE_SECONDS:.0f}"], ["two"]), page
    assert SILENCE_SECONDS == 2


def test_both_nodes_are_told_of_a_session_that_one_begins() -> None:
    world = World()
    a, b = ends(world)
    assert a.peers.send(B, PROCESSES, b"one") is None
    assert not a.peers.is_up(B)
    assert a.peers.send(B, PROCESSES, b"two") is None
    world.run()
    assert heard(b, A) == [b"one", b"two"]
    assert events(a, B) == events(b, A) == ["up"]
    assert (a.peers.nodes(), b.peers.nodes()) == ([B], [A])
    world.run(60)
    assert events(a, B) == events(b, A) == ["up"], "it lasts"
    assert not a.log.failures


@pytest.mark.parametrize("delays", [(0.0, 0.0), (0.1, 0.1), (0.1, 0.0), (0.0, 0.1), (0.4, 0.3)])
def test_when_both_begin_there_is_one_session(delays: tuple[float, float]) -> None:
    world = World()
    a, b = ends(world)
    world.deliver = lambda sender, receiver, frame: [(delays[sender == A], receiver, frame)]
    assert a.peers.send(B, PROCESSES, b"from a") is b.peers.send(A, PROCESSES, b"from b") is None
    world.run(1.5)
    assert (heard(b, A), heard(a, B)) == ([b"from a"], [b"from b"])
    assert events(a, B) == events(b, A) == ["up"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 100, 60_000, 65_000, 70_000, 5_000_000, MAX_MESSAGE])
@pytest.mark.parametrize("frame_bytes", [4096, 2**20])
def test_a_message_of_any_size_arrives(size: int, frame_bytes: int) -> None:
    world = World(frame_bytes=frame_bytes)
    a, b = ends(world)
    body = (b"0123456789" * (size // 10 + 1))[:size]
    assert a.peers.send(B, PROCESSES, body) is None
    world.run(0.1)
    assert a.peers.send(B, PROCESSES, b"next") is None
    world.run(0.1)
    assert heard(b, A) == [body, b"next"]
    assert max(len(frame) for *_, frame in world.seen) <= frame_bytes


def test_one_that_is_too_large_is_refused(world: World) -> None:
    with pytest.raises(MessageTooLarge, match="over the limit of 20971520 bytes"):
        world.ends[A].peers.send(B, PROCESSES, bytes(MAX_MESSAGE + 1))


def test_a_large_message_does_not_hold_back_those_of_other_services(world: World) -> None:
    a, b = ends(world)
    order: list[int] = []
    for service in SERVICES:
        b.services[service].on_receive = lambda node, body, service=service: order.append(service)
    a.peers.send(B, ADMINISTRATION, bytes(10_000_000))
    a.peers.send(B, PROCESSES, bytes(1_000_000))
    a.peers.send(B, GATEWAYS, b"small")
    world.run(1.0)
    assert order == [GATEWAYS, PROCESSES, ADMINISTRATION]


def test_nothing_that_is_sent_can_be_read_on_the_way(world: World) -> None:
    a, _ = ends(world)
    body = b"a secret of thirty-two bytes or so"
    a.peers.send(B, PROCESSES, body)
    world.run()
    assert all(body not in frame for *_, frame in world.seen)


ALTERED: list[Callable[[bytes], bytes]] = [
    lambda frame: frame[:-1],
    lambda frame: frame + b"\0",
    lambda frame: frame[:17] + bytes([frame[17] ^ 1]) + frame[18:],
    lambda frame: frame[:17] + bytes([frame[17] ^ MORE]) + frame[18:],
    lambda frame: frame[:9] + (2**63).to_bytes(8, "big") + frame[17:],
    lambda frame: frame[:16] + bytes([frame[16] + 1]) + frame[17:],
    lambda frame: frame[:9] + bytes(8) + frame[17:],
    lambda frame: frame[:18] + bytes(len(frame) - 18),
    lambda frame: frame[:20] + bytes([frame[20] ^ 128]) + frame[21:],
    lambda frame: frame[:18],
    lambda frame: b"",
]


@pytest.mark.parametrize("alter", ALTERED)
def test_what_is_forged_or_altered_is_dropped_and_the_session_goes_on(
    world: World, alter: Callable[[bytes], bytes]
) -> None:
    a, b = ends(world)
    world.deliver = lambda sender, receiver, frame: [
        (0.0, receiver, alter(frame)),
        (0.0, receiver, frame),
        (0.0, receiver, alter(frame)),
        (0.1, receiver, frame),
        (0.0, sender, frame),
    ]
    for number in range(5):
        a.peers.send(B, PROCESSES, b"%d" % number)
        b.peers.send(A, PROCESSES, b"%d" % number)
    world.run(1.0)
    assert heard(b, A) == heard(a, B) == [b"0", b"1", b"2", b"3", b"4"]
    assert events(a, B) == events(b, A) == ["up"]
    assert "was dropped" in b.log


def test_a_frame_that_is_lost_ends_the_session_at_both_and_there_is_a_new_one(world: World) -> None:
    a, b = ends(world)
    honest = world.deliver
    world.deliver = lambda sender, receiver, frame: []
    a.peers.send(B, PROCESSES, b"lost")
    world.deliver = honest
    assert a.peers.send(B, PROCESSES, b"lost with it") is None
    world.run(0.01)
    assert events(a, B) == events(b, A) == ["up", "lost"], "at once"
    assert "the session with a.os has ended: frames were lost on the way" in b.log
    world.run(0.5)
    assert events(a, B) == events(b, A) == ["up", "lost", "up"]
    a.peers.send(B, PROCESSES, b"next")
    world.run()
    assert heard(b, A) == [b"next"]


def test_frames_that_come_in_another_order_end_it_too(world: World) -> None:
    a, b = ends(world)
    delays = iter([0.2, 0.1])
    world.deliver = lambda sender, receiver, frame: [(next(delays, 0.0), receiver, frame)]
    a.peers.send(B, PROCESSES, b"one")
    a.peers.send(B, PROCESSES, b"two")
    world.run(1.0)
    assert heard(b, A) == []
    assert events(a, B) == events(b, A) == ["up", "lost", "up"]


def test_a_node_that_is_not_heard_of_for_two_seconds_is_lost_and_found_again(world: World) -> None:
    a, b = ends(world)
    honest = world.deliver
    world.run(1.0)
    world.deliver = lambda sender, receiver, frame: []
    a.peers.send(B, PROCESSES, b"lost")
    world.run(1.9)
    assert events(a, B) == ["up"]
    world.run(0.7)
    assert events(a, B) == events(b, A) == ["up", "lost"]
    assert "nothing was heard for 2 s" in a.log
    world.deliver = honest
    world.run(1.0)
    assert a.peers.send(B, PROCESSES, b"next") is None
    world.run(1.0)
    assert heard(b, A) == [b"next"]


def test_a_node_that_does_not_answer_is_lost_with_what_waits_and_then_offline_at_once(world: World) -> None:
    a, _ = ends(world)
    assert a.peers.send(C, PROCESSES, b"one") is None
    world.run(1.5)
    assert a.peers.send(C, PROCESSES, b"two") is None
    world.run(1.0)
    assert events(a, C) == ["lost"]
    assert "c.os does not answer; 2 messages to it were discarded" in a.log
    assert a.peers.send(C, PROCESSES, b"three") == "offline"
    assert a.peers.connect(C) == "offline"
    world.run(2.0)
    world.restart(C)
    assert a.peers.send(C, PROCESSES, b"four") is None
    world.run()
    assert heard(world.ends[C], A) == [b"four"]
    assert a.peers.send("unknown.os", PROCESSES, b"") == a.peers.send(A, PROCESSES, b"") == "offline"


def test_a_node_that_is_restarted_has_a_session_when_either_sends(world: World) -> None:
    a, _ = ends(world)
    for number in range(3):
        a.peers.send(B, PROCESSES, b"before")
        b = world.restart(B)
        b.peers.send(A, PROCESSES, b"%d" % number)
        world.run(0.1)
        assert heard(a, B)[-1] == b"%d" % number
        assert events(a, B)[-2:] == ["lost", "up"]
        assert events(b, A) == ["up"]
    b = world.restart(B)
    world.run(3.0)
    assert events(b, A) == ["up"], "the other notices, and begins"
    assert not [*b.services[PROCESSES].heard(A).messages]


def test_the_time_in_which_this_node_does_not_run_does_not_count(world: World) -> None:
    a, b = ends(world)
    world.run(1.0)
    world.clock.now += 100.0  # both stood still
    world.run(10.0)
    assert events(a, B) == events(b, A) == ["up"]


def test_old_handshakes_end_no_session(world: World) -> None:
    a, b = ends(world)
    for _ in range(3):
        world.restart(B)
        world.run(5.0)
    b = world.ends[B]
    old = [(receiver, frame) for _, receiver, frame in world.seen if frame[0] in {HELLO, WELCOME}]
    assert len(old) > 6
    before = events(a, B)[:]
    for _ in range(30):
        for receiver, frame in old:
            world.arrive(receiver, frame)
        world.run(0.2)
        a.peers.send(B, PROCESSES, b"x")
        b.peers.send(A, PROCESSES, b"x")
    world.run(5.0)
    assert events(a, B) == before
    assert events(b, A) == ["up"]
    assert len(heard(b, A)) == 30
    assert len(a.peers._negotiation.sessions) == len(b.peers._negotiation.sessions) == 1


def test_all_frames_of_sessions_before_are_of_none(world: World) -> None:
    a, _ = ends(world)
    for _ in range(3):
        a.peers.send(B, PROCESSES, b"x")
        world.restart(B)
        world.run(5.0)
    seen = world.seen[:]
    b = world.restart(B)
    world.run(5.0)
    a.peers.send(B, PROCESSES, b"once")
    world.run()
    for _, receiver, frame in [*seen, *world.seen]:
        world.arrive(receiver, frame)
        world.run()
    assert heard(b, A) == [b"once"]
    assert events(b, A) == ["up"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"sender": C}, "it is not signed by c.os"),
        ({"sender": "d.os"}, "the key of its sender is unknown"),
        ({"sender": A}, "the key of its sender is unknown"),
        ({"receiver": C}, "it is for another node"),
        ({"cluster": b"other"}, "it is of another cluster"),
        ({"versions": (4, 9)}, "upgrade the older of the two nodes (4 to 9 there, 3 to 3 here)"),
        ({"versions": (1, 2)}, "b.os speaks other versions of the protocol"),
        ({"ephemeral": bytes(32)}, "its X25519 key is not usable"),
        ({"ephemeral": bytes(31)}, "it is malformed"),
        ({"session": bytes(9)}, "it is malformed"),
        ({"window": 100}, "it is malformed"),
        ({"sender": "x" * 300}, "it is malformed"),
        ({"nonce": 7}, "it is malformed"),
        ({"padding": bytes(4096)}, "it is over the limit of 4096 bytes"),
    ],
)
def test_a_hello_that_is_not_right_is_not_answered(fields: dict[str, Any], why: str) -> None:
    world = World(A)
    world.arrive(A, HandMade(B, KEYS[B], A).hello(**fields))
    world.run()
    assert world.seen == []
    assert world.ends[A].peers._others == {}
    assert why in world.ends[A].log


def test_what_a_later_version_adds_is_ignored() -> None:
    world = World(A)
    b = joins(world, versions=(3, 9), more=[1, {"of": "a later version"}])
    world.arrive(A, b.sealed(["ping", "more"], CONTROL))
    world.arrive(A, b.sealed(["of a later version", 1], CONTROL))
    world.arrive(A, b.sealed(b"still there"))
    world.run()
    assert heard(world.ends[A], B) == [b"still there"]
    assert "b.os sent a control message that this node does not know" in world.ends[A].log


@pytest.mark.parametrize(
    "fields",
    [
        {"hello": bytes(32)},
        {"sender": C},
        {"receiver": C},
        {"version": 4},
        {"cluster": b"x"},
        {"ephemeral": bytes(32)},
    ],
)
def test_a_welcome_that_is_not_right_begins_nothing(fields: dict[str, Any]) -> None:
    world = World(A)
    a = world.ends[A]
    a.peers.connect(B)
    hello = world.seen[0][2]
    made = HandMade(B, KEYS[B], A)
    for key, said in ((KEYS[B], fields), (KEYS[C], {})):
        made.key = key
        world.arrive(A, made.welcome(hello, **said))
        world.run()
    assert not a.peers.is_up(B)
    made.key = KEYS[B]
    world.arrive(A, made.welcome(hello))
    world.run()
    assert a.peers.is_up(B)


def test_signatures_are_verified_a_few_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = 0
    real = handshake.check_signature

    def check(*how: Any) -> None:
        nonlocal verified
        verified += 1
        real(*how)

    monkeypatch.setattr(greeter, "check_signature", check)
    world = World(A)
    frames = [HandMade(node, KEYS[C], A).hello() for node in (B, C) for _ in range(50)]
    for frame in frames:
        world.arrive(A, frame)
        world.run()
    assert verified == 2 * MOST_OF_NODE
    assert len(world.ends[A].log.lines) < 5
    world.restart(B)
    world.run(1.1)
    world.ends[B].peers.send(A, PROCESSES, b"in the next second")
    world.run()
    assert heard(world.ends[A], B) == [b"in the next second"]


def test_a_carrier_that_is_full_is_waited_for(world: World) -> None:
    a, b = ends(world)
    a.full = True
    sent = [b"%d" % number * 1000 for number in range(1000)]
    assert {a.peers.send(B, PROCESSES, body) for body in sent} == {None}
    world.run(1.0)
    assert heard(b, A) == []
    a.full = False
    a.peers.carrier_ready()
    world.run(0.01)
    assert heard(b, A) == sent
    a.full = True
    a.peers.send(B, PROCESSES, b"and if it says nothing")
    a.full = False
    world.run(0.5)
    assert heard(b, A)[-1] == b"and if it says nothing"
    assert events(a, B) == ["up"]


def test_a_carrier_that_cannot_reach_the_node_ends_the_session_at_once(world: World) -> None:
    a, b = ends(world)
    a.offline = True
    assert a.peers.send(B, PROCESSES, b"one") == "offline"
    assert events(a, B) == ["up"], "not from within"
    assert a.peers.send(B, PROCESSES, b"two") == "offline"
    world.run()
    assert events(a, B) == ["up", "lost"]
    assert a.peers.send(B, PROCESSES, b"three") == "offline"
    a.offline = False
    a.peers.send(B, PROCESSES, b"four")
    world.run()
    assert heard(b, A) == [b"four"]


def test_more_than_the_window_is_not_under_way_and_what_waits_is_bounded() -> None:
    world = World(frame_bytes=2**20)
    world.connect()
    a, _b = ends(world)
    held: list[tuple[str, bytes]] = []
    world.deliver = lambda sender, receiver, frame: held.append((receiver, frame)) or []  # type: ignore[func-returns-value]
    body, sent = bytes(100_000), 0
    while (refusal := a.peers.send(B, PROCESSES, body)) is None:
        sent += 1
    assert refusal == "full"
    assert WINDOW - 200_000 < sum(len(frame) for _, frame in held) <= WINDOW
    assert WINDOW + QUEUE_BYTES - 300_000 < sent * len(body) <= WINDOW + QUEUE_BYTES + len(body)
    assert a.peers.send(B, GATEWAYS, b"another service") is None
    assert a.peers.send(B, PROCESSES, b"it must", must=True) is None
    while a.peers.send(B, PROCESSES, body, must=True) is None:
        sent += 1
    assert sent * len(body) <= WINDOW + 2 * QUEUE_BYTES + len(body)
    world.run()
    assert events(a, B) == ["up", "lost"], "it takes nothing"
    assert "it does not take what is sent to it" in a.log


def test_room_is_told_once(world: World) -> None:
    a, b = ends(world)
    honest = world.deliver
    held: list[tuple[str, bytes]] = []
    world.deliver = lambda sender, receiver, frame: held.append((receiver, frame)) or []  # type: ignore[func-returns-value]
    sent = 0
    while a.peers.send(B, PROCESSES, b"%06d" % sent * 10_000) is None:
        sent += 1
    assert a.peers.send(B, PROCESSES, b"refused") == "full"
    world.deliver = honest
    for receiver, frame in held:
        world.clock.call_soon(lambda receiver=receiver, frame=frame: world.arrive(receiver, frame))  # type: ignore[misc]
    world.run(0.1)
    assert heard(b, A) == [b"%06d" % number * 10_000 for number in range(sent)]
    assert a.services[PROCESSES].heard(B).events == ["up", "room"]
    assert a.services[GATEWAYS].heard(B).events == ["up"]


def test_a_node_that_sends_more_than_it_may_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "TURN_SECONDS", 0.0)
    world = World(A)
    b = joins(world)
    peers = world.ends[A].peers
    refused, taken = None, 0
    while refused is None:
        refused = peers.incoming(frame := b.sealed(bytes(100_000)))
        taken += refused is None
    assert taken < 2 + (WINDOW + 256 * 1024) // 100_000
    world.run(0.1)
    assert peers.incoming(frame) is None, "the carrier tries again"
    world.run(0.1)
    assert len(heard(world.ends[A], B)) == taken + 1
    for _ in range(400):
        world.arrive(A, b.sealed(bytes(200_000), 7, more=True))
        world.run()
    assert not peers.is_up(B)
    assert "it sent a message over the limit of 20971520 bytes, or too many at once" in world.ends[A].log


def test_keys_change_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "KEY_FRAMES", 4)
    world = World()
    world.connect()
    a, b = ends(world)
    sent = [b"%d" % number for number in range(50)]
    for body in sent:
        a.peers.send(B, PROCESSES, body)
        world.run()
    assert heard(b, A) == sent
    assert events(b, A) == ["up"]
    honest = world.deliver
    for lost in range(1, 12):
        world.run(1.0)
        world.deliver = lambda sender, receiver, frame: []
        for _ in range(lost):
            a.peers.send(B, PROCESSES, b"lost")
        world.deliver = honest
        a.peers.send(B, PROCESSES, b"late")
        world.run(5.0)
        assert events(a, B)[-2:] == events(b, A)[-2:] == ["lost", "up"]
    assert heard(b, A) == sent


def test_a_node_that_is_expelled_has_no_session(world: World) -> None:
    a, b = ends(world)
    del a.keys[B]
    assert a.peers.is_up(B), "keys are looked at when a session begins"
    a.peers.forget(B)
    assert not a.peers.is_up(B)
    b.peers.send(A, PROCESSES, b"never")
    world.run(10.0)
    assert events(a, B) == ["up", "lost"]
    assert heard(a, B) == []
    assert a.peers.send(B, PROCESSES, b"x") == "offline"
    assert "the key of its sender is unknown" in a.log


def test_a_node_that_stops_says_so(world: World) -> None:
    a, b = ends(world)
    b.peers.close()
    world.run(0.01)
    assert events(a, B) == ["up", "lost"]
    assert "the other node ended it: it is being stopped" in a.log
    seen = len(world.seen)
    world.run(10.0)
    assert len(world.seen) == seen, "it is left alone"
    assert b.peers.send(A, PROCESSES, b"x") == "offline"
    assert b.peers.incoming(world.seen[0][2]) is None


def test_a_node_that_stops_or_leaves_tells_its_own_services(world: World) -> None:
    _, b = ends(world)
    b.peers.send(C, PROCESSES, b"waits for a session")
    b.peers.close()
    assert events(b, A) == ["up", "lost"]
    assert events(b, C) == ["lost"]
    b.peers.close()
    world.run(10.0)
    assert events(b, A) == ["up", "lost"]


def test_a_service_that_fails_harms_no_other(world: World) -> None:
    a, b = ends(world)

    def fail(node: str, body: bytes) -> None:
        raise ValueError("a bug")

    b.services[PROCESSES].on_receive = fail
    for _ in range(3):
        a.peers.send(B, PROCESSES, b"x")
    a.peers.send(B, ADMINISTRATION, b"x")
    a.peers.send(B, 9, b"of no service")
    world.run()
    assert heard(b, A, ADMINISTRATION) == [b"x"]
    assert "service 0 failed on a message of a.os: ValueError('a bug')" in b.log
    assert sum("service 0 failed" in line for line in b.log.lines) == 1
    assert "a.os sent it to a service that this node does not have: 9" in b.log
    assert events(b, A) == ["up"]
    with pytest.raises(ValueError, match="registered already"):
        b.peers.register(PROCESSES, b.services[0])


def test_what_a_service_sends_when_it_is_told_of_a_loss_is_of_the_next_session(world: World) -> None:
    a, b = ends(world)
    outcomes: list[object] = []
    a.services[PROCESSES].on_lost = lambda node: outcomes.append(a.peers.send(node, PROCESSES, b"again"))
    b.peers.forget(A)
    world.run(0.1)
    assert outcomes == [None]
    assert heard(b, A) == [b"again"]
    assert events(b, A) == ["up", "lost", "up"]


def test_a_flood_of_forged_frames_is_logged_a_few_times_and_ends_nothing(world: World) -> None:
    a, b = ends(world)
    session = next(iter(b.peers._negotiation.sessions))
    for number in range(3000):
        world.arrive(B, bytes([SEALED]) + session + number.to_bytes(8, "big") + bytes(30))
        world.arrive(B, bytes([SEALED]) + number.to_bytes(16, "big") + bytes(30))
        world.arrive(B, bytes([HELLO]) + number.to_bytes(80, "big"))
        world.run()
    a.peers.send(B, PROCESSES, b"heard")
    world.run()
    assert heard(b, A) == [b"heard"]
    assert events(b, A) == ["up"]
    assert len(b.log.lines) < 10


def test_a_hello_says_what_the_documentation_says(world: World) -> None:
    hello = next(frame for *_, frame in world.seen if frame[0] == HELLO)
    versions, cluster, sender, receiver, key, session, window, nonce = fields_of(hello)
    assert (versions, cluster, {sender, receiver}) == ([3, 3], b"", {A, B})
    assert (len(key), len(session), window, len(nonce)) == (32, 8, WINDOW, 32)
    assert msgspec.msgpack.encode(fields_of(hello)) == hello[65:]
