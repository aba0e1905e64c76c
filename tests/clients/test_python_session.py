"""The session of the Python client without a socket: any history of cuts against the node's own end, and its rules."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.examples import examples
from tests.node_session import CADENCE, TEXT, WINDOW, NodeEnd, Pipe, message_of

from guesthouse.http_server.channel.framing import frame
from guesthouse.http_server.sessions.control_messages import Opened, write_control
from guesthouse_client import ProtocolViolated
from guesthouse_client._control import ESCAPE, control
from guesthouse_client._inbox import Answered, Inbox
from guesthouse_client._session import Due, Live, Missing, Phase, PlainSession, Session, TokenAnswer

MESSAGES = st.integers(0, 2**31).map(str) | st.integers(0, 2**31).map(lambda number: b"%d" % number)
SIZES = st.sampled_from([0, 0, 0, 100, 900])
PING, PONG = 20.0, 10.0


def message_with(number: str | bytes, size: int, escape: int) -> str | bytes:
    if isinstance(number, bytes):
        return number + b"." * size
    return ESCAPE * escape + number + "." * size


class Cuts(RuleBasedStateMachine):
    """Messages both ways, sockets that go or fall silent at any moment, drops at both ends, and a user who takes
    messages when it likes: each message once and in order, or a named loss.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.node = NodeEnd()
        self.client = Session(PING, PONG)
        self.to_node: deque[str | bytes] = deque()
        """Written by the client, on its way."""
        self.inbox: deque[tuple[int, str | bytes | None]] = deque()
        """What arrived and was not consumed: its number and itself, or None for what is lost up to that number."""
        self.sent: list[str | bytes] = []
        self.dropped = 0
        self.pushed: list[str | bytes] = []
        self.got: list[tuple[int, str | bytes]] = []
        """What the client's user consumed, with its number."""
        self.node_got: list[tuple[int, str | bytes]] = []

    @initialize()
    def opens(self) -> None:
        hello = self.client.hello(auth_token="t", target_process="p", encrypted=False)
        assert '"open"' in hello
        opened = Opened(1, self.node.session.keys.newest(), 60, 2**20, CADENCE)
        self.node.pipe.write(frame(TEXT, write_control(opened)))
        assert self.read_one() == Live(False)

    # The world.

    @rule(seconds=st.sampled_from([0.1, 5.0, 20.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if self.client.deadline() <= self.now and self.client.tick(self.now) is Due.GIVE_UP:
            self.client_cuts(0)  # the node may not notice

    @rule(number=MESSAGES, size=SIZES, escape=st.integers(0, 2))
    def the_process_pushes(self, number: str | bytes, size: int, escape: int) -> None:
        message = message_with(number, size, escape)
        self.pushed.append(message)
        self.node.push(message)

    @rule(number=MESSAGES, size=SIZES, escape=st.integers(0, 2))
    def the_user_sends(self, number: str | bytes, size: int, escape: int) -> None:
        message = message_with(number, size, escape)
        self.sent.append(message)
        self.client.put(message)

    @rule()
    def the_client_drops_its_oldest(self) -> None:
        self.dropped += self.client.kept.drop_oldest()

    @rule()
    def the_user_asks_what_has_arrived(self) -> None:
        self.client.ask(self.now)

    @rule(count=st.integers(1, 8))
    def the_client_writes(self, count: int) -> None:
        for _ in range(count):
            if (message := self.client.next()) is not None:
                self.to_node.append(message)

    @rule(count=st.integers(1, 8))
    def the_node_reads(self, count: int) -> None:
        for _ in range(min(count, len(self.to_node))):
            before = len(self.node.got)
            self.node.take(self.to_node.popleft())
            self.node_got += [(self.node.session.received, each) for each in self.node.got[before:]]

    @precondition(lambda self: self.client.phase is Phase.LIVE)
    @rule(count=st.integers(1, 8))
    def the_client_reads(self, count: int) -> None:
        for _ in range(min(count, len(self.node.pipe.frames))):
            self.read_one()
        self.node.outbox.resume()

    def read_one(self) -> Any:
        event = self.client.take(message_of(self.node.pipe.frames.popleft()), self.now)
        if isinstance(event, str | bytes):
            self.inbox.append((self.client.arrived, event))
        elif isinstance(event, Missing):
            self.inbox.append((self.client.arrived, None))
        return event

    @rule(count=st.integers(1, 8))
    def the_user_consumes(self, count: int) -> None:
        for _ in range(min(count, len(self.inbox))):
            number, message = self.inbox.popleft()
            if message is None:
                self.client.consume_missing(number - self.client.consumed, self.now)
            else:
                self.client.consume(message, self.now)
                assert self.client.consumed == number
                self.got.append((number, message))

    # Sockets.

    def client_cuts(self, thrown: int) -> None:
        self.client.cut()
        self.to_node.clear()
        self.node.pipe = Pipe()  # what comes by the old one reaches nobody
        while (
            thrown and self.inbox and self.inbox[-1][1] is not None and self.client.arrived > self.client.told
        ):
            self.inbox.pop()
            self.client.forget_arrived(1)
            thrown -= 1

    @precondition(lambda self: self.client.phase is Phase.LIVE)
    @rule(arrives=st.integers(0, 5), thrown=st.sampled_from([0, 0, 1, 5]))
    def the_socket_is_cut(self, arrives: int, thrown: int) -> None:
        """Of what the client has written some still arrives."""
        self.the_node_reads(arrives)
        self.client_cuts(thrown)
        self.node.cut()

    @rule(arrives=st.integers(0, 5), thrown=st.sampled_from([0, 0, 1, 5]))
    def a_resumption_fails(self, arrives: int, thrown: int) -> None:
        """The node may have heard it, and its answer be lost."""
        if self.client.phase is Phase.LIVE:
            self.the_node_reads(arrives)
            self.client_cuts(thrown)
        hello = self.client.hello(auth_token="t")
        if arrives % 2:
            self.node.resume(hello)
        self.client_cuts(thrown)

    @rule(thrown=st.sampled_from([0, 0, 1, 5]))
    def the_client_resumes(self, thrown: int) -> None:
        """Also while the node believes that the socket before is alive."""
        self.client_cuts(thrown)
        self.node.resume(self.client.hello(auth_token="t"))
        assert self.read_one() == Live(True)

    # What holds at any time.

    @invariant()
    def each_end_got_each_message_once_and_in_order(self) -> None:
        for got, sent in ((self.node_got, self.sent), (self.got, self.pushed)):
            numbers = [number for number, _ in got]
            assert numbers == sorted(set(numbers))
            assert all(message == sent[number - 1] for number, message in got)

    @invariant()
    def what_is_kept_is_counted(self) -> None:
        kept = self.client.kept
        entries = [*kept._written, *kept._waiting]
        assert kept.size == sum(len(entry) + 64 for entry in entries if not isinstance(entry, int))
        counts = sum(entry if isinstance(entry, int) else 1 for entry in entries)
        assert kept.acknowledged + counts == kept.count == len(self.sent)
        assert self.node.session.kept.size <= WINDOW

    def teardown(self) -> None:
        """With a socket that lasts, both ends get all that there is."""
        if self.client.opened is None:
            return
        self.the_client_resumes(0)
        while True:
            before = (len(self.to_node), len(self.node.pipe.frames), len(self.inbox), self.client.consumed)
            self.the_client_writes(1000)
            self.the_node_reads(1000)
            self.the_client_reads(1000)
            self.the_user_consumes(1000)
            self.client.ask(self.now)
            if before == (0, 0, 0, len(self.pushed)) and self.client.kept.acknowledged == len(self.sent):
                break
        assert len(self.node_got) >= len(self.sent) - self.dropped
        if not self.dropped:
            assert self.node.got == self.sent
        if not self.node.drops and not self.node.session.kept.first > len(self.pushed):
            assert [message for _, message in self.got] == self.pushed
        assert self.client.kept.size == 0


Cuts.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=60, deadline=None)
test_any_history_of_cuts_delivers_each_message_once_and_in_order_or_names_the_loss = Cuts.TestCase


def opened_session(**more: Any) -> Session:
    session = Session(PING, PONG)
    session.hello()
    fields: dict[str, Any] = {
        "channel_id": 1,
        "session": "k",
        "resume_seconds": 60,
        "message_bytes": 100,
        "ack": {"messages": 3, "bytes": 1000, "seconds": 5},
        **more,
    }
    assert session.take(control("opened", **fields), 0.0) == Live(False)
    return session


def written(session: Session) -> list[str | bytes]:
    messages = []
    while (message := session.next()) is not None:
        messages.append(message)
    return messages


def test_it_acknowledges_after_messages_bytes_or_seconds_and_never_what_its_user_did_not_take() -> None:
    session = opened_session()
    for number in range(7):
        session.take(str(number), 0.0)
    assert written(session) == []
    for _ in range(3):
        session.consume("0", 1.0)
    assert written(session) == [control("ack", received=3)]
    session.consume(b"x" * 936, 1.0)
    assert written(session) == [control("ack", received=4)]
    assert session.deadline() == PING
    session.consume("0", 2.0)
    assert session.deadline() == 7.0
    session.tick(6.9)
    assert written(session) == []
    session.tick(7.0)
    assert written(session) == [control("ack", received=5)]
    assert session.deadline() == PING


def test_a_silent_node_is_asked_and_then_given_up() -> None:
    session = opened_session()
    assert session.deadline() == 20.0
    assert session.tick(20.0) is Due.NOTHING
    assert written(session) == [control("ping")]
    assert session.deadline() == 30.0
    assert session.tick(29.0) is Due.NOTHING
    assert session.tick(30.0) is Due.GIVE_UP
    session.take(control("pong", data="", received=0), 30.0)
    assert session.deadline() == 50.0


def test_a_node_that_says_much_before_its_pong_is_there() -> None:
    session = opened_session()
    session.tick(20.0)
    session.take("much", 29.0)
    assert session.tick(30.0) is Due.NOTHING
    assert session.deadline() == 40.0
    assert session.tick(40.0) is Due.GIVE_UP


def test_a_machine_that_slept_asks_before_it_gives_up() -> None:
    session = opened_session()
    assert session.tick(10_000.0) is Due.NOTHING
    assert session.deadline() == 10_010.0


def test_a_plain_channel_counts_nothing_and_sends_as_it_is() -> None:
    session = PlainSession(opened_session().kept, PING, PONG)
    session.put(ESCAPE + "a")
    assert session.next() is None
    session.begin(0.0)
    assert session.next() == ESCAPE + "a"
    assert session.next() is None
    assert session.kept.size == 0
    assert session.take(ESCAPE + ESCAPE, 0.0) == ESCAPE + ESCAPE
    assert session.tick(20.0) is Due.PING
    assert session.tick(25.0) is Due.NOTHING
    assert session.tick(30.0) is Due.GIVE_UP
    session.alive(30.0)
    assert session.deadline() == 50.0
    session.cut()
    assert session.deadline() == math.inf


def test_what_is_given_up_is_named_and_what_was_never_sent_can_be_sent_on_another_channel() -> None:
    session = opened_session()
    for name in "abcdef":
        session.put(name)
    assert [session.next(), session.next()] == ["a", "b"]
    session.cut()
    assert [session.kept.drop_oldest() for _ in range(3)] == [True, True, True]
    session.hello()
    answer = {"channel_id": 1, "session": "l", "resume_seconds": 1, "message_bytes": 9, "received": 1}
    ack = {"messages": 3, "bytes": 1000, "seconds": 5}
    session.take(control("resumed", **answer, ack=ack), 0.0)
    assert [session.next() for _ in range(3)] == [control("ack", received=0), control("lost", count=2), "d"]
    assert session.kept.split() == (["d"], ["e", "f"])


@pytest.mark.parametrize(
    "message",
    [
        ESCAPE,
        ESCAPE + "{",
        ESCAPE + "[]",
        ESCAPE + "{}",
        control("ack"),
        control("ack", received=1),
        control("ack", received=-1),
        control("ack", received=True),
        control("pong", received=0.5),
        control("lost", count=0),
        control("lost", count=2**53 - 1),
        ESCAPE + "[" * 100_000,
    ],
)
def test_a_node_that_breaks_the_protocol_is_found_out(message: str) -> None:
    session = opened_session()
    session.take("first", 0.0)
    with pytest.raises(ProtocolViolated):
        session.take(message, 0.0)


def test_before_the_answer_nothing_else_comes() -> None:
    for message in (
        "a payload",
        control("ack", received=0),
        control("resumed", received=0),
        control("opened"),
    ):
        session = Session(PING, PONG)
        session.hello()
        with pytest.raises(ProtocolViolated):
            session.take(message, 0.0)


def test_what_it_does_not_know_is_passed_over() -> None:
    session = opened_session(subprotocol="chat.v2", more=[1])
    assert session.take(control("new", field=1), 0.0) is None
    assert session.take(control("token", expiration=7), 0.0) == TokenAnswer(7, None)
    assert session.take(control("token", error="no"), 0.0) == TokenAnswer(None, "no")
    assert session.opened is not None
    assert session.opened.subprotocol == "chat.v2"


def test_what_was_thrown_away_comes_from_the_end_and_is_never_what_was_dealt_with() -> None:
    inbox = Inbox()
    for item in ("a", "b", Answered("c"), "d", "e"):
        inbox.put(item, "x" * 36)
    assert inbox.trim(0, 1) == 1
    assert inbox.trim(350, 10) == 1
    assert inbox.trim(0, 10) == 0
    assert (inbox.count, inbox.size) == (3, 300)
