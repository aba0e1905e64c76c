"""Sessions without a socket: counts, keys, limits, and any history of cuts against a client of the specification."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.examples import examples
from tests.node_session import WINDOW, NodeEnd, Pipe, message_of, sign
from tests.resume_client import ClientSession, escaped

from guesthouse.http_server.close_codes import NO_SUCH_SESSION, TOO_MANY_RESUMES
from guesthouse.http_server.sessions.control_messages import (
    ESCAPE,
    Acknowledge,
    BadControl,
    Heartbeat,
    Lost,
    OpenChannel,
    Refresh,
    Resume,
    read_control,
)
from guesthouse.http_server.sessions.retained import BadCount, Retained
from guesthouse.http_server.sessions.session import Phase, Session
from guesthouse.http_server.sessions.session_keys import KEY_CHARACTERS, SessionKeys, read_key
from guesthouse.http_server.sessions.session_table import SessionTable

PAYLOADS = st.integers(0, 2**31).map(str) | st.integers(0, 2**31).map(lambda number: b"%d" % number)
SIZES = st.sampled_from([0, 0, 0, 100, 900])


class Cuts(RuleBasedStateMachine):
    """Messages both ways, and sockets that go at any moment: each message once and in order, or a named loss."""

    def __init__(self) -> None:
        super().__init__()
        self.node = NodeEnd()
        self.client = ClientSession()
        self.client.key = self.node.session.keys.newest()
        self.client.limits = {"ack": {"messages": 4}}
        self.to_node: deque[str | bytes] | None = deque()
        """What the client has sent on its way; None without a socket."""
        self.pushed: list[str | bytes] = []
        self.sent: list[str | bytes] = []

    @rule(number=PAYLOADS, size=SIZES, escape=st.integers(0, 2))
    def the_process_pushes(self, number: str | bytes, size: int, escape: int) -> None:
        message = "\x10" * escape + number + "." * size if isinstance(number, str) else number + b"." * size
        self.pushed.append(message)
        self.node.push(message)

    @rule(message=PAYLOADS, escape=st.integers(0, 2))
    def the_client_sends(self, message: str | bytes, escape: int) -> None:
        if isinstance(message, str):
            message = "\x10" * escape + message
        self.sent.append(message)
        self.client.unacknowledged.append(message)
        if self.to_node is not None:
            self.to_node.append(escaped(message))

    @precondition(lambda self: self.to_node)
    @rule(count=st.integers(1, 8))
    def the_node_reads(self, count: int) -> None:
        assert self.to_node is not None
        for _ in range(min(count, len(self.to_node))):
            self.node.take(self.to_node.popleft())

    @precondition(lambda self: self.to_node is not None and self.node.pipe.frames)
    @rule(count=st.integers(1, 8))
    def the_client_reads(self, count: int) -> None:
        assert self.to_node is not None
        for _ in range(min(count, len(self.node.pipe.frames))):
            self.hear(self.node.pipe.frames.popleft())
            if self.client.owes:
                self.to_node.append(self.client.acknowledgement())
        self.node.outbox.resume()

    def hear(self, framed: bytes) -> None:
        taken = self.client.take(message_of(framed))
        if not isinstance(taken, dict):
            assert taken == self.pushed[self.client.received - 1]

    @precondition(lambda self: self.to_node is not None)
    @rule()
    def the_client_acknowledges(self) -> None:
        assert self.to_node is not None
        self.to_node.append(self.client.acknowledgement())

    @precondition(lambda self: self.to_node is not None)
    @rule(arrives=st.integers(0, 5))
    def the_socket_is_cut(self, arrives: int) -> None:
        """The client notices at once; of what it has sent, some still arrives."""
        assert self.to_node is not None
        for _ in range(min(arrives, len(self.to_node))):
            self.node.take(self.to_node.popleft())
        self.to_node = None
        self.node.outbox.cut()
        self.node.session.cut()

    @rule(lost=st.booleans())
    def the_client_resumes(self, lost: bool) -> None:
        """Also while the node believes that the socket before is alive; the answer may be lost with its socket."""
        node, session = self.node, self.node.session
        node.outbox.cut()
        session.cut()
        shown = read_key(self.client.key, sign)
        assert shown is not None
        assert shown.genuine
        assert session.keys.fit(shown.secret)
        key = session.resume(self.client.received)
        told = session.told()
        node.pipe = Pipe()
        node.outbox.attach(node.pipe, recode=False)
        self.to_node = None
        if lost:
            node.outbox.cut()
            session.cut()
            return
        self.client.key = key
        self.client.resumption()
        while self.client.acknowledged < told:
            self.client.unacknowledged.popleft()
            self.client.acknowledged += 1
        self.to_node = deque(map(escaped, self.client.unacknowledged))

    @invariant()
    def the_process_got_each_message_once_and_in_order(self) -> None:
        assert self.node.got == self.sent[: len(self.node.got)]

    @invariant()
    def what_is_kept_is_counted_and_bounded(self) -> None:
        kept = self.node.session.kept
        entries = [*kept._written, *kept._waiting]
        assert kept.size == sum(cost for cost, _ in entries if cost > 0)
        assert kept.size <= WINDOW
        assert kept.first + sum(1 if cost > 0 else -cost for cost, _ in entries) == len(self.pushed)
        assert self.client.lost <= self.node.drops + kept.first

    def teardown(self) -> None:
        """With a socket that lasts, both ends get all that there is."""
        self.the_client_resumes(lost=False)
        assert self.to_node is not None
        while self.to_node or self.node.pipe.frames or self.node.session.kept.waits:
            self.node.outbox.resume()
            for message in tuple(self.to_node):
                self.node.take(message)
            self.to_node.clear()
            while self.node.pipe.frames:
                self.hear(self.node.pipe.frames.popleft())
        assert self.client.received == len(self.pushed)
        assert self.node.got == self.sent


Cuts.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=50, deadline=None)
test_any_history_of_cuts_delivers_each_message_once_and_in_order_or_names_the_loss = Cuts.TestCase


def test_what_was_never_written_cannot_be_acknowledged_nor_resumed_from() -> None:
    kept = Retained()
    for _ in range(3):
        kept.add_written(1, b"x")
    for count in (4, 2**53 - 1):
        with pytest.raises(BadCount):
            kept.acknowledge(count)
    kept.acknowledge(2)
    with pytest.raises(BadCount):
        kept.acknowledge(1)
    kept.cut()
    kept.add(1, b"y")
    assert not kept.can_resume(4)
    with pytest.raises(BadCount):
        kept.resume(4)
    kept.resume(3)
    with pytest.raises(BadCount):
        kept.acknowledge(4)  # it waits
    assert kept.take() == b"y"
    kept.acknowledge(4)
    assert kept.size == 0


def test_what_was_dropped_while_away_but_had_arrived_before_is_no_loss() -> None:
    kept = Retained()
    for number in range(4):
        kept.add_written(1, b"%d" % number)
    kept.cut()
    assert [kept.drop_waiting() for _ in range(4)] == [True, True, True, False]
    kept.resume(2)
    assert list(kept.rest()) == [1, b"3"]


def test_losses_that_meet_are_one_and_the_newest_is_never_given_up() -> None:
    kept = Retained()
    kept.add_written(1, b"0")
    for number in range(1, 4):
        kept.add(1, b"%d" % number)
    assert kept.drop_waiting()  # 1, while 0 is on its way
    kept.cut()
    assert [kept.drop_waiting() for _ in range(3)] == [True, True, False]
    assert kept.size == 1
    kept.resume(0)
    assert list(kept.rest()) == [3, b"3"]


def test_a_huge_count_takes_no_longer_than_a_small_one() -> None:
    kept = Retained()
    kept.add_written(1, b"x")
    kept.acknowledge(1)
    kept.cut()
    kept.resume(0)
    assert kept.take() == 1
    assert kept.count == 1


def test_each_control_message_is_read() -> None:
    for text, control in (
        ('{"type": "open"}', OpenChannel()),
        (
            '{"type": "open", "auth_token": "t", "target_process": "p", "encrypted": true}',
            OpenChannel("t", "p", True),
        ),
        ('{"type": "resume", "session": "k", "received": 3, "new": [1]}', Resume("k", 3)),
        ('{"received": 0, "type": "ack"}', Acknowledge(0)),
        ('{"type": "ping"}', Heartbeat("")),
        ('{"type": "ping", "data": "x"}', Heartbeat("x")),
        ('{"type": "token", "auth_token": "t"}', Refresh("t")),
        ('{"type": "lost", "count": 1}', Lost(1)),
        ('{"type": "ack", "received": 9007199254740991}', Acknowledge(2**53 - 1)),
        ('{"type": "ack", "received": 1, "more": ' + "[" * 15 + "]" * 15 + "}", Acknowledge(1)),
        ('{"type": "ack", "received": 1, "more": [' + "[]," * 2000 + "[]]}", Acknowledge(1)),
        ('{"type": "ack", "received": 1, "more": ' + "9" * 8000 + "}", Acknowledge(1)),
        ('{"type": "ping", "data": "' + "[" * 62 + '\\"["}', Heartbeat("[" * 62 + '"[')),
    ):
        assert read_control(ESCAPE + text.encode()) == control


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"type": 1}',
        '{"type": "ack", "received": 9007199254740992}',
        '{"type": "ack", "received": 1e2}',
        '{"type": "ack", "received": 1.0}',
        '{"type": "ack", "received": NaN}',
        '{"type": "ack", "received": 1, "more": NaN}',
        '{"type": "ack", "received": 1, "more": Infinity}',
        '{"type": "ack", "received": 01}',
        ' {"type": "ack", "received": 1}',
        '\t{"type": "ack", "received": 1}',
        '\ufeff{"type": "ack", "received": 1}',
        '{"type": "ack", "received": 1} ',
        '{"type": "ack", "received": 1}\n',
        '{"type": "ack", "received": 1}{}',
        '{"type": "ack", "received": 1, "received": 1}',
        '{"type": "ack", "type": "ack", "received": 1}',
        '{"type": "ack", "received": 1, "re\\u0063eived": 2}',
        '{"type": "ack", "received": 1, "more": {"x": 1, "x": 1}}',
        '{"type": "ack", "received": 1, "more": ' + "[" * 16 + "]" * 16 + "}",
        '{"type": "ack", "received": 1, "more": ' + '{"x":' * 16 + "1" + "}" * 16 + "}",
        '{"type": "ack", "received": 1, "more": ' + "[" * 4000 + "]" * 4000 + "}",
        '{"type": "ping", "data": "' + "x" * 65 + '"}',
        '{"type": "ping", "data": null}',
        '{"type": "lost", "count": 0}',
        '{"type": "token"}',
        '{"type": "open", "encrypted": 1}',
    ],
)
def test_what_is_no_control_message_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(BadControl):
        read_control(ESCAPE + text.encode())
    with pytest.raises(BadControl) as refused:
        read_control(ESCAPE + b'{"type": "secret-of-the-client"}')
    assert len(str(refused.value)) <= 80


def test_a_key_is_good_until_the_client_has_shown_the_next() -> None:
    keys = SessionKeys(sign)
    first = keys.newest()
    assert len(first) == KEY_CHARACTERS

    def fits(text: str) -> bool:
        shown = read_key(text, sign)
        return shown is not None and shown.id == keys.id and keys.fit(shown.secret)

    second, third = keys.rotate(), keys.rotate()
    assert [fits(key) for key in (second, first, third)] == [True, True, True]
    fits(second)  # shown last, and so known to have arrived
    fourth = keys.rotate()
    assert [fits(key) for key in (first, second, third, fourth)] == [False, True, True, True]
    keys.confirm()
    assert [fits(key) for key in (second, third, fourth)] == [False, False, True]


def test_each_character_of_a_key_counts_and_has_one_form() -> None:
    channel = Channel("a")
    table: SessionTable[Channel] = SessionTable(sign, most=1, most_of_user=1, most_bytes=1)
    channel.table = table
    table.add(channel)
    keys = channel.session.keys
    while not {"-", "_"} <= set(keys.newest()):
        keys.rotate()
        keys.confirm()
    key = keys.newest()
    assert table.find(key, "0", "u", 0.0) is channel
    for place, character in enumerate(key):
        other = key[:place] + ("A" if character != "A" else "B") + key[place + 1 :]
        assert table.find(other, str(place), "u", 0.0) is NO_SUCH_SESSION
    for other in (key.replace("-", "+"), key.replace("_", "/"), key + "=", key + "\n", key[:-1], key.lower()):
        assert read_key(other, sign) is None or table.find(other, "x", "u", 0.0) is NO_SUCH_SESSION
    assert read_key(key.replace("-", "+"), sign) is read_key(key.replace("_", "/"), sign) is None
    assert table.find(key, "0", "u", 0.0) is channel


def test_only_few_keys_that_nobody_confirmed_are_good() -> None:
    keys = SessionKeys(sign)
    made = [keys.newest(), *(keys.rotate() for _ in range(20))]
    good = []
    for key in made:
        shown = read_key(key, sign)
        assert shown is not None
        if keys.fit(shown.secret):
            good.append(key)
    assert good == [made[0], *made[-3:]]


class Channel:
    def __init__(self, user: str) -> None:
        self.session = Session(SessionKeys(sign), 1)
        self.user = user
        self.given_up = False
        self.table: SessionTable[Channel] | None = None

    def give_up(self, limit: str) -> None:
        assert self.table is not None
        self.given_up = True
        self.session.phase = Phase.OVER
        self.table.forget(self)


def test_the_table_bounds_numbers_bytes_and_tries() -> None:
    table: SessionTable[Channel] = SessionTable(sign, most=3, most_of_user=2, most_bytes=100)
    channels = [Channel(user) for user in "aabbac"]
    for channel in channels:
        channel.table = table
        table.add(channel)
    for channel in channels[:4]:
        table.leave(channel, 10)
    assert [channel.given_up for channel in channels] == [True, False, False, False, False, False]
    table.leave(channels[4], 10)  # the second of user a, the fourth of all
    assert [channel.given_up for channel in channels] == [True, True, False, False, False, False]
    assert (table.away, table.away_bytes, len(table)) == (3, 30, 4)
    table.resize(channels[4], 90)
    assert [channel.given_up for channel in channels[2:]] == [True, False, False, False]
    assert table.away_bytes == 100
    table.come_back(channels[4])
    assert (table.away, table.away_bytes) == (1, 10)
    assert table.find(channels[4].session.keys.newest(), "x", "u", 0.0) is channels[4]
    assert table.find(channels[0].session.keys.newest(), "x", "u", 0.0) is NO_SUCH_SESSION
    for _ in range(6):
        assert table.find("A" * KEY_CHARACTERS, "y", "u", 0.0) in (NO_SUCH_SESSION, TOO_MANY_RESUMES)
    assert table.find(channels[0].session.keys.newest(), "y", "u", 0.0) is TOO_MANY_RESUMES
    assert table.find(channels[0].session.keys.newest(), "x", "u", 0.0) is NO_SUCH_SESSION
    right = channels[4].session.keys.newest()
    assert table.find(right, "y", "u", 0.0) is channels[4]  # whatever others at the address guess
    for _ in range(5):
        assert table.refuse(channels[4], "y", "u", 0.0) is NO_SUCH_SESSION
    assert table.find(right, "y", "u", 0.0) is TOO_MANY_RESUMES
    assert table.find(right, "x", "u", 0.0) is channels[4]
    assert table.find(right, "y", "owner", 0.0) is channels[4]  # whatever a thief at the address does
    assert table.given_up == {"resume_seconds": 0, "away": 2, "away_per_user": 0, "away_bytes": 1}
    assert table.find(right, "y", "u", 2.1) is channels[4]


def test_where_all_lose_their_sockets_at_once_bytes_are_bounded_and_numbers_are_not() -> None:
    table: SessionTable[Channel] = SessionTable(sign, most=3, most_of_user=2, most_bytes=100)
    channels = [Channel("a") for _ in range(10)]
    for channel in channels:
        channel.table = table
        table.add(channel)
        table.leave_with_all(channel, 9)
    assert (table.away, table.away_bytes) == (10, 90)
    table.leave_with_all(channels[9], 9)
    assert (table.away, table.away_bytes) == (10, 90)
    table.resize(channels[9], 30)
    assert [channel.given_up for channel in channels] == [True, True, *[False] * 8]


def test_keys_are_known_by_their_digests_which_cannot_be_shown() -> None:
    keys = SessionKeys(sign)
    first = keys.newest()
    shown = read_key(first, sign)
    assert shown is not None
    assert keys.fit(shown.secret)
    second = keys.rotate()
    again = SessionKeys(sign, (keys.id, keys.digests))
    for key in (first, second):
        shown = read_key(key, sign)
        assert shown is not None
        assert shown.secret not in b"".join(keys.digests)
        assert again.fit(shown.secret)
    assert not any(again.fit(digest) for digest in keys.digests)
    third = read_key(again.rotate(), sign)
    assert third is not None
    assert (third.id, again.fit(third.secret)) == (keys.id, True)
    again.confirm()
    assert not again.fit(shown.secret)
